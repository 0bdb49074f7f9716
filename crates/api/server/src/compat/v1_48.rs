//! The last version that says which commits of its parts it expects.

use arca_wire::system::Info;

pub(super) fn info(info: &mut Info) {
    info.firewall_backend = None;
    for commit in [
        &mut info.containerd_commit,
        &mut info.runc_commit,
        &mut info.init_commit,
    ] {
        commit.expected.clone_from(&commit.id);
    }
    if let Some(registry) = &mut info.registry_config {
        registry.allow_nondistributable_artifacts_cidrs = Some(None);
        registry.allow_nondistributable_artifacts_hostnames = Some(None);
    }
}
