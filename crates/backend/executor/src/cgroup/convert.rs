//! Values that differ between the OCI configuration and the files of a cgroup.

use oci_spec::runtime::LinuxThrottleDevice;
use rustix::event::{Timespec, poll};

/// `cpu.shares` (2 to 262144) as `cpu.weight` (1 to 10000).
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// `blkio.weight` (10 to 1000) as `io.weight` (1 to 10000).
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990
}

/// A limit as cgroup v2 writes it: below zero is none.
pub(super) fn or_max(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

/// `memory.swap.max` from the configuration's sum of memory and swap.
pub(super) fn swap_alone(limit: Option<i64>, sum: i64) -> Result<i64, String> {
    match limit {
        _ if sum < 0 => Ok(-1),
        Some(limit) if limit > 0 && sum >= limit => Ok(sum - limit),
        Some(limit) if limit > 0 => Err("memory+swap limit should be >= memory limit".to_owned()),
        _ => Err("unable to set swap limit without memory limit".to_owned()),
    }
}

/// A limit of a device as cgroup v1 writes it.
pub(super) fn throttle(device: &LinuxThrottleDevice) -> String {
    format!("{}:{} {}", device.major(), device.minor(), device.rate())
}

/// Gives the kernel some microseconds for what it has no event for.
pub(super) fn breathe(microseconds: i64) {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: microseconds * 1000,
    };
    // An interruption only makes it shorter.
    poll(&mut [], Some(&time)).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_of_the_same_range() {
        assert_eq!((weight_of_shares(0), weight_of_shares(2)), (1, 1));
        assert_eq!(
            (weight_of_shares(1024), weight_of_shares(262_144)),
            (39, 10_000)
        );
        assert_eq!(
            (io_weight(10), io_weight(500), io_weight(1000)),
            (1, 4950, 10_000)
        );
    }

    #[test]
    fn swap_is_what_the_sum_leaves() {
        assert_eq!(swap_alone(Some(100), 300), Ok(200));
        assert_eq!(swap_alone(Some(100), -1), Ok(-1));
        assert_eq!(swap_alone(Some(100), 100), Ok(0));
        swap_alone(Some(100), 50).unwrap_err();
        swap_alone(None, 50).unwrap_err();
        assert_eq!((or_max(-1), or_max(7)), ("max".to_owned(), "7".to_owned()));
    }
}
