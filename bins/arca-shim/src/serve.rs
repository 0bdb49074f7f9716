//! Setting up the shim, and its loop.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::Context;
use arca_shim_proto::{Channel, SOCKET_FILE, STATE_FILE, StateRecord, start_time};
use arca_types::ContainerId;

use crate::directory::Directory;
use crate::poller::{Poller, READ, Token};
use crate::shim::Shim;

/// How long nothing has to happen before memory is given back.
const IDLE: Duration = Duration::from_secs(1);

/// Serves the container `id` until it has ended and everybody has been told.
pub(crate) fn serve(directory: &str, id: &str) -> anyhow::Result<()> {
    // One thread needs one arena; large buffers go back to the system when they are freed.
    arca_sys::memory::limit_allocator(1, 64 << 10, 64 << 10);
    let id: ContainerId = id.parse().context("the container's ID")?;
    let directory = Directory::new(directory);
    let children = set_up_process()?;
    let listener = listen()?;
    let first = first_connection()?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let record = StateRecord {
        id: id.clone(),
        shim_pid: pid,
        shim_started: start_time(pid).unwrap_or_default(),
        init: None,
        init_started: 0,
        cgroups: Default::default(),
        runtime: Default::default(),
    };
    directory
        .write(STATE_FILE, &record)
        .context("write the shim's state")?;
    let poller = Poller::new().context("epoll")?;
    poller.add(&children, Token::Children, READ)?;
    poller.add(&listener, Token::Listener, READ)?;
    let program = arca_executor::sealed_self().context("the shim's own program")?;
    let mut shim = Shim::new(record, directory, (program, poller), (listener, children));
    shim.accept(first)?;
    run(&mut shim)
}

/// Leaves the session and the terminal of arcad, adopts what the helpers leave, and is told of its
/// children's end by a socket.
fn set_up_process() -> anyhow::Result<UnixStream> {
    // Fails when this is the leader of a process group already, which is as good.
    drop(rustix::process::setsid().map_err(std::io::Error::from));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("subreaper")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let (ours, theirs) = UnixStream::pair().context("socket pair")?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let children = rustix::process::Signal::CHILD.as_raw();
    signal_hook::low_level::pipe::register(children, theirs).context("SIGCHLD")?;
    // Nobody but the container decides about its end. When the host goes down its processes are told
    // to end like all others, and the shim follows.
    use rustix::process::Signal;
    for ignored in [Signal::HUP, Signal::INT, Signal::TERM] {
        // A handler that does nothing: children start with the default again.
        let flag = std::sync::Arc::default();
        signal_hook::flag::register(ignored.as_raw(), flag).context("signals")?;
    }
    Ok(ours)
}

/// Listens in the working directory, which is the shim's own: its path may be too long for a socket.
fn listen() -> anyhow::Result<UnixListener> {
    let listener = UnixListener::bind(SOCKET_FILE).context("listen")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the connection from standard input, and leaves `/dev/null` there.
fn first_connection() -> anyhow::Result<Channel> {
    let socket: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Channel::new(socket).context("the first connection")
}

fn run(shim: &mut Shim) -> anyhow::Result<()> {
    let mut ready = Vec::new();
    while !shim.is_done() {
        let timeout = shim.timeout();
        let timeout = if shim.is_warm() {
            Some(timeout.map_or(IDLE, |timeout| timeout.min(IDLE)))
        } else {
            timeout
        };
        shim.wait(timeout, &mut ready)?;
        if ready.is_empty() {
            shim.cool_down();
        }
        for event in &ready {
            shim.dispatch(*event);
        }
        shim.look_at_timers();
    }
    Ok(())
}
