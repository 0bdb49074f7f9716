//! A process of the container: its init process, or an exec.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use arca_shim_proto::{ConsoleSize, ExitStatus, Started};
use arca_types::ExecId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::input::Input;

/// The capacity of a pipe, in bytes: fewer switches between writer and shim.
const PIPE: usize = 256 << 10;

/// What may still be read past a client that does not keep up, once the process has ended: what can
/// have been in its pipe.
const LEFT_OVER: usize = 1 << 20;

/// A process with its standard streams.
#[derive(Debug)]
pub(crate) struct Process {
    /// Which exec; the init process without.
    pub(crate) exec: Option<ExecId>,
    pub(crate) tty: bool,
    /// The end of a client's input is the end of the process's.
    pub(crate) close_stdin: bool,
    pub(crate) started: Option<Started>,
    pub(crate) pidfd: Option<OwnedFd>,
    /// The root directory of the init process, kept until the shim ends. Unmounting an overlay syncs
    /// its file system, and without this the kernel does so before it tells of the process's end.
    pub(crate) root: Option<OwnedFd>,
    pub(crate) status: Option<ExitStatus>,
    /// Standard output or the terminal, and standard error.
    pub(crate) sources: [Source; 2],
    pub(crate) input: Input,
    /// Input is registered with the poller.
    pub(crate) input_registered: bool,
    /// The terminal, for its size.
    pub(crate) console: Option<OwnedFd>,
    /// A size that was set before the terminal came.
    early_size: Option<ConsoleSize>,
    /// Where the terminal comes from.
    console_socket: Option<OwnedFd>,
    /// When to stop waiting: for others that hold its output open, then for arcad to see its end.
    pub(crate) deadline: Option<Instant>,
    /// Its end was told.
    pub(crate) finished: bool,
}

/// Where output comes from.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) fd: Option<OwnedFd>,
    /// Registered with the poller.
    pub(crate) registered: bool,
    pub(crate) left_over: usize,
}

/// Which standard streams there are to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Process {
    /// Makes the standard streams of a process. Returns it with what the helper is to get.
    pub(crate) fn new(
        exec: Option<ExecId>,
        wanted: Wanted,
        close_stdin: bool,
    ) -> io::Result<(Self, Vec<OwnedFd>)> {
        let mut process = Self {
            exec,
            tty: wanted.tty,
            close_stdin,
            started: None,
            pidfd: None,
            root: None,
            status: None,
            sources: Default::default(),
            input: Input::default(),
            input_registered: false,
            console: None,
            early_size: None,
            console_socket: None,
            deadline: None,
            finished: false,
        };
        if wanted.tty {
            let flags = SocketFlags::CLOEXEC;
            let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            process.console_socket = Some(ours);
            return Ok((process, vec![theirs]));
        }
        let [stdout, stderr] = &mut process.sources;
        let (reader, input) = if wanted.stdin {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            enlarge(&writer);
            rustix::io::ioctl_fionbio(&writer, true)?;
            (reader, Some(writer))
        } else {
            (null()?, None)
        };
        let theirs = vec![
            reader,
            output(stdout, wanted.stdout)?,
            output(stderr, wanted.stderr)?,
        ];
        process.input = Input::new(input);
        Ok((process, theirs))
    }

    /// The process runs: gets hold of it, and of its terminal.
    pub(crate) fn start(&mut self, started: Started, stdin: bool) -> io::Result<()> {
        self.started = Some(started);
        if let Some(pid) = rustix::process::Pid::from_raw(started.pid) {
            // One that has ended already is found by reaping it.
            self.pidfd =
                rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
        }
        if self.exec.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let path = format!("/proc/{}/root", started.pid);
            self.root = rustix::fs::open(path, flags, Mode::empty()).ok();
        }
        let Some(socket) = self.console_socket.take() else {
            return Ok(());
        };
        let master = receive_descriptor(&socket)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let [stdout, _] = &mut self.sources;
        stdout.fd = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        stdout.left_over = LEFT_OVER;
        if stdin {
            self.input = Input::new(Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?));
        }
        self.console = Some(master);
        if let Some(size) = self.early_size.take() {
            self.resize(size)?;
        }
        Ok(())
    }

    /// Sends a signal; `false` when the process has ended.
    pub(crate) fn kill(&self, signal: u8) -> io::Result<bool> {
        let Some(pidfd) = self.pidfd.as_ref().filter(|_| self.status.is_none()) else {
            return Ok(false);
        };
        match arca_sys::process::send_signal(pidfd.as_fd(), signal.into()) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets the size of its terminal; `false` when it has none.
    pub(crate) fn resize(&mut self, size: ConsoleSize) -> io::Result<bool> {
        let Some(console) = &self.console else {
            self.early_size = Some(size);
            return Ok(self.tty);
        };
        let size = Winsize {
            ws_row: size.height,
            ws_col: size.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(console, size)?;
        Ok(true)
    }

    /// Has everything it wrote been read?
    pub(crate) fn is_drained(&self) -> bool {
        self.sources.iter().all(|source| source.fd.is_none())
    }
}

fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Makes one output: a pipe whose reading end is ours, or nothing.
fn output(source: &mut Source, wanted: bool) -> io::Result<OwnedFd> {
    if !wanted {
        return null();
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    enlarge(&reader);
    rustix::io::ioctl_fionbio(&reader, true)?;
    source.fd = Some(reader);
    source.left_over = LEFT_OVER;
    Ok(writer)
}

/// Makes a pipe larger, if that is allowed.
fn enlarge(pipe: &OwnedFd) {
    drop(fcntl_setpipe_size(pipe, PIPE).map_err(io::Error::from));
}

/// Takes the one descriptor that waits in a socket.
fn receive_descriptor(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(
        socket,
        &mut [io::IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    )?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::other("no terminal came from the runtime"))
}
