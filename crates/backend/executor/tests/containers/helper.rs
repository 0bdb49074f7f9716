//! This program as the shim's helper: its standard streams are the container's.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use arca_executor::{Container, ExecError, ExecRequest, RunRequest, Started, Streams, exec, run};
use arca_shim_proto::{CgroupSpec, Rootfs, RuntimeKind};
use oci_spec::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};

/// What the helper is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) state_root: std::path::PathBuf,
    pub(crate) id: String,
    pub(crate) runtime: RuntimeKind,
    pub(crate) what: What,
    /// Standard input is the socket for the terminal.
    pub(crate) console: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    Run {
        bundle: std::path::PathBuf,
        spec: Box<Spec>,
        rootfs: Rootfs,
        cgroup: CgroupSpec,
    },
    Exec {
        process: Box<Process>,
    },
}

pub(crate) fn main(dir: &Path) -> ExitCode {
    let order: Order = serde_json::from_slice(&fs::read(dir.join("order")).unwrap()).unwrap();
    let result = obey(order).map(|started| started.pid);
    fs::write(dir.join("result"), serde_json::to_vec(&result).unwrap()).unwrap();
    ExitCode::SUCCESS
}

fn obey(order: Order) -> Result<Started, ExecError> {
    let own = |fd: std::os::fd::BorrowedFd<'_>| -> OwnedFd { fd.try_clone_to_owned().unwrap() };
    let streams = if order.console {
        Streams::Console(own(std::io::stdin().as_fd()))
    } else {
        Streams::Pipes([
            own(std::io::stdin().as_fd()),
            own(std::io::stdout().as_fd()),
            own(std::io::stderr().as_fd()),
        ])
    };
    let container = Container {
        state_root: order.state_root,
        id: order.id,
        runtime: order.runtime,
    };
    match order.what {
        What::Run {
            bundle,
            spec,
            rootfs,
            cgroup,
        } => run(&RunRequest {
            container,
            bundle,
            spec: *spec,
            rootfs,
            cgroup,
            streams,
        }),
        What::Exec { process } => exec(&ExecRequest {
            container,
            process: *process,
            streams,
        }),
    }
}
