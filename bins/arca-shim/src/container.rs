//! The container as the executor and the kernel know it.

use std::path::Path;

use arca_executor::{Container, ExecError};
use arca_shim_proto::{CgroupPaths, RuntimeKind};

/// The container in the executor's terms. What the executor remembers of it is in the shim's directory.
pub(crate) fn of(id: &str, directory: &Path, runtime: RuntimeKind) -> Container {
    Container {
        state_root: directory.join("runtime"),
        id: id.to_owned(),
        runtime,
    }
}

/// The container's cgroups, as arcad is told of them.
pub(crate) fn cgroups(container: &Container) -> Result<CgroupPaths, ExecError> {
    let paths = arca_executor::cgroups(container)?;
    let unified = paths.unified.map(|path| (String::new(), path));
    Ok(paths.v1.into_iter().chain(unified).collect())
}

/// When a process started, in ticks since boot (field 22 of proc_pid_stat(5)); 0 when it is gone.
pub(crate) fn start_time(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(") ").map(|(_, fields)| fields);
    fields
        .and_then(|fields| fields.split(' ').nth(19)?.parse().ok())
        .unwrap_or(0)
}
