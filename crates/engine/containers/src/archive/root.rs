//! A container's root filesystem, whether it runs or not.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use arca_sys::process::{Namespace, join_namespace, unshare};
use arca_types::IdMaps;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Error;
use crate::config::Config;
use crate::container::Container;
use crate::service::Service;
use crate::state::State;

/// Where the root filesystem is.
#[derive(Debug)]
pub(crate) enum Root {
    /// In this mount namespace, which is its root process's, with the owners of this user namespace.
    Running(OwnedFd, Option<Users>),
    /// In this mount, which is nowhere.
    Detached(OwnedFd),
    /// In this directory of the host.
    Directory(PathBuf),
}

/// A user namespace that a container runs in.
#[derive(Debug)]
pub(crate) struct Users {
    /// Its users and groups.
    pub(crate) ids: IdMaps,
    /// Itself.
    pub(crate) namespace: OwnedFd,
}

impl Users {
    /// That of a process; `None` for the initial one.
    fn of(number: i32) -> std::io::Result<Option<Self>> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{number}/{file}"));
        let Some(ids) = IdMaps::parse(&read("uid_map")?, &read("gid_map")?) else {
            return Ok(None);
        };
        let namespace = File::open(format!("/proc/{number}/ns/user"))?.into();
        Ok(Some(Self { ids, namespace }))
    }
}

impl Users {
    /// The same for mounts that are written to by the host's root, unless the container has been started with
    /// other IDs than those of the daemon now.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn for_files(self, config: &Config) -> Result<Self, Error> {
        let Some(ours) = config.users.as_ref().filter(|ours| ours.ids == self.ids) else {
            return Ok(self);
        };
        let path = ours.path.with_extension("files");
        let namespace = File::open(&path).map_err(Error::file("open", &path))?;
        Ok(Self {
            namespace: namespace.into(),
            ..self
        })
    }
}

impl Root {
    /// Takes the user namespace whose owners its files have; others have owners as images have them.
    pub(crate) fn take_users(&mut self) -> Option<Users> {
        match self {
            Self::Running(_, users) => users.take(),
            Self::Detached(_) | Self::Directory(_) => None,
        }
    }

    /// Opens it without what is mounted in it, to be read.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(self) -> Result<OwnedFd, Error> {
        match self {
            Self::Detached(root) => Ok(root),
            Self::Directory(path) => arca_archive::open_root(&path)
                .map_err(|e| failed("open", &path.to_string_lossy(), e)),
            running => apart(move || running.attachable()),
        }
    }

    /// Makes it a mount that is nowhere. The calling thread has a mount namespace of its own.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn attachable(self) -> Result<OwnedFd, Error> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        match self {
            Self::Detached(root) => Ok(root),
            Self::Directory(path) => open_tree(CWD, &path, flags)
                .map_err(|error| failed("open", &path.to_string_lossy(), error)),
            Self::Running(namespace, _) => {
                let step = |error| Error::file("enter", "the container's mounts")(error);
                let own = File::open("/proc/thread-self/ns/mnt").map_err(step)?;
                join_namespace(namespace.as_fd(), Namespace::Mount).map_err(step)?;
                // Without what is mounted in it: the kernel's file systems are nobody's files.
                let root = open_tree(CWD, "/", flags);
                join_namespace(own.as_fd(), Namespace::Mount).map_err(step)?;
                root.map_err(|error| failed("open", "the root filesystem", error))
            }
        }
    }
}

impl Service {
    /// Finds the root filesystem of a container.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) async fn root_of(&self, container: &Container) -> Result<Root, Error> {
        if let Some((namespace, users)) = self.live_mounts(container).await {
            return Ok(Root::Running(namespace, users));
        }
        match self.storage.rootfs(&container.id).map_err(Error::Storage)? {
            arca_storage::Rootfs::Directory(path) => Ok(Root::Directory(path)),
            arca_storage::Rootfs::Overlay { .. } => {
                let root = self.storage.open_rootfs(&container.id).await;
                root.map(Root::Detached).map_err(Error::Storage)
            }
        }
    }

    /// The mount namespace of a container that runs.
    async fn live_mounts(&self, container: &Container) -> Option<(OwnedFd, Option<Users>)> {
        let (State::Running(process) | State::Paused(process)) = container.state else {
            return None;
        };
        let number = i32::try_from(process.pid).ok()?;
        let pidfd = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
        // A number says nothing: the process has to be the container's, and to live while it is opened.
        let pids = self.runtime.pids(&container.id).await.ok()?;
        let namespace = File::open(format!("/proc/{number}/ns/mnt")).ok()?;
        let users = Users::of(number).ok()?;
        (pids.contains(&number) && is_alive(&pidfd)).then(|| (namespace.into(), users))
    }
}

fn is_alive(pidfd: &OwnedFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut ended, Some(&now)), Ok(0))
}

/// Runs `work` on a thread that has a mount namespace of its own, which ends with it.
///
/// # Errors
/// What `work` says; [`Error::File`] when there is no such thread.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    let run = || {
        unshare(Namespace::Mount).map_err(Error::file("leave", "the mount namespace"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(|error| failed("seclude", "/", error))?;
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("container-files".to_owned())
            .spawn_scoped(scope, run)
            .map_err(Error::file("start", "a thread for files"))?;
        let panicked =
            || Error::Failed("the work on the container's files was cut short".to_owned());
        thread.join().unwrap_or_else(|_panic| Err(panicked()))
    })
}

pub(crate) fn failed(what: &'static str, path: &str, error: rustix::io::Errno) -> Error {
    Error::file(what, path)(error.into())
}
