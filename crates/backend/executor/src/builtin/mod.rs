//! The runtime that is built in.
//!
//! [`run`] and [`exec`] are the helper's side: they prepare, make the process, put it into its
//! cgroups, let it go and wait until it executes the container's program or says why not. The new
//! process's side is in [`init`] and [`join`], the end of both in [`finish`].

mod cgroup_mount;
mod channel;
mod check;
mod console;
mod devices;
mod finish;
mod foreign;
mod hooks;
mod init;
mod join;
mod limits;
mod lookup;
mod masks;
mod mounts;
mod namespaces;
mod options;
mod overlay;
mod prepared;
mod rootfs;
mod start;
mod state;
mod tree;
mod user;
mod users;

pub(crate) use foreign::Foreign;
pub(crate) use overlay::detached as detached_root;
pub(crate) use prepared::{Prepared, as_bind};
pub(crate) use rootfs::attach as attach_root;
pub(crate) use start::{exec, run};
pub(crate) use state::{Place, State, start_time};
pub(crate) use users::Maps;
pub use users::{keep_network_namespace, keep_user_namespace};

use crate::error::ExecError;
use hooks::HookState;

/// Runs the hooks for after the container's end.
pub(crate) fn run_poststop(state: &State) -> Result<(), ExecError> {
    let told = HookState {
        oci_version: oci_spec::runtime::VERSION,
        id: &state.id,
        status: "stopped",
        pid: None,
        bundle: &state.bundle,
        annotations: &state.annotations,
    };
    let hooks = state
        .hooks
        .as_ref()
        .and_then(|hooks| hooks.poststop().as_deref());
    hooks::run("poststop", hooks, &told)
}
