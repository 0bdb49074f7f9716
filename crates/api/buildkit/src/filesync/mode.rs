//! Modes of files: Go's bits (`io/fs.FileMode`) and Linux's.

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHARACTER: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;

const S_IFMT: u32 = 0o170_000;

/// Linux's kinds with Go's bits.
const KINDS: [(u32, u32); 7] = [
    (0o100_000, 0),
    (0o040_000, DIRECTORY),
    (0o120_000, SYMLINK),
    (0o060_000, DEVICE),
    (0o020_000, DEVICE | CHARACTER),
    (0o010_000, FIFO),
    (0o140_000, SOCKET),
];
const SPECIAL: [(u32, u32); 3] = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];

/// Linux's `st_mode` in Go's bits.
pub(crate) fn to_go(mode: u32) -> u32 {
    let kind = KINDS.iter().find(|(linux, _)| mode & S_IFMT == *linux);
    let special = SPECIAL.iter().filter(|(linux, _)| mode & linux != 0);
    special.fold(
        mode & 0o777 | kind.map_or(0, |(_, go)| *go),
        |all, (_, go)| all | go,
    )
}

/// Go's bits as Linux's `st_mode`; `None` for kinds that Linux has not.
pub(crate) fn from_go(mode: u32) -> Option<u32> {
    let kinds = DIRECTORY | SYMLINK | DEVICE | FIFO | SOCKET | CHARACTER;
    let kind = KINDS.iter().find(|(_, go)| mode & kinds == *go)?;
    let special = SPECIAL.iter().filter(|(_, go)| mode & go != 0);
    Some(special.fold(mode & 0o777 | kind.0, |all, (linux, _)| all | linux))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_comes_back() {
        for (linux, _) in KINDS {
            for bits in [0o644, 0o4755, 0o1777, 0o2070] {
                assert_eq!(from_go(to_go(linux | bits)), Some(linux | bits));
            }
        }
        assert_eq!(to_go(0o040_755), DIRECTORY | 0o755);
        assert_eq!(from_go(DIRECTORY | SYMLINK), None);
    }
}
