//! Standard streams of a container's process: a terminal of the container, or what was handed over.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Process;
use rustix::fs::{FileType, Gid, OFlags, Uid, fchown, fstatfs, makedev};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::devices::{is_null, open_null};
use super::tree::{Tree, stat};
use crate::error::{Context, ExecError};
use crate::request::Streams;

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS: u64 = 0x1cd1;

/// Makes `streams` the standard streams of this process. It leads a session already.
///
/// With a terminal its slave is put on the container's `/dev/console` if `mount_console`.
pub(super) fn set_up(
    tree: &Tree,
    streams: &Streams,
    process: &Process,
    mount_console: bool,
) -> Result<(), ExecError> {
    let uid = process.user().uid();
    match streams {
        Streams::Console(socket) => {
            let (master, slave) = terminal(tree).context(|| "failed to open a terminal")?;
            set_size(&master, process)?;
            if mount_console {
                console(tree, &slave).context(|| "failed to mount /dev/console")?;
            }
            if uid != 0 {
                fchown(&slave, Some(Uid::from_raw(uid)), None)
                    .context(|| "chown of the terminal")?;
            }
            send(socket.as_fd(), master.as_fd()).context(|| "failed to send the terminal")?;
            ioctl_tiocsctty(&slave).context(|| "setctty")?;
            become_streams([slave.as_fd(), slave.as_fd(), slave.as_fd()])
        }
        Streams::Pipes([stdin, stdout, stderr]) => {
            let mut own = Vec::new();
            for stream in [stdin, stdout, stderr] {
                own.push(container_stream(tree, stream, uid).context(|| "standard streams")?);
            }
            let [stdin, stdout, stderr] = own.as_slice() else {
                return Err(ExecError::other("standard streams"));
            };
            become_streams([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
        }
    }
}

/// A null device of the host becomes the container's; what else a user shall reopen (as
/// `/dev/stdout`) becomes his.
fn container_stream(tree: &Tree, stream: &OwnedFd, uid: u32) -> io::Result<OwnedFd> {
    if is_null(stream)? {
        return match open_null(tree, OFlags::RDWR) {
            // A configuration without /dev: nothing to gain.
            Err(error) if error.kind() == io::ErrorKind::NotFound => stream.try_clone(),
            result => result,
        };
    }
    let (stat, _) = stat(stream.as_fd())?;
    if stat.st_uid != uid {
        match fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>) {
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    stream.try_clone()
}

fn become_streams([stdin, stdout, stderr]: [BorrowedFd<'_>; 3]) -> Result<(), ExecError> {
    rustix::stdio::dup2_stdin(stdin).context(|| "dup2")?;
    rustix::stdio::dup2_stdout(stdout).context(|| "dup2")?;
    rustix::stdio::dup2_stderr(stderr).context(|| "dup2")
}

/// Opens a new terminal of the container: nothing else will do than the master of a real devpts.
fn terminal(tree: &Tree) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = tree.open(Path::new("/dev/pts/ptmx"), flags)?;
    let (stat, kind) = stat(master.as_fd())?;
    let filesystem = u64::try_from(fstatfs(&master)?.f_type).unwrap_or_default();
    if kind != FileType::CharacterDevice || stat.st_rdev != makedev(5, 2) || filesystem != DEVPTS {
        return Err(io::Error::from(Errno::NOTTY));
    }
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    Ok((master, slave))
}

fn set_size(master: &OwnedFd, process: &Process) -> Result<(), ExecError> {
    let Some(size) = process.console_size() else {
        return Ok(());
    };
    let number = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    let size = Winsize {
        ws_row: number(size.height()),
        ws_col: number(size.width()),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).context(|| "failed to set the size of the terminal")
}

/// Puts the terminal on `/dev/console`.
fn console(tree: &Tree, slave: &OwnedFd) -> io::Result<()> {
    let place = tree.make_own_file(Path::new("/dev/console"))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(slave, "", flags)?;
    Tree::attach(mount.as_fd(), place.as_fd())
}

/// Sends `master` as runc does: its name as data, the descriptor beside it.
fn send(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(b"/dev/ptmx")],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
