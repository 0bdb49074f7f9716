//! What the host's cgroups can limit.

use std::path::Path;

/// What can be limited on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the limits")]
pub struct Abilities {
    pub memory: bool,
    pub memory_reservation: bool,
    pub swap: bool,
    pub swappiness: bool,
    pub kernel_memory_tcp: bool,
    pub oom_kill_disable: bool,
    pub cpu_period: bool,
    pub cpu_quota: bool,
    pub cpu_realtime: bool,
    pub cpu_shares: bool,
    pub cpuset: bool,
    /// The CPUs that containers may use, `0-3`; empty when that is not known.
    pub cpus: String,
    /// The memory nodes that containers may use.
    pub mems: String,
    pub blkio_weight: bool,
    pub blkio_weight_device: bool,
    pub blkio_read_bps: bool,
    pub blkio_write_bps: bool,
    pub blkio_read_iops: bool,
    pub blkio_write_iops: bool,
    pub pids: bool,
}

impl Abilities {
    /// Looks at the hierarchies below `root`, which is `/sys/fs/cgroup`.
    #[must_use]
    pub fn look(root: &Path, unified: bool) -> Self {
        if unified {
            Self::of_unified(root)
        } else {
            Self::of_hierarchies(root)
        }
    }

    /// Version 1: each controller has a hierarchy, each limit a file in it.
    fn of_hierarchies(root: &Path) -> Self {
        let has = |path: &str| root.join(path).exists();
        Self {
            memory: has("memory/memory.limit_in_bytes"),
            memory_reservation: has("memory/memory.soft_limit_in_bytes"),
            swap: has("memory/memory.memsw.limit_in_bytes"),
            swappiness: has("memory/memory.swappiness"),
            kernel_memory_tcp: has("memory/memory.kmem.tcp.limit_in_bytes"),
            oom_kill_disable: has("memory/memory.oom_control"),
            cpu_period: has("cpu/cpu.cfs_period_us"),
            cpu_quota: has("cpu/cpu.cfs_quota_us"),
            cpu_realtime: has("cpu/cpu.rt_period_us"),
            cpu_shares: has("cpu/cpu.shares"),
            cpuset: has("cpuset/cpuset.cpus"),
            cpus: text(&root.join("cpuset/cpuset.cpus")),
            mems: text(&root.join("cpuset/cpuset.mems")),
            blkio_weight: has("blkio/blkio.weight") || has("blkio/blkio.bfq.weight"),
            blkio_weight_device: has("blkio/blkio.weight_device")
                || has("blkio/blkio.bfq.weight_device"),
            blkio_read_bps: has("blkio/blkio.throttle.read_bps_device"),
            blkio_write_bps: has("blkio/blkio.throttle.write_bps_device"),
            blkio_read_iops: has("blkio/blkio.throttle.read_iops_device"),
            blkio_write_iops: has("blkio/blkio.throttle.write_iops_device"),
            pids: has("pids"),
        }
    }

    /// Version 2: the controllers are listed; a limit has a file in any cgroup but the root.
    fn of_unified(root: &Path) -> Self {
        let list = text(&root.join("cgroup.controllers"));
        let has = |name: &str| list.split_whitespace().any(|other| other == name);
        let below = |file: &str| {
            let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path().join(file))
                .any(|path| path.exists())
        };
        let io = has("io");
        // Every scheduler has a name of its own for the weight, and there may be none.
        let weight = io && (below("io.weight") || below("io.bfq.weight"));
        // A device has a weight of its own by the scheduler BFQ, or where the cost model was set up for it.
        let cost = !text(&root.join("io.cost.qos")).is_empty();
        Self {
            memory: has("memory"),
            memory_reservation: has("memory"),
            swap: has("memory") && below("memory.swap.max"),
            cpu_period: has("cpu"),
            cpu_quota: has("cpu"),
            cpu_shares: has("cpu"),
            cpuset: has("cpuset"),
            cpus: text(&root.join("cpuset.cpus.effective")),
            mems: text(&root.join("cpuset.mems.effective")),
            blkio_weight: weight,
            blkio_weight_device: io && (cost || below("io.bfq.weight")),
            blkio_read_bps: io,
            blkio_write_bps: io,
            blkio_read_iops: io,
            blkio_write_iops: io,
            pids: has("pids"),
            ..Self::default()
        }
    }
}

fn text(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_lists_its_controllers() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| std::fs::write(root.path().join(path), text).unwrap();
        write("cgroup.controllers", "cpuset cpu io memory\n");
        write("cpuset.cpus.effective", "0-1\n");
        std::fs::create_dir(root.path().join("init.scope")).unwrap();
        write("init.scope/memory.swap.max", "max\n");
        let found = Abilities::look(root.path(), true);
        assert!(found.memory && found.swap && found.cpu_quota && found.cpuset && !found.pids);
        assert!(found.blkio_read_bps && !found.blkio_weight && !found.swappiness);
        assert_eq!(found.cpus, "0-1");
        write("init.scope/io.weight", "default 100\n");
        let found = Abilities::look(root.path(), true);
        assert!(found.blkio_weight && !found.blkio_weight_device);
        write("io.cost.qos", "8:0 enable=1 ctrl=auto\n");
        assert!(Abilities::look(root.path(), true).blkio_weight_device);
    }

    #[test]
    fn version_1_has_a_file_for_each_limit() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("memory")).unwrap();
        std::fs::write(root.path().join("memory/memory.limit_in_bytes"), "0\n").unwrap();
        let found = Abilities::look(root.path(), false);
        assert_eq!(
            found,
            Abilities {
                memory: true,
                ..Abilities::default()
            }
        );
    }
}
