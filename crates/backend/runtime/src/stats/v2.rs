//! Counters of cgroup version 2.

use std::io;
use std::path::Path;

use super::file::{device, number, pairs, text, value};
use super::{Blkio, BlkioEntry, Counters, Cpu, Memory, Pids, Throttling};

/// What of `memory.stat` clients get to see.
const MEMORY: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

pub(super) fn read(directory: &Path) -> io::Result<Counters> {
    let cpu = text(directory, "cpu.stat")?;
    let microseconds = |name: &str| value(&cpu, name).saturating_mul(1000);
    let cpu = Cpu {
        total: microseconds("usage_usec"),
        user: microseconds("user_usec"),
        kernel: microseconds("system_usec"),
        throttling: Throttling {
            periods: value(&cpu, "nr_periods"),
            throttled_periods: value(&cpu, "nr_throttled"),
            throttled_time: microseconds("throttled_usec"),
        },
        ..Cpu::default()
    };
    let pids = Pids {
        current: number(directory, "pids.current")?.unwrap_or(0),
        limit: number(directory, "pids.max")?,
    };
    let blkio = Blkio {
        io_service_bytes: service_bytes(&text(directory, "io.stat")?),
        ..Blkio::default()
    };
    Ok((cpu, memory(directory)?, pids, blkio))
}

fn memory(directory: &Path) -> io::Result<Memory> {
    let all = text(directory, "memory.stat")?;
    let events = text(directory, "memory.events")?;
    let mut memory = Memory {
        usage: number(directory, "memory.current")?.unwrap_or(0),
        fail_count: value(&events, "oom"),
        limit: number(directory, "memory.max")?.unwrap_or(0),
        ..Memory::default()
    };
    for (name, value) in pairs(&all) {
        let known = MEMORY.iter().find(|known| **known == name);
        memory.stats.extend(known.map(|known| (*known, value)));
    }
    Ok(memory)
}

/// Lines `major:minor rbytes=n wbytes=n ..`.
fn service_bytes(text: &str) -> Vec<BlkioEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some((major, minor)) = fields.next().and_then(device) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let op = match key {
                "rbytes" => "read",
                "wbytes" => "write",
                _ => continue,
            };
            entries.push(BlkioEntry {
                major,
                minor,
                op: op.to_owned(),
                value: value.parse().unwrap_or(0),
            });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_one_directory() {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "cpu.stat",
                "usage_usec 5\nuser_usec 2\nsystem_usec 3\nnr_periods 1\nthrottled_usec 4\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 7\nvmalloc 8\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\n"),
            ("pids.current", "3\n"),
            ("pids.max", "100\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1 wios=2\n"),
        ] {
            std::fs::write(root.path().join(name), text).unwrap();
        }
        let (cpu, memory, pids, blkio) = read(root.path()).unwrap();
        assert_eq!((cpu.total, cpu.throttling.throttled_time), (5000, 4000));
        assert_eq!(
            (memory.usage, memory.limit, memory.fail_count),
            (4096, 0, 2)
        );
        assert_eq!(memory.stats.into_iter().collect::<Vec<_>>(), [("anon", 7)]);
        assert_eq!((pids.current, pids.limit), (3, Some(100)));
        let written = &blkio.io_service_bytes[1];
        assert_eq!((written.op.as_str(), written.value), ("write", 20));
    }
}
