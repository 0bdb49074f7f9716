//! Facts of the host.

use std::path::Path;

/// The kernel's release.
pub(crate) fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// The machine, `x86_64`.
pub(crate) fn machine() -> String {
    rustix::system::uname()
        .machine()
        .to_string_lossy()
        .into_owned()
}

/// The host's name.
pub(crate) fn name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Processors that this process may use.
pub(crate) fn cpus() -> u64 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Bytes of memory; 0 when the kernel does not tell.
pub(crate) fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

/// Descriptors that this process has open.
pub(crate) fn open_files() -> u64 {
    let entries = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // One of them is the directory that is being read.
    u64::try_from(entries.saturating_sub(1)).unwrap_or(u64::MAX)
}

/// Whether the kernel forwards IPv4 packets.
pub(crate) fn forwards_ipv4() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

/// Name and version of the distribution (os-release(5)).
pub(crate) fn distribution() -> (String, String) {
    let paths = ["/etc/os-release", "/usr/lib/os-release"];
    let text = paths
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    os_release(&text.unwrap_or_default())
}

fn os_release(text: &str) -> (String, String) {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let name = value("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned());
    (name, value("VERSION_ID").unwrap_or_default())
}

/// The filesystem that a directory is on, in dockerd's words.
pub(crate) fn filesystem(path: &Path) -> &'static str {
    const NAMES: [(i64, &str); 8] = [
        (0xef53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x2fc1_2fc1, "zfs"),
        (0x794c_7630, "overlayfs"),
        (0xf2f5_2010, "f2fs"),
        (0x6969, "nfs"),
    ];
    let kind = rustix::fs::statfs(path).map_or(0, |found| found.f_type);
    NAMES
        .iter()
        .find(|(magic, _)| *magic == kind)
        .map_or("<unknown>", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_read() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n";
        assert_eq!(
            os_release(text),
            ("Debian GNU/Linux 12 (bookworm)".into(), "12".into())
        );
        assert_eq!(os_release(""), ("Linux".into(), String::new()));
    }

    #[test]
    fn the_host_has_memory_processors_and_open_files() {
        assert!(memory() > 0);
        assert!(cpus() > 0);
        assert!(open_files() > 2);
    }
}
