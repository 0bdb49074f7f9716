//! Limits in the words of the OCI.

use rustix::fs::{FileType, major, minor, stat};

use super::oci;
use crate::Error;
use crate::model::{Resources, ThrottleDevice, Ulimit};

/// Translates limits, without the rules for devices.
///
/// # Errors
/// [`Error::Failed`] when a block device is named that is not there.
pub(crate) fn convert(limits: &Resources) -> Result<oci::Resources, Error> {
    Ok(oci::Resources {
        devices: Vec::new(),
        memory: Some(memory(limits)),
        cpu: cpu(limits),
        pids: pids(limits),
        block_io: Some(block_io(limits)?),
    })
}

fn positive(value: i64) -> Option<i64> {
    (value > 0).then_some(value)
}

fn memory(limits: &Resources) -> oci::Memory {
    oci::Memory {
        limit: positive(limits.memory),
        reservation: positive(limits.memory_reservation),
        swap: (limits.memory_swap != 0).then_some(limits.memory_swap.max(-1)),
        kernel_tcp: positive(limits.kernel_memory_tcp),
        swappiness: limits
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: limits.oom_kill_disable,
    }
}

/// CPU limits; a number of CPUs becomes a quota of a period of 100 ms.
fn cpu(limits: &Resources) -> Option<oci::Cpu> {
    let unsigned = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let (period, quota) = if limits.nano_cpus > 0 {
        (
            Some(100_000),
            Some(limits.nano_cpus.saturating_mul(100_000) / 1_000_000_000),
        )
    } else {
        (
            unsigned(limits.cpu_period),
            (limits.cpu_quota != 0).then_some(limits.cpu_quota),
        )
    };
    let cpu = oci::Cpu {
        shares: unsigned(limits.cpu_shares),
        quota,
        period,
        realtime_runtime: (limits.cpu_realtime_runtime != 0).then_some(limits.cpu_realtime_runtime),
        realtime_period: unsigned(limits.cpu_realtime_period),
        cpus: text(&limits.cpuset_cpus),
        mems: text(&limits.cpuset_mems),
    };
    (cpu != oci::Cpu::default()).then_some(cpu)
}

fn pids(limits: &Resources) -> Option<oci::Pids> {
    // An update takes a limit away by what is none.
    limits.pids_limit.map(|limit| oci::Pids {
        limit: if limit > 0 { limit } else { -1 },
    })
}

fn block_io(limits: &Resources) -> Result<oci::BlockIo, Error> {
    let mut weights = Vec::new();
    for device in limits.blkio_weight_device.iter().flatten() {
        let (major, minor) = block_device(&device.path)?;
        weights.push(oci::DeviceWeight {
            major,
            minor,
            weight: device.weight,
        });
    }
    Ok(oci::BlockIo {
        weight: (limits.blkio_weight > 0).then_some(limits.blkio_weight),
        weight_device: weights,
        throttle_read_bps_device: rates(limits.blkio_device_read_bps.as_deref())?,
        throttle_write_bps_device: rates(limits.blkio_device_write_bps.as_deref())?,
        throttle_read_iops_device: rates(limits.blkio_device_read_iops.as_deref())?,
        throttle_write_iops_device: rates(limits.blkio_device_write_iops.as_deref())?,
    })
}

fn rates(devices: Option<&[ThrottleDevice]>) -> Result<Vec<oci::DeviceRate>, Error> {
    devices
        .unwrap_or_default()
        .iter()
        .map(|device| {
            let (major, minor) = block_device(&device.path)?;
            Ok(oci::DeviceRate {
                major,
                minor,
                rate: device.rate,
            })
        })
        .collect()
}

/// Numbers of the block device at `path`.
fn block_device(path: &str) -> Result<(u32, u32), Error> {
    let found = stat(path).map_err(|errno| Error::File {
        what: "stat",
        path: path.into(),
        cause: errno.into(),
    })?;
    if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
        return Err(Error::Failed(format!("{path} is not a block device")));
    }
    Ok((major(found.st_rdev), minor(found.st_rdev)))
}

/// Process limits; those of the container win over the daemon's defaults.
pub(crate) fn rlimits(own: Option<&[Ulimit]>, defaults: &[Ulimit]) -> Vec<oci::Rlimit> {
    let own = own.unwrap_or_default();
    let missing = defaults
        .iter()
        .filter(|d| !own.iter().any(|u| u.name == d.name));
    own.iter()
        .chain(missing)
        .map(|limit| oci::Rlimit {
            kind: format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
            hard: limit.hard.cast_unsigned(),
            soft: limit.soft.cast_unsigned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_a_quota() {
        let limits = Resources {
            nano_cpus: 1_500_000_000,
            ..Resources::default()
        };
        let cpu = cpu(&limits).unwrap();
        assert_eq!((cpu.period, cpu.quota), (Some(100_000), Some(150_000)));
    }

    #[test]
    fn nothing_asked_is_nothing_limited() {
        let found = convert(&Resources::default()).unwrap();
        assert_eq!(found.cpu, None);
        assert_eq!(found.pids, None);
        assert_eq!(found.memory, Some(oci::Memory::default()));
    }

    #[test]
    fn the_daemons_limits_fill_in() {
        let limit = |name: &str, soft| Ulimit {
            name: name.into(),
            hard: -1,
            soft,
        };
        let found = rlimits(
            Some(&[limit("nofile", 7)]),
            &[limit("nofile", 9), limit("core", 0)],
        );
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].kind.as_str(), found[0].soft, found[0].hard),
            ("RLIMIT_NOFILE", 7, u64::MAX)
        );
        assert_eq!(found[1].kind, "RLIMIT_CORE");
    }
}
