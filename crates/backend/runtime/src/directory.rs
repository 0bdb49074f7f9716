//! The directory of one shim, `<exec-root>/shims/<id>/`. Everything here blocks.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use arca_shim_proto::{EXIT_FILE, ExitRecord, SHIM_LOG_FILE, SOCKET_FILE, STATE_FILE, StateRecord};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The directory of one shim, which may not exist.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory, in place of one that an ended shim has left.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        match builder.create(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.remove()?;
                builder.create(&self.0)
            }
            result => result,
        }
        .map_err(Error::file("create", &self.0))
    }

    /// Removes it with everything in it; it may be gone.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.0)(error))
            }
            _ => Ok(()),
        }
    }

    /// Opens the file that takes what the shim prints.
    pub(crate) fn open_shim_log(&self) -> Result<std::fs::File, Error> {
        let path = self.0.join(SHIM_LOG_FILE);
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::file("open", path))
    }

    /// The last thing the shim printed, for an error message.
    pub(crate) fn last_words(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.0.join(SHIM_LOG_FILE)).ok()?;
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(line.chars().take(500).collect())
    }

    pub(crate) fn state(&self) -> Result<Option<StateRecord>, Error> {
        self.read(STATE_FILE)
    }

    pub(crate) fn exit(&self) -> Result<Option<ExitRecord>, Error> {
        self.read(EXIT_FILE)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.0.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|cause| Error::Record { path, cause }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Connects to the shim; `None` when nobody listens. The path of the directory may be longer
    /// than a socket's address: it is gone through a descriptor.
    pub(crate) fn connect(&self) -> Result<Option<OwnedFd>, Error> {
        use rustix::fs::{Mode, OFlags};
        let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |errno: rustix::io::Errno| Error::file("connect to", &self.0)(errno.into());
        let directory = match rustix::fs::open(&self.0, open, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            result => result.map_err(failed)?,
        };
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
        let address =
            SocketAddrUnix::new(format!("/proc/self/fd/{number}/{SOCKET_FILE}")).map_err(failed)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => Ok(Some(socket)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
