//! Which platforms' programs the host can run: its own, and those that the kernel hands to an emulator
//! (`binfmt_misc`, Documentation/admin-guide/binfmt-misc.rst).

use std::path::Path;

use arca_types::Platform;

/// Where the kernel shows its handlers.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";
/// Architectures and their numbers in ELF headers (`e_machine`, elf(5)).
const MACHINES: &[(&str, u16)] = &[
    ("386", 3),
    ("mips64le", 8),
    ("mips64", 8),
    ("ppc64le", 21),
    ("s390x", 22),
    ("arm", 40),
    ("amd64", 62),
    ("arm64", 183),
    ("riscv64", 243),
    ("loong64", 258),
];

/// Can programs of this platform be run?
pub(crate) fn runs(platform: &Platform) -> bool {
    let host = Platform::host();
    platform.os == host.os
        && (is_native(&host, platform) || emulated(Path::new(HANDLERS), platform))
}

/// The platforms besides the host's own whose programs can be run.
pub(crate) fn others() -> Vec<Platform> {
    let host = Platform::host();
    let all = MACHINES
        .iter()
        .map(|(architecture, _)| Platform::new(&host.os, architecture, None));
    all.filter(|platform| platform.architecture != host.architecture && runs(platform))
        .collect()
}

fn is_native(host: &Platform, platform: &Platform) -> bool {
    platform.architecture == host.architecture
        || (host.architecture == "amd64" && platform.architecture == "386")
}

fn emulated(handlers: &Path, platform: &Platform) -> bool {
    let known = MACHINES
        .iter()
        .find(|(architecture, _)| *architecture == platform.architecture);
    let Some((_, machine)) = known else {
        return false;
    };
    let entries = std::fs::read_dir(handlers).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|handler| machine_of(&handler) == Some(*machine))
}

/// The machine whose programs a handler takes; `None` for what is switched off or takes something else.
fn machine_of(handler: &str) -> Option<u16> {
    let mut lines = handler.lines();
    if lines.next() != Some("enabled") {
        return None;
    }
    let magic = lines.find_map(|line| line.strip_prefix("magic "))?;
    let byte = |at: usize| {
        let digits = magic.get(2 * at..2 * at + 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    let elf = [byte(0)?, byte(1)?, byte(2)?, byte(3)?];
    let (first, second) = (byte(18)?, byte(19)?);
    match (elf, byte(5)?) {
        ([0x7f, b'E', b'L', b'F'], 2) => Some(u16::from_be_bytes([first, second])),
        ([0x7f, b'E', b'L', b'F'], _) => Some(u16::from_le_bytes([first, second])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AARCH64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn a_handler_is_known_by_the_machine_that_it_takes() {
        assert_eq!(machine_of(AARCH64), Some(183));
        assert_eq!(machine_of(&AARCH64.replace("enabled", "disabled")), None);
        let s390x = AARCH64
            .replace("0201010000", "0202010000")
            .replace("b700", "0016");
        assert_eq!(machine_of(&s390x), Some(22));
        assert_eq!(
            machine_of("enabled\ninterpreter /bin/x\nextension .x\n"),
            None
        );
        assert_eq!(machine_of("enabled\nmagic 7f45\n"), None);
    }

    #[test]
    fn a_platform_runs_by_itself_or_by_a_handler() {
        let dir = tempfile::tempdir().unwrap();
        let of = |architecture: &str| Platform::new("linux", architecture, None);
        assert!(!emulated(dir.path(), &of("arm64")));
        std::fs::write(dir.path().join("qemu-aarch64"), AARCH64).unwrap();
        assert!(emulated(dir.path(), &of("arm64")));
        assert!(!emulated(dir.path(), &of("riscv64")));
        assert!(is_native(&of("amd64"), &of("386")));
        assert!(!is_native(&of("arm64"), &of("386")));
        assert!(runs(&Platform::host()));
        assert!(!runs(&Platform::new("windows", "amd64", None)));
    }
}
