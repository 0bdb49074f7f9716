//! Sending the log to somebody else, in a process of its own: it may wait, and outlives the shim until
//! everything is delivered.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use arca_shim_proto::LogSpec;

/// The argument that makes the program deliver.
pub(crate) const ROLE: &str = "deliver";

/// How long the end of a container waits for the process to get hold of the log, when the machine is
/// very busy: after it the log may be removed.
const HELD: Duration = Duration::from_secs(2);

/// The process that delivers, as the shim sees it.
pub(crate) struct Delivery {
    pub(crate) pid: i32,
    /// Closing it says that nothing more is written.
    socket: UnixStream,
}

impl Delivery {
    /// Starts to deliver a log.
    pub(crate) fn start(log: &LogSpec, directory: &Path) -> anyhow::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair().context("socket pair")?;
        let child = Command::new("/proc/self/exe")
            .arg0("arca-shim")
            .arg(ROLE)
            .arg(directory)
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .context("start to deliver the log")?;
        let mut line = serde_json::to_vec(log).context("describe the log")?;
        line.push(b'\n');
        ours.write_all(&line).context("describe the log")?;
        Ok(Self {
            pid: i32::try_from(child.id()).context("number of a process")?,
            socket: ours,
        })
    }

    /// Nothing more is written. Returns when the process has hold of what there is.
    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        self.socket.set_read_timeout(Some(HELD))?;
        match self.socket.read(&mut [0])? {
            0 => Err(std::io::Error::other("it has ended")),
            _ => Ok(()),
        }
    }
}

/// Delivers, as a process of its own.
pub(crate) fn main() -> anyhow::Result<()> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let mut input = BufReader::new(UnixStream::from(socket));
    let mut line = Vec::new();
    input
        .read_until(b'\n', &mut line)
        .context("what to deliver")?;
    let spec: LogSpec = serde_json::from_slice(&line).context("what to deliver")?;
    let socket = OwnedFd::from(input.into_inner());
    let delivery = arca_logging::Delivery::open(spec, socket).context("deliver the log")?;
    let Some(delivery) = delivery else {
        return Ok(());
    };
    let mut complain = |error: &std::io::Error| {
        eprintln!(
            "the log is not delivered for now: {}",
            arca_types::chain(error)
        );
    };
    delivery.run(&mut complain).context("deliver the log")
}
