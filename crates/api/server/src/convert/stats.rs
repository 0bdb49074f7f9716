//! `GET /containers/{id}/stats`.

use arca_containers::Sample;
use arca_runtime as runtime;
use arca_types::Timestamp;
use arca_wire::container::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};

/// A sample as it is shown; everything is at zero when the container does not run.
pub(crate) fn stats(sample: &Sample) -> Stats {
    let id = sample.id.to_string();
    let name = format!("/{}", sample.name);
    let previous = sample.previous.as_deref();
    let preread = previous
        .map_or(Timestamp::ZERO, |previous| previous.read)
        .to_string();
    let read = sample.read.to_string();
    let precpu_stats = previous
        .map(|previous| cpu(&previous.cpu))
        .unwrap_or_default();
    let Some(current) = sample.current.as_deref() else {
        return Stats {
            name,
            id,
            read,
            preread,
            precpu_stats,
            ..Stats::default()
        };
    };
    Stats {
        name,
        id,
        read,
        preread,
        pids_stats: PidsStats {
            current: current.pids.current,
            limit: current.pids.limit.unwrap_or_default(),
        },
        blkio_stats: blkio(&current.blkio),
        num_procs: 0,
        storage_stats: arca_wire::Empty {},
        cpu_stats: cpu(&current.cpu),
        precpu_stats,
        memory_stats: MemoryStats {
            usage: current.memory.usage,
            max_usage: current.memory.max_usage.unwrap_or_default(),
            stats: current
                .memory
                .stats
                .iter()
                .map(|(k, v)| ((*k).to_owned(), *v))
                .collect(),
            failcnt: current.memory.fail_count,
            limit: current.memory.limit,
        },
        networks: current
            .interfaces
            .iter()
            .map(|i| (i.name.clone(), interface(i)))
            .collect(),
    }
}

fn cpu(cpu: &runtime::Cpu) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu.clone(),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: cpu.system,
        online_cpus: cpu.online,
        throttling_data: ThrottlingData {
            periods: cpu.throttling.periods,
            throttled_periods: cpu.throttling.throttled_periods,
            throttled_time: cpu.throttling.throttled_time,
        },
    }
}

fn blkio(blkio: &runtime::Blkio) -> BlkioStats {
    let entries = |entries: &[runtime::BlkioEntry]| {
        let entry = |e: &runtime::BlkioEntry| BlkioEntry {
            major: e.major,
            minor: e.minor,
            op: e.op.clone(),
            value: e.value,
        };
        Some(entries.iter().map(entry).collect())
    };
    BlkioStats {
        io_service_bytes_recursive: entries(&blkio.io_service_bytes),
        io_serviced_recursive: entries(&blkio.io_serviced),
        io_queue_recursive: entries(&blkio.io_queued),
        io_service_time_recursive: entries(&blkio.io_service_time),
        io_wait_time_recursive: entries(&blkio.io_wait_time),
        io_merged_recursive: entries(&blkio.io_merged),
        io_time_recursive: entries(&blkio.io_time),
        sectors_recursive: entries(&blkio.sectors),
    }
}

fn interface(interface: &runtime::Interface) -> NetworkStats {
    NetworkStats {
        rx_bytes: interface.rx_bytes,
        rx_packets: interface.rx_packets,
        rx_errors: interface.rx_errors,
        rx_dropped: interface.rx_dropped,
        tx_bytes: interface.tx_bytes,
        tx_packets: interface.tx_packets,
        tx_errors: interface.tx_errors,
        tx_dropped: interface.tx_dropped,
    }
}
