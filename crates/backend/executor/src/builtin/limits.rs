//! Limits of one process, set by the helper, which still has the host's rights.

use std::fs;

use oci_spec::runtime::{PosixRlimitType, Process};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::error::{Context, ExecError};

/// Sets `rlimits` and `oomScoreAdj` of process `pid`.
pub(super) fn apply(pid: i32, process: &Process) -> Result<(), ExecError> {
    let target = Pid::from_raw(pid).ok_or_else(|| ExecError::other("no process ID"))?;
    for limit in process.rlimits().iter().flatten() {
        let (resource, number) = resource(limit.typ());
        let value = |value: u64| (value != u64::MAX).then_some(value);
        let new = Rlimit {
            current: value(limit.soft()),
            maximum: value(limit.hard()),
        };
        prlimit(Some(target), resource, new).context(|| {
            format!("error setting rlimits for ready process: error setting rlimit type {number}")
        })?;
    }
    if let Some(score) = process.oom_score_adj() {
        let file = format!("/proc/{pid}/oom_score_adj");
        fs::write(&file, score.to_string())
            .context(|| format!("failed to write {score} to {file}"))?;
    }
    Ok(())
}

/// The resource and its number on this architecture (asm-generic/resource.h).
fn resource(kind: PosixRlimitType) -> (Resource, u8) {
    match kind {
        PosixRlimitType::RlimitCpu => (Resource::Cpu, 0),
        PosixRlimitType::RlimitFsize => (Resource::Fsize, 1),
        PosixRlimitType::RlimitData => (Resource::Data, 2),
        PosixRlimitType::RlimitStack => (Resource::Stack, 3),
        PosixRlimitType::RlimitCore => (Resource::Core, 4),
        PosixRlimitType::RlimitRss => (Resource::Rss, 5),
        PosixRlimitType::RlimitNproc => (Resource::Nproc, 6),
        PosixRlimitType::RlimitNofile => (Resource::Nofile, 7),
        PosixRlimitType::RlimitMemlock => (Resource::Memlock, 8),
        PosixRlimitType::RlimitAs => (Resource::As, 9),
        PosixRlimitType::RlimitLocks => (Resource::Locks, 10),
        PosixRlimitType::RlimitSigpending => (Resource::Sigpending, 11),
        PosixRlimitType::RlimitMsgqueue => (Resource::Msgqueue, 12),
        PosixRlimitType::RlimitNice => (Resource::Nice, 13),
        PosixRlimitType::RlimitRtprio => (Resource::Rtprio, 14),
        PosixRlimitType::RlimitRttime => (Resource::Rttime, 15),
    }
}
