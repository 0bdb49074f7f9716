//! What a container uses (`ContainerStats`), read from its cgroups and from procfs.

use std::collections::BTreeMap;
use std::path::Path;

use arca_shim_proto::CgroupPaths;
use arca_types::{Clock, ContainerId, SystemClock, Timestamp};

use crate::error::Error;
use crate::runtime::{Runtime, blocking};

mod file;
mod host;
mod v1;
mod v2;

/// What a container uses at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The moment.
    pub read: Timestamp,
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Network interfaces of its namespace but the loopback.
    pub interfaces: Vec<Interface>,
}

/// Processor time in nanoseconds since the container was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In all.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub kernel: u64,
    /// By processor; cgroup version 1 only.
    pub per_cpu: Vec<u64>,
    /// What the quota held back.
    pub throttling: Throttling,
    /// The host's since it was booted, idle time included.
    pub system: u64,
    /// The host's processors that are on.
    pub online: u32,
}

/// What a processor quota held back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods that have passed.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// How long the processes were held back, in nanoseconds.
    pub throttled_time: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use now, page cache included.
    pub usage: u64,
    /// The most that was in use; cgroup version 1 only.
    pub max_usage: Option<u64>,
    /// How often the limit was met.
    pub fail_count: u64,
    /// The limit, the host's memory when there is none.
    pub limit: u64,
    /// `memory.stat`, as far as dockerd shows it.
    pub stats: BTreeMap<&'static str, u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// How many there may be.
    pub limit: Option<u64>,
}

/// Use of block devices; cgroup version 2 knows bytes only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are those of the kernel's files (blkio-controller.txt)"
)]
pub struct Blkio {
    pub io_service_bytes: Vec<BlkioEntry>,
    pub io_serviced: Vec<BlkioEntry>,
    pub io_queued: Vec<BlkioEntry>,
    pub io_service_time: Vec<BlkioEntry>,
    pub io_wait_time: Vec<BlkioEntry>,
    pub io_merged: Vec<BlkioEntry>,
    pub io_time: Vec<BlkioEntry>,
    pub sectors: Vec<BlkioEntry>,
}

/// One counter of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkioEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// What was done: `Read`, `Write`, `Sync`, .. in version 1, `read` and `write` in version 2.
    pub op: String,
    /// How much or how often.
    pub value: u64,
}

/// Counters of a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of /proc/net/dev")]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Runtime {
    /// Reads what a container uses now.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::File`] when a counter cannot be read. Counters that the kernel
    /// does not have are zero.
    pub async fn stats(&self, id: &ContainerId) -> Result<Stats, Error> {
        let (pid, cgroups) = self.cgroups(id).await?;
        blocking(move || {
            read(pid, &cgroups).map_err(Error::file("read the counters of", "cgroups"))
        })
        .await
    }
}

fn read(pid: i32, cgroups: &CgroupPaths) -> std::io::Result<Stats> {
    // Version 2 alone has its controllers under the empty name; beside version 1 it has none.
    let unified = cgroups
        .get("")
        .filter(|path| path.join("memory.current").exists());
    let (mut cpu, mut memory, pids, blkio) = match unified {
        Some(path) => v2::read(path)?,
        None => v1::read(cgroups)?,
    };
    (cpu.system, cpu.online) = host::cpu()?;
    let total = host::memory()?;
    if memory.limit == 0 || memory.limit > total {
        memory.limit = total;
    }
    Ok(Stats {
        read: SystemClock.now(),
        cpu,
        memory,
        pids,
        blkio,
        interfaces: host::interfaces(Path::new(&format!("/proc/{pid}/net/dev")))?,
    })
}

type Counters = (Cpu, Memory, Pids, Blkio);
