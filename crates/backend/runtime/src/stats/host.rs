//! Counters of the host, and of the container's network namespace.

use std::io;
use std::path::Path;

use super::Interface;

/// Processor time of the host in nanoseconds and the number of its processors (`/proc/stat`).
pub(super) fn cpu() -> io::Result<(u64, u32)> {
    Ok(parse_cpu(&std::fs::read_to_string("/proc/stat")?))
}

fn parse_cpu(text: &str) -> (u64, u32) {
    // Procfs counts in hundredths of a second, whatever the kernel's own tick (USER_HZ).
    const TICK: u64 = 10_000_000;
    let mut ticks = 0_u64;
    let mut online = 0;
    for line in text.lines().take_while(|line| line.starts_with("cpu")) {
        let mut fields = line.split_ascii_whitespace();
        if fields.next() == Some("cpu") {
            ticks = fields
                .take(7)
                .filter_map(|field| field.parse::<u64>().ok())
                .sum();
        } else {
            online += 1;
        }
    }
    (ticks.saturating_mul(TICK), online)
}

/// The host's memory in bytes.
pub(super) fn memory() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))
}

/// The interfaces in a network namespace. A process that is gone has none.
pub(super) fn interfaces(file: &Path) -> io::Result<Vec<Interface>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(parse_interfaces(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        // ESRCH and EINVAL come from a process that is just ending.
        Err(error) if error.raw_os_error().is_some() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn parse_interfaces(text: &str) -> Vec<Interface> {
    let parse = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let mut counters = counters
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0));
        let mut next = |skip: usize| counters.nth(skip).unwrap_or(0);
        Some(Interface {
            name: name.trim().to_owned(),
            rx_bytes: next(0),
            rx_packets: next(0),
            rx_errors: next(0),
            rx_dropped: next(0),
            tx_bytes: next(4),
            tx_packets: next(0),
            tx_errors: next(0),
            tx_dropped: next(0),
        })
    };
    let mut interfaces: Vec<Interface> = text.lines().skip(2).filter_map(parse).collect();
    interfaces.retain(|interface| interface.name != "lo");
    interfaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_the_sum_of_seven_kinds() {
        let text = "cpu  1 2 3 4 5 6 7 100 200\ncpu0 1 1 1\ncpu1 1 1 1\nintr 5\n";
        assert_eq!(parse_cpu(text), (280_000_000, 2));
    }

    #[test]
    fn interfaces_are_read_without_the_loopback() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    \
                    lo:       1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
                    eth0:     736       8    1    2    0     0          0         0      126       3    4    5    0     0       0          0\n";
        let interface = Interface {
            name: "eth0".to_owned(),
            rx_bytes: 736,
            rx_packets: 8,
            rx_errors: 1,
            rx_dropped: 2,
            tx_bytes: 126,
            tx_packets: 3,
            tx_errors: 4,
            tx_dropped: 5,
        };
        assert_eq!(parse_interfaces(text), [interface]);
    }
}
