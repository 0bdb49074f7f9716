//! Network namespaces that are kept by a file, and threads inside them.
//!
//! A namespace lives as long as something refers to it. A bind mount of its file does, without a process:
//! it survives arcad, and recovery finds it in the directory.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::config::UserNamespace;
use crate::error::Error;

/// The file of the calling thread's own namespace.
const OWN: &str = "/proc/thread-self/ns/net";
/// What a scratch thread needs for its stack: no deep calls happen on it.
const STACK: usize = 256 * 1024;

/// An open network namespace.
#[derive(Debug)]
pub(crate) struct Netns(OwnedFd);

impl Netns {
    /// Opens the namespace of the calling thread.
    pub(crate) fn current() -> Result<Self, Error> {
        Self::open(Path::new(OWN))
    }

    /// Opens the namespace kept by `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map(Self)
            .map_err(|errno| Error::File {
                action: "open the network namespace",
                path: path.to_owned(),
                cause: errno.into(),
            })
    }

    /// Makes a new namespace, lets `inside` work in it, and keeps it by the file `path` when that succeeds.
    ///
    /// `inside` runs on a thread of its own, in the new namespace.
    pub(crate) fn create<T: Send>(
        path: &Path,
        inside: impl FnOnce(&Self) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        on_thread(|| {
            arca_sys::network::unshare_network()
                .map_err(Error::system("make a network namespace"))?;
            let namespace = Self::current()?;
            keep(path)?;
            match inside(&namespace) {
                Ok(value) => Ok(value),
                Err(error) => {
                    if let Err(error) = remove(path) {
                        tracing::warn!(%error, "cannot take back a network namespace");
                    }
                    Err(error)
                }
            }
        })
    }

    /// As [`create`](Self::create), with a namespace that belongs to a user namespace.
    pub(crate) fn create_in<T: Send>(
        users: &UserNamespace,
        path: &Path,
        inside: impl FnOnce(&Self) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        File::create(path).map_err(|cause| Error::File {
            action: "create",
            path: path.to_owned(),
            cause,
        })?;
        let made = run(users, path).and_then(|()| {
            let namespace = Self::open(path)?;
            namespace.enter(|| inside(&namespace))
        });
        if made.is_err()
            && let Err(error) = remove(path)
        {
            tracing::warn!(%error, "cannot take back a network namespace");
        }
        made
    }

    /// Lets `inside` work in the namespace, on a thread of its own.
    pub(crate) fn enter<T: Send>(
        &self,
        inside: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        on_thread(|| {
            move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|errno| Error::system("enter a network namespace")(errno.into()))?;
            inside()
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `work` on a thread that ends afterwards.
fn on_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(Error::system("start a thread"))?
            .join()
            .unwrap_or_else(|_| {
                Err(Error::system("work in a network namespace")(
                    io::Error::other("the thread panicked"),
                ))
            })
    })
}

/// Lets the program make a namespace.
fn run(users: &UserNamespace, path: &Path) -> Result<(), Error> {
    let failed = |cause| Error::system("make a network namespace in the user namespace")(cause);
    let output = Command::new(&users.program)
        .arg("netns")
        .args([path, &users.path])
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(failed(io::Error::other(said.trim().to_owned())))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Keeps the calling thread's namespace by a file.
fn keep(path: &Path) -> Result<(), Error> {
    let failed = |action| {
        move |cause| Error::File {
            action,
            path: path.to_owned(),
            cause,
        }
    };
    File::create(path).map_err(failed("create"))?;
    mount_bind(OWN, path).map_err(|errno| {
        // An empty file is found and removed by recovery as well.
        let _also_at_recovery = fs::remove_file(path);
        failed("bind the network namespace to")(errno.into())
    })
}

/// Lets go of the namespace kept by `path`; no harm when there is none.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let failed = |action| {
        move |cause: io::Error| Error::File {
            action,
            path: path.to_owned(),
            cause,
        }
    };
    loop {
        // More than one mount is there only when something else put it there.
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(errno) => return Err(failed("unmount")(errno.into())),
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove")(error)),
        _ => Ok(()),
    }
}

/// Lists the files in the directory of namespaces.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause| Error::File {
        action: "list the directory",
        path: dir.to_owned(),
        cause,
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}
