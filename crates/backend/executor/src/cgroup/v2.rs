//! Limits in the terms of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst).

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{convert, devices, dirs};
use crate::error::{Context, ExecError};

/// Makes the directory, with every controller that the host has passed down to it.
pub(super) fn make(dir: &Path, mount: &Path) -> Result<(), ExecError> {
    let relative = dir.strip_prefix(mount).unwrap_or(dir);
    let controllers = dirs::read(mount, "cgroup.controllers")?;
    let mut at = mount.to_path_buf();
    for name in relative {
        let enabled = dirs::read(&at, "cgroup.subtree_control").unwrap_or_default();
        for controller in controllers.split(' ') {
            if !controller.is_empty() && !enabled.split(' ').any(|one| one == controller) {
                // One by one: a controller that cannot be passed on keeps no other from it, and
                // what needs it will say so.
                drop(dirs::write(
                    &at,
                    "cgroup.subtree_control",
                    &format!("+{controller}"),
                ));
            }
        }
        at.push(name);
        dirs::make(&at)?;
    }
    Ok(())
}

/// Moves `pid` into some cgroup below `dir` that takes processes.
pub(super) fn join_leaf(dir: &Path, pid: i32) -> Result<(), ExecError> {
    let entries = fs::read_dir(dir).context(|| format!("open {}", dir.display()))?;
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    for child in entries.flatten().filter(is_dir).map(|entry| entry.path()) {
        let joined = fs::write(child.join("cgroup.procs"), pid.to_string());
        if joined.is_ok() || join_leaf(&child, pid).is_ok() {
            return Ok(());
        }
    }
    let busy = io::Error::from_raw_os_error(super::BUSY);
    Err(ExecError::os(
        format!("failed to write {pid} to {}/cgroup.procs", dir.display()),
        &busy,
    ))
}

/// Sets what `resources` names.
pub(super) fn apply(dir: &Path, resources: &LinuxResources) -> Result<(), ExecError> {
    if let Some(rules) = resources
        .devices()
        .as_ref()
        .filter(|rules| !rules.is_empty())
    {
        devices::apply_v2(dir, rules)?;
    }
    if let Some(memory) = resources.memory() {
        set_memory(dir, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        set_cpu(dir, cpu)?;
    }
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        dirs::write(dir, "pids.max", &convert::or_max(pids.limit()))?;
    }
    if let Some(block) = resources.block_io() {
        set_io(dir, block)?;
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.max", huge.page_size());
        dirs::write(dir, &file, &huge.limit().to_string())?;
    }
    for (device, limits) in resources.rdma().iter().flatten() {
        let mut value = device.clone();
        if let Some(handles) = limits.hca_handles() {
            value.push_str(&format!(" hca_handle={handles}"));
        }
        if let Some(objects) = limits.hca_objects() {
            value.push_str(&format!(" hca_object={objects}"));
        }
        dirs::write(dir, "rdma.max", &value)?;
    }
    let network = resources.network().as_ref();
    if network.is_some_and(|net| net.class_id().is_some() || net.priorities().is_some()) {
        return Err(ExecError::other(
            "cgroup: network classes and priorities need cgroup v1",
        ));
    }
    for (file, value) in resources.unified().iter().flatten() {
        if file.contains('/') || !file.contains('.') {
            return Err(ExecError::other(format!(
                "unified resource \"{file}\" must be a file name"
            )));
        }
        dirs::write(dir, file, value)?;
    }
    Ok(())
}

fn set_memory(dir: &Path, memory: &LinuxMemory) -> Result<(), ExecError> {
    let limit = memory.limit().filter(|&limit| limit != 0);
    if let Some(sum) = memory.swap().filter(|&sum| sum != 0) {
        let swap = convert::swap_alone(limit, sum).map_err(ExecError::other)?;
        let swap = convert::or_max(swap);
        // A kernel without swap accounting has no such file; no swap then is what was asked for.
        if dirs::has(dir, "memory.swap.max") {
            dirs::write(dir, "memory.swap.max", &swap)?;
        } else if swap != "max" && swap != "0" {
            return Err(ExecError::other("the kernel does not support swap limits"));
        }
    }
    if let Some(limit) = limit {
        dirs::write(dir, "memory.max", &convert::or_max(limit))?;
    }
    if let Some(soft) = memory.reservation().filter(|&soft| soft != 0) {
        dirs::write(dir, "memory.low", &convert::or_max(soft))?;
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(ExecError::other(
            "the OOM killer cannot be disabled on cgroup v2",
        ));
    }
    if memory.swappiness().is_some() {
        return Err(ExecError::other(
            "cgroup v2 has no swappiness of a container",
        ));
    }
    if memory.kernel_tcp().is_some_and(|limit| limit != 0) {
        return Err(ExecError::other("cgroup v2 has no limit of TCP buffers"));
    }
    Ok(())
}

fn set_cpu(dir: &Path, cpu: &LinuxCpu) -> Result<(), ExecError> {
    if cpu.idle().is_some() {
        dirs::write(dir, "cpu.idle", &cpu.idle().unwrap_or_default().to_string())?;
    }
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0) {
        dirs::write(
            dir,
            "cpu.weight",
            &convert::weight_of_shares(shares).to_string(),
        )?;
    }
    let quota = cpu.quota().filter(|&quota| quota != 0);
    let period = cpu.period().filter(|&period| period != 0);
    if quota.is_some() || period.is_some() {
        let now = dirs::read(dir, "cpu.max").unwrap_or_default();
        let (now_quota, now_period) = now.split_once(' ').unwrap_or(("max", "100000"));
        let quota = quota.map_or_else(|| now_quota.to_owned(), convert::or_max);
        let period = period.map_or_else(|| now_period.to_owned(), |period| period.to_string());
        dirs::write(dir, "cpu.max", &format!("{quota} {period}"))?;
    }
    if let Some(burst) = cpu.burst() {
        dirs::write(dir, "cpu.max.burst", &burst.to_string())?;
    }
    if cpu.realtime_runtime().is_some_and(|runtime| runtime != 0)
        || cpu.realtime_period().is_some_and(|period| period != 0)
    {
        return Err(ExecError::other(
            "cgroup v2 has no limits of realtime scheduling",
        ));
    }
    if let Some(cpus) = cpu.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
        dirs::write(dir, "cpuset.cpus", cpus)?;
    }
    if let Some(mems) = cpu.mems().as_ref().filter(|mems| !mems.is_empty()) {
        dirs::write(dir, "cpuset.mems", mems)?;
    }
    Ok(())
}

fn set_io(dir: &Path, block: &LinuxBlockIo) -> Result<(), ExecError> {
    let bfq = dirs::has(dir, "io.bfq.weight");
    let set_weight = |device: Option<String>, weight: u16| {
        let (file, weight) = match bfq {
            true => ("io.bfq.weight", u64::from(weight)),
            false => ("io.weight", convert::io_weight(weight)),
        };
        let device = device.map_or_else(String::new, |device| format!("{device} "));
        dirs::write(dir, file, &format!("{device}{weight}"))
    };
    if let Some(weight) = block.weight().filter(|&weight| weight != 0) {
        set_weight(None, weight)?;
    }
    for device in block.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            set_weight(
                Some(format!("{}:{}", device.major(), device.minor())),
                weight,
            )?;
        }
    }
    let limits = [
        ("rbps", block.throttle_read_bps_device()),
        ("wbps", block.throttle_write_bps_device()),
        ("riops", block.throttle_read_iops_device()),
        ("wiops", block.throttle_write_iops_device()),
    ];
    for (key, devices) in limits {
        for one in devices.iter().flatten() {
            let value = format!("{}:{} {key}={}", one.major(), one.minor(), one.rate());
            dirs::write(dir, "io.max", &value)?;
        }
    }
    Ok(())
}

/// Freezes or thaws, and waits for the kernel's event that it is done.
pub(super) fn freeze(dir: &Path, stop: bool) -> Result<(), ExecError> {
    let path = dir.join("cgroup.events");
    let what = || format!("read {}", path.display());
    let mut events = File::open(&path).context(what)?;
    let wanted = if stop { "frozen 1" } else { "frozen 0" };
    dirs::write(dir, "cgroup.freeze", if stop { "1" } else { "0" })?;
    for _ in 0..20 {
        // Reading from the start is what makes the next poll wait for a change after it.
        let mut text = String::new();
        events
            .rewind()
            .and_then(|()| events.read_to_string(&mut text))
            .context(what)?;
        if text.lines().any(|line| line == wanted) {
            return Ok(());
        }
        let mut change = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        poll(
            &mut change,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            }),
        )
        .context(|| "poll")?;
    }
    if stop {
        dirs::write(dir, "cgroup.freeze", "0")?;
        return Err(ExecError::other("unable to freeze"));
    }
    Ok(())
}
