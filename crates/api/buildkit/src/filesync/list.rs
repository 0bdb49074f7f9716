//! The list of files that a sender tells of: in order, below the root, parents first.

use std::collections::BTreeMap;

use arca_build::Error;
use bollard_buildkit_proto::fsutil::types::Stat;

use super::mode;

const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;

/// What was told so far: paths with their times, and whether they are directories.
#[derive(Debug, Default)]
pub(super) struct List {
    entries: BTreeMap<Vec<u8>, Listed>,
}

/// A file of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) directory: bool,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
}

impl List {
    /// Takes the next file, and gives its checked path.
    pub(super) fn add(&mut self, stat: &Stat) -> Result<Vec<u8>, Error> {
        let refuse = |why: &str| Error::Invalid(format!("{why}: {:?}", stat.path));
        let path = stat.path.trim_start_matches('/').as_bytes().to_vec();
        let parts = path.split(|byte| *byte == b'/');
        let bad = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        if parts.clone().any(bad) {
            return Err(refuse("invalid path"));
        }
        let kind = mode::from_go(stat.mode).ok_or_else(|| refuse("unknown kind of file"))?;
        if let Some(at) = path.iter().rposition(|byte| *byte == b'/') {
            let parent = path.get(..at).unwrap_or_default();
            if !self
                .entries
                .get(parent)
                .is_some_and(|parent| parent.directory)
            {
                return Err(refuse("a file without its directory"));
            }
        }
        let listed = Listed {
            directory: kind & S_IFMT == S_IFDIR,
            modified: stat.mod_time,
        };
        if self.entries.insert(path.clone(), listed).is_some() {
            return Err(refuse("a file is there twice"));
        }
        Ok(path)
    }

    /// Is this path in the list?
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.entries.contains_key(path)
    }

    /// The directories, those below first.
    pub(super) fn directories(&self) -> impl Iterator<Item = (&[u8], i64)> {
        let entries = self.entries.iter().rev();
        entries
            .filter(|(_, listed)| listed.directory)
            .map(|(path, listed)| (path.as_slice(), listed.modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &str, directory: bool) -> Stat {
        Stat {
            path: path.to_owned(),
            mode: if directory { 1 << 31 | 0o755 } else { 0o644 },
            ..Stat::default()
        }
    }

    #[test]
    fn only_paths_below_known_directories_are_taken() {
        let mut list = List::default();
        list.add(&stat("a", true)).unwrap();
        assert_eq!(list.add(&stat("a/b", false)).unwrap(), b"a/b");
        for bad in [
            "",
            "..",
            "a/../b",
            "a//c",
            "./x",
            "nowhere/x",
            "a/b/c",
            "a/b",
            "a\0",
        ] {
            assert!(list.add(&stat(bad, false)).is_err(), "{bad:?}");
        }
        assert!(list.has(b"a/b") && !list.has(b"a/c"));
    }
}
