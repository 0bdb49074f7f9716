//! What is allowed of a container's limits, and what this host cannot limit. The texts are dockerd's.

use crate::Error;
use crate::abilities::Abilities;
use crate::check::invalid;
use crate::model::Resources;

/// Least memory of a container in bytes.
const MIN_MEMORY: i64 = 6 << 20;
/// Most CPUs and memory nodes that a kernel is built for.
const MOST: u32 = 8192;

/// Whether limits are those of a new container, or changes to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// `ContainerCreate`.
    Create,
    /// `ContainerUpdate`.
    Update,
}

/// Checks limits, and drops those that this host does not have; returns warnings for people about them.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check(
    limits: &mut Resources,
    has: &Abilities,
    occasion: Occasion,
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    check_realtime(limits, has)?;
    check_memory(limits, has, occasion, &mut warnings)?;
    check_oom_and_pids(limits, has, &mut warnings);
    check_cpu(limits, has, &mut warnings)?;
    check_cpusets(limits, has, &mut warnings)?;
    check_blkio(limits, has, &mut warnings)?;
    Ok(warnings)
}

fn check_realtime(limits: &Resources, has: &Abilities) -> Result<(), Error> {
    let (period, runtime) = (limits.cpu_realtime_period, limits.cpu_realtime_runtime);
    if (period != 0 || runtime != 0) && !has.cpu_realtime {
        return invalid("kernel does not support CPU real-time scheduler");
    }
    if period != 0 && runtime != 0 && runtime > period {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

/// A limit that the host does not have is dropped, with a warning.
fn drop_unless<T: Default + PartialEq>(
    has: bool,
    limit: &mut T,
    warnings: &mut Vec<String>,
    warning: &str,
) {
    if !has && *limit != T::default() {
        *limit = T::default();
        warnings.push(warning.to_owned());
    }
}

fn check_memory(
    limits: &mut Resources,
    has: &Abilities,
    occasion: Occasion,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if limits.memory_swappiness == Some(-1) {
        limits.memory_swappiness = None;
    }
    if limits.memory != 0 && limits.memory < MIN_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if limits.memory > 0 && !has.memory {
        warnings.push(
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.".to_owned(),
        );
        (limits.memory, limits.memory_swap) = (0, -1);
    }
    if limits.memory > 0 && limits.memory_swap != -1 && !has.swap {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".to_owned(),
        );
        limits.memory_swap = -1;
    }
    let (memory, swap) = (limits.memory, limits.memory_swap);
    if memory > 0 && swap > 0 && swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 && occasion == Occasion::Create {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    drop_unless(
        has.swappiness,
        &mut limits.memory_swappiness,
        warnings,
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
    );
    if let Some(swappiness) = limits.memory_swappiness
        && !(0..=100).contains(&swappiness)
    {
        return invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        ));
    }
    drop_unless(
        has.memory_reservation,
        &mut limits.memory_reservation,
        warnings,
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
    );
    let reservation = limits.memory_reservation;
    if reservation > 0 && reservation < MIN_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn check_oom_and_pids(limits: &mut Resources, has: &Abilities, warnings: &mut Vec<String>) {
    if !has.oom_kill_disable && limits.oom_kill_disable.take() == Some(true) {
        warnings.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
        );
    }
    if limits.oom_kill_disable == Some(true) && limits.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result \
             in the system running out of resources."
                .to_owned(),
        );
    }
    if !has.pids && limits.pids_limit.take().is_some_and(|limit| limit > 0) {
        warnings.push(
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.".to_owned(),
        );
    }
}

fn check_cpu(
    limits: &mut Resources,
    has: &Abilities,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let conflict = |what: &str| {
        invalid(format!(
            "Conflicting options: Nano CPUs and CPU {what} cannot both be set"
        ))
    };
    if limits.nano_cpus > 0 && limits.cpu_period > 0 {
        return conflict("Period");
    }
    if limits.nano_cpus > 0 && limits.cpu_quota > 0 {
        return conflict("Quota");
    }
    if limits.nano_cpus > 0 && !(has.cpu_period && has.cpu_quota) {
        return invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        );
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(cpus)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    if limits.nano_cpus < 0 || limits.nano_cpus > most {
        return invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if limits.cpu_shares < 0 {
        let shares = limits.cpu_shares;
        return invalid(format!(
            "invalid CPU shares ({shares}): value must be a positive integer"
        ));
    }
    drop_unless(
        has.cpu_shares,
        &mut limits.cpu_shares,
        warnings,
        "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
    );
    let mut time = (limits.cpu_period, limits.cpu_quota);
    drop_unless(
        has.cpu_period && has.cpu_quota,
        &mut time,
        warnings,
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
    );
    (limits.cpu_period, limits.cpu_quota) = time;
    if limits.cpu_period != 0 && !(1000..=1_000_000).contains(&limits.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    Ok(())
}

fn check_cpusets(
    limits: &mut Resources,
    has: &Abilities,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut sets = (
        std::mem::take(&mut limits.cpuset_cpus),
        std::mem::take(&mut limits.cpuset_mems),
    );
    drop_unless(
        has.cpuset,
        &mut sets,
        warnings,
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    );
    (limits.cpuset_cpus, limits.cpuset_mems) = sets;
    check_set(&limits.cpuset_cpus, "cpuset cpus", "CPUs", &has.cpus)?;
    check_set(
        &limits.cpuset_mems,
        "cpuset mems",
        "memory nodes",
        &has.mems,
    )
}

/// Checks a list of CPUs or memory nodes against those that there are.
fn check_set(list: &str, field: &str, things: &str, available: &str) -> Result<(), Error> {
    let wanted = match parse_set(list) {
        Ok(wanted) => wanted,
        Err(reason) => return invalid(format!("Invalid value {list} for {field}: {reason}")),
    };
    let has = parse_set(available).unwrap_or_default();
    if has.is_empty() || wanted.iter().all(|number| has.contains(number)) {
        return Ok(());
    }
    invalid(format!(
        "Requested {things} are not available - requested {list}, available: {available}"
    ))
}

/// Parses `0-2,4`; says what is wrong.
fn parse_set(list: &str) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::new();
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| match text.parse::<u32>() {
            Ok(number) if text.starts_with(|c: char| c.is_ascii_digit()) => Ok(number),
            _ => Err(format!("invalid format: {list}")),
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > MOST || last > MOST {
            return Err(format!("value of out range, maximum is {MOST}"));
        }
        if first > last {
            return Err(format!("invalid format: {list}"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

fn check_blkio(
    limits: &mut Resources,
    has: &Abilities,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    drop_unless(
        has.blkio_weight,
        &mut limits.blkio_weight,
        warnings,
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    );
    if limits.blkio_weight > 0 && !(10..=1000).contains(&limits.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    drop_devices(
        has.blkio_weight_device,
        &mut limits.blkio_weight_device,
        warnings,
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
    );
    drop_devices(
        has.blkio_read_bps,
        &mut limits.blkio_device_read_bps,
        warnings,
        "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
    );
    drop_devices(
        has.blkio_write_bps,
        &mut limits.blkio_device_write_bps,
        warnings,
        "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
    );
    drop_devices(
        has.blkio_read_iops,
        &mut limits.blkio_device_read_iops,
        warnings,
        "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
    );
    drop_devices(
        has.blkio_write_iops,
        &mut limits.blkio_device_write_iops,
        warnings,
        "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
    );
    Ok(())
}

/// Limits of single devices: the list is empty, not absent, when they are dropped.
fn drop_devices<T>(
    has: bool,
    devices: &mut Option<Vec<T>>,
    warnings: &mut Vec<String>,
    warning: &str,
) {
    if let Some(devices) = devices
        && !has
        && !devices.is_empty()
    {
        devices.clear();
        warnings.push(warning.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WeightDevice;

    fn all() -> Abilities {
        Abilities {
            memory: true,
            memory_reservation: true,
            swap: true,
            swappiness: true,
            kernel_memory_tcp: true,
            oom_kill_disable: true,
            cpu_period: true,
            cpu_quota: true,
            cpu_realtime: true,
            cpu_shares: true,
            cpuset: true,
            cpus: "0-1".to_owned(),
            mems: "0".to_owned(),
            blkio_weight: true,
            blkio_weight_device: true,
            blkio_read_bps: true,
            blkio_write_bps: true,
            blkio_read_iops: true,
            blkio_write_iops: true,
            pids: true,
        }
    }

    fn refused(change: fn(&mut Resources)) -> String {
        let mut limits = Resources::default();
        change(&mut limits);
        check(&mut limits, &all(), Occasion::Create)
            .map_or_else(|error| error.to_string(), |_warnings| String::new())
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        type Change = fn(&mut Resources);
        let cases: [(Change, &str); 9] = [
            (|l| l.memory = 1000, "Minimum memory limit allowed is 6MB"),
            (
                |l| l.memory_swap = 200,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                |l| (l.memory, l.memory_swap) = (10_000_000, 200),
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                |l| l.cpu_shares = -1,
                "invalid CPU shares (-1): value must be a positive integer",
            ),
            (
                |l| (l.nano_cpus, l.cpu_quota) = (1, 1),
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (
                |l| l.cpuset_cpus = "1-x".to_owned(),
                "Invalid value 1-x for cpuset cpus: invalid format: 1-x",
            ),
            (
                |l| l.cpuset_cpus = "9999".to_owned(),
                "Invalid value 9999 for cpuset cpus: value of out range, maximum is 8192",
            ),
            (
                |l| l.cpuset_mems = "1".to_owned(),
                "Requested memory nodes are not available - requested 1, available: 0",
            ),
            (
                |l| (l.cpu_realtime_period, l.cpu_realtime_runtime) = (1, 2),
                "cpu real-time runtime cannot be higher than cpu real-time period",
            ),
        ];
        for (change, text) in cases {
            assert_eq!(refused(change), text);
        }
    }

    #[test]
    fn what_the_host_cannot_limit_is_dropped_with_a_warning() {
        let mut limits = Resources {
            memory: 64 << 20,
            memory_reservation: 32 << 20,
            blkio_weight: 500,
            blkio_weight_device: Some(vec![WeightDevice {
                path: "/dev/x".into(),
                weight: 5,
            }]),
            oom_kill_disable: Some(true),
            cpuset_cpus: "9".into(),
            pids_limit: Some(5),
            cpu_quota: 5000,
            memory_swappiness: Some(7),
            ..Resources::default()
        };
        let warnings = check(&mut limits, &Abilities::default(), Occasion::Create).unwrap();
        let left = Resources {
            memory_swap: -1,
            blkio_weight_device: Some(Vec::new()),
            ..Resources::default()
        };
        assert_eq!(limits, left);
        assert_eq!(warnings.len(), 9, "{warnings:?}");
        let nothing = check(&mut limits, &Abilities::default(), Occasion::Create).unwrap();
        assert_eq!(nothing, Vec::<String>::new());
    }

    #[test]
    fn sets_are_lists_of_numbers_and_ranges() {
        assert_eq!(parse_set("0-2,4"), Ok(vec![0, 1, 2, 4]));
        assert_eq!(parse_set(""), Ok(Vec::new()));
        for bad in ["2-0", "x", "0,", "+1", "-1", " 0"] {
            assert_eq!(parse_set(bad), Err(format!("invalid format: {bad}")));
        }
    }

    #[test]
    fn more_swap_alone_is_for_updates() {
        let mut limits = Resources {
            memory_swap: 64 << 20,
            ..Resources::default()
        };
        assert!(check(&mut limits, &all(), Occasion::Update).is_ok());
    }
}
