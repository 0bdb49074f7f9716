//! The helper: this program in a process of its own, which makes a container or enters one. It may
//! change whatever it likes about itself; the process it starts becomes the shim's child when it ends.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use arca_executor::{Container, ExecError, ExecRequest, RunRequest, Streams};
use arca_shim_proto::{Channel, ConsoleSize, Frame, FrameKind, RunSpec, RuntimeKind};
use oci_spec::runtime::{BoxBuilder, Process, Spec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::container;

/// The argument that makes this program a helper.
pub(crate) const ROLE: &str = "helper";

/// What a helper is to do. Three descriptors come with it, or one socket that takes a terminal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Make the container and start it.
    Run {
        id: String,
        directory: PathBuf,
        spec: Box<RunSpec>,
    },
    /// Start a further process in it.
    Exec {
        id: String,
        directory: PathBuf,
        runtime: RuntimeKind,
        process: Box<RawValue>,
        tty: bool,
        console: Option<ConsoleSize>,
    },
}

/// What became of it: the process, or why there is none.
pub(crate) type Outcome = Result<i32, ExecError>;

/// Starts a helper, from the sealed copy of this program.
pub(crate) fn start(
    program: &OwnedFd,
    job: &Job,
    streams: Vec<OwnedFd>,
) -> anyhow::Result<Channel> {
    let (ours, theirs) = UnixStream::pair()?;
    Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg(ROLE)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .context("start a helper")?;
    let mut channel = Channel::new(ours.into())?;
    let frame = Frame::encode(FrameKind::Request, 1, job)?;
    channel.push(&frame, streams)?;
    channel.flush()?;
    Ok(channel)
}

/// The helper's side: takes its job from standard input, does it, and answers.
pub(crate) fn main() -> anyhow::Result<()> {
    // The container's processes inherit what is ignored; Rust ignores SIGPIPE.
    arca_sys::startup::reset_signals();
    let socket = rustix::stdio::stdin().try_clone_to_owned()?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    let mut channel = Channel::new(socket)?;
    let (frame, descriptors) = wait_for_frame(&mut channel)?;
    // The socket must not stay open in the container.
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR,
        rustix::fs::Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&null)?;
    let outcome: Outcome = perform(frame.decode()?, descriptors)?;
    channel.push(
        &Frame::encode(FrameKind::Response, frame.number, &outcome)?,
        Vec::new(),
    )?;
    while channel.wants_write() {
        wait(&channel, PollFlags::OUT)?;
        channel.flush()?;
    }
    Ok(())
}

fn perform(job: Job, descriptors: Vec<OwnedFd>) -> anyhow::Result<Outcome> {
    match job {
        Job::Run {
            id,
            directory,
            spec,
        } => {
            let mut oci: Spec = serde_json::from_str(spec.oci.get())
                .context("understand the container's configuration")?;
            if let Some(process) = oci.process_mut() {
                set_terminal(process, spec.stdio.tty, spec.stdio.console);
            }
            let request = RunRequest {
                container: container::of(&id, &directory, spec.runtime),
                bundle: directory,
                spec: oci,
                rootfs: spec.rootfs,
                cgroup: spec.cgroup,
                streams: streams(descriptors)?,
            };
            Ok(arca_executor::run(&request).map(|started| started.pid))
        }
        Job::Exec {
            id,
            directory,
            runtime,
            process,
            tty,
            console,
        } => {
            let mut process: Process =
                serde_json::from_str(process.get()).context("understand the process")?;
            set_terminal(&mut process, tty, console);
            let container: Container = container::of(&id, &directory, runtime);
            let request = ExecRequest {
                container,
                process,
                streams: streams(descriptors)?,
            };
            Ok(arca_executor::exec(&request).map(|started| started.pid))
        }
    }
}

fn set_terminal(process: &mut Process, tty: bool, console: Option<ConsoleSize>) {
    process.set_terminal(Some(tty));
    if let Some(size) = console.filter(|_| tty) {
        let (height, width) = (u64::from(size.height), u64::from(size.width));
        let size = BoxBuilder::default().height(height).width(width).build();
        process.set_console_size(size.ok());
    }
}

fn streams(descriptors: Vec<OwnedFd>) -> anyhow::Result<Streams> {
    match <[OwnedFd; 3]>::try_from(descriptors) {
        Ok(pipes) => Ok(Streams::Pipes(pipes)),
        Err(mut other) => match (other.pop(), other.is_empty()) {
            (Some(socket), true) => Ok(Streams::Console(socket)),
            _ => bail!("a job came with the wrong number of descriptors"),
        },
    }
}

fn wait_for_frame(channel: &mut Channel) -> anyhow::Result<(Frame, Vec<OwnedFd>)> {
    loop {
        channel.fill()?;
        if let Some(frame) = channel.next_frame()? {
            return Ok(frame);
        }
        if channel.is_closed() {
            bail!("the shim is gone");
        }
        wait(channel, PollFlags::IN)?;
    }
}

fn wait(fd: &impl AsFd, flags: PollFlags) -> std::io::Result<()> {
    match poll(&mut [PollFd::new(fd, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
