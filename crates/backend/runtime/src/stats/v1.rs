//! Counters of cgroup version 1.

use std::io;
use std::path::Path;

use arca_shim_proto::CgroupPaths;

use super::file::{device, number, pairs, text, value};
use super::{Blkio, BlkioEntry, Counters, Cpu, Memory, Pids, Throttling};

/// Procfs and cgroupfs count in hundredths of a second (USER_HZ).
const TICK: u64 = 10_000_000;

/// What of `memory.stat` clients get to see, here without the prefix `total_` that each but the
/// limits has a second time.
const MEMORY: [(&str, &str); 16] = [
    ("active_anon", "total_active_anon"),
    ("active_file", "total_active_file"),
    ("cache", "total_cache"),
    ("dirty", "total_dirty"),
    ("hierarchical_memory_limit", "hierarchical_memsw_limit"),
    ("inactive_anon", "total_inactive_anon"),
    ("inactive_file", "total_inactive_file"),
    ("mapped_file", "total_mapped_file"),
    ("pgfault", "total_pgfault"),
    ("pgmajfault", "total_pgmajfault"),
    ("pgpgin", "total_pgpgin"),
    ("pgpgout", "total_pgpgout"),
    ("rss", "total_rss"),
    ("rss_huge", "total_rss_huge"),
    ("unevictable", "total_unevictable"),
    ("writeback", "total_writeback"),
];

pub(super) fn read(cgroups: &CgroupPaths) -> io::Result<Counters> {
    // A directory that does not exist gives empty files, and those give zeros.
    let none = Path::new("/nonexistent");
    let of = |controller: &str| cgroups.get(controller).map_or(none, |path| path.as_path());
    Ok((
        cpu(of("cpuacct"), of("cpu"))?,
        memory(of("memory"))?,
        Pids {
            current: number(of("pids"), "pids.current")?.unwrap_or(0),
            limit: number(of("pids"), "pids.max")?,
        },
        blkio(of("blkio"))?,
    ))
}

fn cpu(account: &Path, cpu: &Path) -> io::Result<Cpu> {
    let modes = text(account, "cpuacct.stat")?;
    let each = text(account, "cpuacct.usage_percpu")?;
    let quota = text(cpu, "cpu.stat")?;
    Ok(Cpu {
        total: number(account, "cpuacct.usage")?.unwrap_or(0),
        user: value(&modes, "user").saturating_mul(TICK),
        kernel: value(&modes, "system").saturating_mul(TICK),
        per_cpu: each
            .split_ascii_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect(),
        throttling: Throttling {
            periods: value(&quota, "nr_periods"),
            throttled_periods: value(&quota, "nr_throttled"),
            throttled_time: value(&quota, "throttled_time"),
        },
        ..Cpu::default()
    })
}

fn memory(directory: &Path) -> io::Result<Memory> {
    let all = text(directory, "memory.stat")?;
    let mut memory = Memory {
        usage: number(directory, "memory.usage_in_bytes")?.unwrap_or(0),
        max_usage: number(directory, "memory.max_usage_in_bytes")?,
        fail_count: number(directory, "memory.failcnt")?.unwrap_or(0),
        limit: number(directory, "memory.limit_in_bytes")?.unwrap_or(0),
        ..Memory::default()
    };
    for (name, value) in pairs(&all) {
        let known = MEMORY
            .iter()
            .find_map(|(own, total)| [*own, *total].into_iter().find(|known| *known == name));
        memory.stats.extend(known.map(|known| (known, value)));
    }
    Ok(memory)
}

fn blkio(directory: &Path) -> io::Result<Blkio> {
    let read = |name: &str| text(directory, name).map(|text| entries(&text));
    // The scheduler CFQ is the only one that counts everything.
    if !directory.join("blkio.io_serviced_recursive").exists() {
        return Ok(Blkio {
            io_service_bytes: read("blkio.throttle.io_service_bytes")?,
            io_serviced: read("blkio.throttle.io_serviced")?,
            ..Blkio::default()
        });
    }
    Ok(Blkio {
        io_service_bytes: read("blkio.io_service_bytes_recursive")?,
        io_serviced: read("blkio.io_serviced_recursive")?,
        io_queued: read("blkio.io_queued_recursive")?,
        io_service_time: read("blkio.io_service_time_recursive")?,
        io_wait_time: read("blkio.io_wait_time_recursive")?,
        io_merged: read("blkio.io_merged_recursive")?,
        io_time: read("blkio.time_recursive")?,
        sectors: read("blkio.sectors_recursive")?,
    })
}

/// Lines `major:minor [op] value`; the line `Total` is about no device.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (major, minor) = device(fields.next()?)?;
        let (op, value) = match (fields.next()?, fields.next()) {
            (op, Some(value)) => (op, value),
            (value, None) => ("", value),
        };
        Some(BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_controller() {
        let root = tempfile::tempdir().unwrap();
        let mut cgroups = CgroupPaths::new();
        for (controller, name, text) in [
            ("cpuacct", "cpuacct.usage", "34905847\n"),
            ("cpuacct", "cpuacct.usage_percpu", "31853597 3052250 \n"),
            ("cpuacct", "cpuacct.stat", "user 1\nsystem 2\n"),
            (
                "cpu",
                "cpu.stat",
                "nr_periods 3\nnr_throttled 1\nthrottled_time 7\n",
            ),
            ("memory", "memory.usage_in_bytes", "6086656\n"),
            ("memory", "memory.limit_in_bytes", "67108864\n"),
            (
                "memory",
                "memory.stat",
                "cache 5\nshmem 9\ntotal_cache 6\nhierarchical_memsw_limit 8\n",
            ),
            ("pids", "pids.current", "4\n"),
            ("pids", "pids.max", "max\n"),
            (
                "blkio",
                "blkio.throttle.io_serviced",
                "254:0 Read 12\n254:0 Total 12\nTotal 12\n",
            ),
        ] {
            let directory = root.path().join(controller);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(name), text).unwrap();
            cgroups.insert(controller.to_owned(), directory);
        }
        let (cpu, memory, pids, blkio) = read(&cgroups).unwrap();
        assert_eq!(
            (cpu.total, cpu.user, cpu.kernel),
            (34_905_847, 10_000_000, 20_000_000)
        );
        assert_eq!(cpu.per_cpu, [31_853_597, 3_052_250]);
        assert_eq!(cpu.throttling.throttled_time, 7);
        assert_eq!((memory.usage, memory.limit), (6_086_656, 67_108_864));
        let stats: Vec<_> = memory.stats.into_iter().collect();
        assert_eq!(
            stats,
            [
                ("cache", 5),
                ("hierarchical_memsw_limit", 8),
                ("total_cache", 6)
            ]
        );
        assert_eq!((pids.current, pids.limit), (4, None));
        assert_eq!(blkio.io_serviced.len(), 2);
        assert_eq!(
            (blkio.io_serviced[0].major, blkio.io_serviced[0].value),
            (254, 12)
        );
    }
}
