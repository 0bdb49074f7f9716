//! Limits in the terms of cgroup v1 (Documentation/admin-guide/cgroup-v1).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice,
};

use super::{convert, devices, dirs};
use crate::error::ExecError;

/// The directories by controller, with an error for one that the host lacks.
struct Controllers<'a>(&'a BTreeMap<String, PathBuf>);

impl Controllers<'_> {
    fn dir(&self, controller: &str) -> Result<&Path, ExecError> {
        self.0.get(controller).map(PathBuf::as_path).ok_or_else(|| {
            ExecError::other(format!(
                "the {controller} cgroup controller is not available"
            ))
        })
    }

    fn set(&self, controller: &str, file: &str, value: impl ToString) -> Result<(), ExecError> {
        dirs::write(self.dir(controller)?, file, &value.to_string())
    }
}

/// A cpuset starts empty, and then takes no process: it gets what is above it.
pub(super) fn inherit_cpuset(dir: &Path, mount: &Path) -> Result<(), ExecError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        inherit(dir, mount, file)?;
    }
    Ok(())
}

fn inherit(dir: &Path, mount: &Path, file: &str) -> Result<String, ExecError> {
    let own = dirs::read(dir, file)?;
    let Some(parent) = dir.parent().filter(|_| own.is_empty() && dir != mount) else {
        return Ok(own);
    };
    let above = inherit(parent, mount, file)?;
    dirs::write(dir, file, &above)?;
    Ok(above)
}

/// Sets what `resources` names.
pub(super) fn apply(
    dirs: &BTreeMap<String, PathBuf>,
    resources: &LinuxResources,
) -> Result<(), ExecError> {
    let to = Controllers(dirs);
    if resources
        .rdma()
        .as_ref()
        .is_some_and(|limits| !limits.is_empty())
    {
        return Err(ExecError::other("cgroup: rdma limits need cgroup v2"));
    }
    if resources
        .unified()
        .as_ref()
        .is_some_and(|values| !values.is_empty())
    {
        return Err(ExecError::other(
            "invalid configuration: cannot use unified on cgroup v1",
        ));
    }
    if let Some(rules) = resources
        .devices()
        .as_ref()
        .filter(|rules| !rules.is_empty())
    {
        devices::apply_v1(to.dir("devices")?, rules)?;
    }
    if let Some(memory) = resources.memory() {
        set_memory(&to, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        set_cpu(&to, cpu)?;
    }
    // Zero is unlimited in Docker's API and everywhere below it but in the kernel.
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        let limit = pids.limit();
        to.set(
            "pids",
            "pids.max",
            if limit < 0 {
                "max".to_owned()
            } else {
                limit.to_string()
            },
        )?;
    }
    if let Some(block) = resources.block_io() {
        set_block_io(&to, block)?;
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size());
        to.set("hugetlb", &file, huge.limit())?;
    }
    resources
        .network()
        .as_ref()
        .map_or(Ok(()), |network| set_network(&to, network))
}

fn set_network(to: &Controllers<'_>, network: &LinuxNetwork) -> Result<(), ExecError> {
    if let Some(class) = network.class_id() {
        to.set("net_cls", "net_cls.classid", class)?;
    }
    for one in network.priorities().iter().flatten() {
        to.set(
            "net_prio",
            "net_prio.ifpriomap",
            format!("{} {}", one.name(), one.priority()),
        )?;
    }
    Ok(())
}

fn set_memory(to: &Controllers<'_>, memory: &LinuxMemory) -> Result<(), ExecError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let limit = memory.limit().filter(|&limit| limit != 0);
    let swap = memory.swap().filter(|&swap| swap != 0);
    // Without a limit of memory a limit of memory and swap makes no sense.
    let swap = if limit == Some(-1) && swap.is_none() {
        Some(-1)
    } else {
        swap
    };
    let counts_swap = limit.is_some() && swap.is_some() && dirs::has(to.dir("memory")?, SWAP);
    if let (Some(limit), Some(swap), true) = (limit, swap, counts_swap) {
        // At each moment the sum must not be below the memory.
        let now = dirs::read(to.dir("memory")?, SWAP)?
            .parse::<i64>()
            .unwrap_or(i64::MAX);
        let sum_first = swap == -1 || now < swap;
        let order = if sum_first {
            [(SWAP, swap), (LIMIT, limit)]
        } else {
            [(LIMIT, limit), (SWAP, swap)]
        };
        for (file, value) in order {
            to.set("memory", file, value)?;
        }
    } else {
        if let Some(limit) = limit {
            to.set("memory", LIMIT, limit)?;
        }
        if let Some(swap) = swap.filter(|&swap| swap != -1 || limit.is_none()) {
            to.set("memory", SWAP, swap)?;
        }
    }
    if let Some(soft) = memory.reservation().filter(|&soft| soft != 0) {
        to.set("memory", "memory.soft_limit_in_bytes", soft)?;
    }
    if let Some(buffers) = memory.kernel_tcp().filter(|&buffers| buffers != 0) {
        to.set("memory", "memory.kmem.tcp.limit_in_bytes", buffers)?;
    }
    if memory.disable_oom_killer() == Some(true) {
        to.set("memory", "memory.oom_control", 1)?;
    }
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            return Err(ExecError::other(format!(
                "invalid memory swappiness value: {swappiness} (valid range is 0-100)"
            )));
        }
        to.set("memory", "memory.swappiness", swappiness)?;
    }
    Ok(())
}

fn set_cpu(to: &Controllers<'_>, cpu: &LinuxCpu) -> Result<(), ExecError> {
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0) {
        to.set("cpu", "cpu.shares", shares)?;
    }
    if let Some(burst) = cpu.burst() {
        to.set("cpu", "cpu.cfs_burst_us", burst)?;
    }
    let period = cpu.period().filter(|&period| period != 0);
    let quota = cpu.quota().filter(|&quota| quota != 0);
    // A shorter period may ask for more than the parent has with the old quota: then the quota
    // goes first.
    let period_done = match period {
        Some(period) => match (to.set("cpu", "cpu.cfs_period_us", period), quota) {
            (Ok(()), _) => true,
            (Err(_), Some(_)) => false,
            (Err(error), None) => return Err(error),
        },
        None => true,
    };
    if let Some(quota) = quota {
        to.set("cpu", "cpu.cfs_quota_us", quota)?;
    }
    if let Some(period) = period.filter(|_| !period_done) {
        to.set("cpu", "cpu.cfs_period_us", period)?;
    }
    if let Some(period) = cpu.realtime_period().filter(|&period| period != 0) {
        to.set("cpu", "cpu.rt_period_us", period)?;
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|&runtime| runtime != 0) {
        to.set("cpu", "cpu.rt_runtime_us", runtime)?;
    }
    if let Some(idle) = cpu.idle() {
        to.set("cpu", "cpu.idle", idle)?;
    }
    if let Some(cpus) = cpu.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
        to.set("cpuset", "cpuset.cpus", cpus)?;
    }
    if let Some(mems) = cpu.mems().as_ref().filter(|mems| !mems.is_empty()) {
        to.set("cpuset", "cpuset.mems", mems)?;
    }
    Ok(())
}

fn set_block_io(to: &Controllers<'_>, block: &LinuxBlockIo) -> Result<(), ExecError> {
    let weight = block.weight().filter(|&weight| weight != 0);
    if block.leaf_weight().is_some_and(|weight| weight != 0) {
        to.set(
            "blkio",
            "blkio.leaf_weight",
            block.leaf_weight().unwrap_or_default(),
        )?;
    }
    let file = |suffix: &str| -> Result<String, ExecError> {
        let bfq = format!("blkio.bfq.weight{suffix}");
        let has = dirs::has(to.dir("blkio")?, &bfq);
        Ok(if has {
            bfq
        } else {
            format!("blkio.weight{suffix}")
        })
    };
    if let Some(weight) = weight {
        to.set("blkio", &file("")?, weight)?;
    }
    for device in block.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let value = format!("{}:{} {weight}", device.major(), device.minor());
            to.set("blkio", &file("_device")?, value)?;
        }
    }
    let throttle = |file: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        devices.iter().flatten().try_for_each(|device| {
            let file = format!("blkio.throttle.{file}_device");
            to.set("blkio", &file, convert::throttle(device))
        })
    };
    throttle("read_bps", block.throttle_read_bps_device())?;
    throttle("write_bps", block.throttle_write_bps_device())?;
    throttle("read_iops", block.throttle_read_iops_device())?;
    throttle("write_iops", block.throttle_write_iops_device())
}

/// Freezes or thaws. The kernel freezes step by step and has no event for it: a state of
/// `FREEZING` is asked for again until it is `FROZEN`.
pub(super) fn freeze(dir: &Path, stop: bool) -> Result<(), ExecError> {
    const FILE: &str = "freezer.state";
    if !stop {
        return dirs::write(dir, FILE, "THAWED");
    }
    for round in 0..2000_u32 {
        dirs::write(dir, FILE, "FROZEN")?;
        if dirs::read(dir, FILE)? == "FROZEN" {
            return Ok(());
        }
        convert::breathe(if round < 50 { 50 } else { 1000 });
    }
    dirs::write(dir, FILE, "THAWED")?;
    Err(ExecError::other("unable to freeze"))
}
