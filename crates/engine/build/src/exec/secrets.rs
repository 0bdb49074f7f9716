//! Files in memory: secrets, and the sockets of agents.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use arca_types::random_hex;

use crate::Error;
use crate::session::Secret;

/// The number of tmpfs (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// Where files of secrets are: a directory on a tmpfs.
#[derive(Debug)]
pub(crate) struct SecretFiles {
    root: Option<PathBuf>,
}

/// A directory in memory; it goes with this.
#[derive(Debug)]
pub(crate) struct SecretDir(PathBuf);

impl SecretFiles {
    /// Takes a directory below the exec root, or below `/dev/shm` where that is on a disk, and empties it.
    pub(crate) fn open(exec_root: &Path) -> Result<Self, Error> {
        let own = exec_root.join("build");
        std::fs::create_dir_all(&own).map_err(Error::file("create", &own))?;
        let hash = crate::graph::digest_json(&exec_root.to_string_lossy());
        let shared = PathBuf::from(format!("/dev/shm/arca-{}", hash.short()));
        let root = [own, shared]
            .into_iter()
            .find(|root| root.parent().is_some_and(is_tmpfs));
        if let Some(root) = &root {
            match std::fs::remove_dir_all(root) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::file("remove", root))?,
            }
            make(root)?;
        }
        Ok(Self { root })
    }

    /// A directory for one step.
    pub(crate) fn directory(&self) -> Result<SecretDir, Error> {
        let root = self.root.as_ref().ok_or_else(|| {
            Error::Unsupported(
                "secrets need a tmpfs at /run or /dev/shm, and there is none".to_owned(),
            )
        })?;
        let path = root.join(random_hex(8));
        make(&path)?;
        Ok(SecretDir(path))
    }
}

impl SecretDir {
    /// Where something of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a secret.
    pub(crate) fn write(
        &self,
        name: &str,
        secret: &Secret,
        (uid, gid, mode): (u32, u32, u32),
    ) -> Result<PathBuf, Error> {
        let path = self.path(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("create", &path))?;
        file.write_all(secret.expose())
            .map_err(Error::file("write", &path))?;
        set(&path, (uid, gid, mode))?;
        Ok(path)
    }
}

impl Drop for SecretDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "files of a step stay in memory until the next start");
        }
    }
}

/// Gives a file its owner and permissions.
pub(crate) fn set(path: &Path, (uid, gid, mode): (u32, u32, u32)) -> Result<(), Error> {
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(Error::file("chown", path))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode & 0o7777);
    std::fs::set_permissions(path, mode).map_err(Error::file("chmod", path))
}

fn make(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(Error::file("create", path))
}

fn is_tmpfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == TMPFS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_secret_is_in_memory_for_its_owner_and_goes_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let files = SecretFiles::open(dir.path()).unwrap();
        let step = files.directory().unwrap();
        let secret = Secret::new(b"s".to_vec());
        let path = step.write("0", &secret, (7, 8, 0o440)).unwrap();
        assert!(is_tmpfs(&path));
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o777),
            (7, 8, 0o440)
        );
        drop(step);
        assert!(!path.exists());
    }
}
