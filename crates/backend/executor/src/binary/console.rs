//! The terminal of a foreign runtime: it sends the master to a socket with a path; from there it
//! goes to the shim's socket.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::builtin::Place;
use crate::error::{Context, ExecError};

/// A listening socket, which goes when this does.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    file: PathBuf,
    /// The same file, by a path that is short enough for a socket's address.
    short: PathBuf,
    _dir: File,
}

impl Listener {
    /// Listens in the container's directory.
    pub(super) fn new(place: &Place) -> Result<Self, ExecError> {
        let name = format!("console-{}", std::process::id());
        let file = place.path(&name);
        let what = || format!("listen on {}", file.display());
        let dir = File::open(place.path(".")).context(what)?;
        let short = format!("/proc/{}/fd/{}/{name}", std::process::id(), dir.as_raw_fd());
        let short = PathBuf::from(short);
        drop(fs::remove_file(&file));
        let listener = UnixListener::bind(&short).context(what)?;
        Ok(Self {
            listener,
            file,
            short,
            _dir: dir,
        })
    }

    /// The path for the runtime.
    pub(super) fn path(&self) -> &Path {
        &self.short
    }

    /// Passes the terminal on to `socket`, and returns how the runtime ended.
    pub(super) fn relay(&self, mut child: Child, socket: &OwnedFd) -> io::Result<ExitStatus> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let runtime = pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?;
        let mut ready = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&runtime, PollFlags::IN),
        ];
        poll(&mut ready, None)?;
        if ready
            .first()
            .is_some_and(|connection| connection.revents().contains(PollFlags::IN))
        {
            let (stream, _) = self.listener.accept()?;
            let (name, master) = receive(&stream)?;
            send(socket, &name, &master)?;
        }
        child.wait()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.file));
    }
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = vec![0; 4096];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut name)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    name.truncate(received.bytes);
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((name, descriptor.ok_or(io::ErrorKind::InvalidData)?))
}

fn send(socket: &OwnedFd, name: &[u8], master: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(name)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
