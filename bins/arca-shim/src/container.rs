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
