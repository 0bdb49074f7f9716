//! The last version whose containers share their IPC namespace unless told otherwise.

use arca_wire::container::HostConfig;

pub(super) fn create(host: &mut HostConfig) {
    for mount in &mut host.mounts {
        if let Some(options) = &mut mount.bind_options {
            options.non_recursive = false;
        }
    }
    host.kernel_memory_tcp = 0;
    if host.ipc_mode.is_empty() {
        "shareable".clone_into(&mut host.ipc_mode);
    }
}

pub(super) fn update(resources: &mut HostConfig) {
    resources.pids_limit = None;
}
