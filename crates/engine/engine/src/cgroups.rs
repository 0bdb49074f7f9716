//! What the host's cgroups can limit.

use std::path::Path;

/// What can be limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) memory: bool,
    pub(crate) swap: bool,
    pub(crate) kernel_memory_tcp: bool,
    pub(crate) oom_kill_disable: bool,
    pub(crate) cpu_period: bool,
    pub(crate) cpu_quota: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpuset: bool,
    pub(crate) pids: bool,
}

/// Looks at the hierarchies below `root`, which is `/sys/fs/cgroup`.
pub(crate) fn look(root: &Path, unified: bool) -> Abilities {
    if unified {
        unified_abilities(root)
    } else {
        abilities(root)
    }
}

/// Version 1: each controller has a hierarchy, each limit a file in it.
fn abilities(root: &Path) -> Abilities {
    let has = |path: &str| root.join(path).exists();
    Abilities {
        memory: has("memory/memory.limit_in_bytes"),
        swap: has("memory/memory.memsw.limit_in_bytes"),
        kernel_memory_tcp: has("memory/memory.kmem.tcp.limit_in_bytes"),
        oom_kill_disable: has("memory/memory.oom_control"),
        cpu_period: has("cpu/cpu.cfs_period_us"),
        cpu_quota: has("cpu/cpu.cfs_quota_us"),
        cpu_shares: has("cpu/cpu.shares"),
        cpuset: has("cpuset/cpuset.cpus"),
        pids: has("pids"),
    }
}

/// Version 2: the controllers are listed; swap has a file in any cgroup but the root.
fn unified_abilities(root: &Path) -> Abilities {
    let list = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| list.split_whitespace().any(|other| other == name);
    let swap = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.path().join("memory.swap.max").exists());
    Abilities {
        memory: has("memory"),
        swap: has("memory") && swap,
        kernel_memory_tcp: false,
        oom_kill_disable: false,
        cpu_period: has("cpu"),
        cpu_quota: has("cpu"),
        cpu_shares: has("cpu"),
        cpuset: has("cpuset"),
        pids: has("pids"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_lists_its_controllers() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(
            root.path().join("cgroup.controllers"),
            "cpuset cpu memory\n",
        )
        .unwrap();
        std::fs::create_dir(root.path().join("init.scope")).unwrap();
        std::fs::write(root.path().join("init.scope/memory.swap.max"), "max\n").unwrap();
        let found = look(root.path(), true);
        assert!(found.memory && found.swap && found.cpu_quota && found.cpuset && !found.pids);
    }

    #[test]
    fn version_1_has_a_file_for_each_limit() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("memory")).unwrap();
        std::fs::write(root.path().join("memory/memory.limit_in_bytes"), "0\n").unwrap();
        let found = look(root.path(), false);
        assert_eq!(
            found,
            Abilities {
                memory: true,
                ..Abilities::default()
            }
        );
    }
}
