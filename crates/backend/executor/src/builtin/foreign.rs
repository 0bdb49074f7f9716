//! Mounts of other containers: `/proc/PID/root/PATH` as the source of a bind mount.
//!
//! A mount can be cloned only by who is in its mount namespace. So the helper enters that of the
//! process, takes a detached clone and comes back; the container's process then attaches the clone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use arca_sys::process::{Namespace, join_namespace};
use oci_spec::runtime::Mount;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::options::Options;
use super::tree::Tree;
use crate::error::{Context, ExecError};

/// Directories that are mounted in other containers, by the path that names them.
#[derive(Debug, Default)]
pub(crate) struct Foreign(Vec<(PathBuf, OwnedFd)>);

impl Foreign {
    /// Opens those that `mounts` name.
    ///
    /// # Errors
    /// When the process is gone, or there is no mount.
    pub(crate) fn open(mounts: &[Mount]) -> Result<Self, ExecError> {
        let mut all = Vec::new();
        for mount in mounts {
            let options = mount.options().as_deref().unwrap_or_default();
            let bound = Options::parse(mount.typ().as_deref(), options)
                .bind
                .is_some();
            let Some(source) = mount.source().as_ref().filter(|_| bound) else {
                continue;
            };
            if let Some((pid, path)) = split(source) {
                let clone = clone_from(pid, path)
                    .context(|| format!("failed to take {} of process {pid}", path.display()))?;
                all.push((source.clone(), clone));
            }
        }
        Ok(Self(all))
    }

    /// Returns the mount that `source` names; `None` when it is no other container's.
    ///
    /// # Errors
    /// What dup(2) says.
    pub(super) fn take(&self, source: &Path) -> io::Result<Option<OwnedFd>> {
        let found = self.0.iter().find(|(path, _)| path == source);
        found.map(|(_, mount)| mount.try_clone()).transpose()
    }

    /// Attaches them below `dir` for a runtime that wants paths; returns the path of each source.
    ///
    /// # Errors
    /// When a directory cannot be made or mounted on.
    pub(crate) fn attach_below(self, dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>, ExecError> {
        let mut all = Vec::new();
        for (number, (source, mount)) in self.0.into_iter().enumerate() {
            let place = dir.join(format!("foreign-{number}"));
            let what = || format!("mount at {}", place.display());
            std::fs::create_dir(&place).context(what)?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&mount, "", rustix::fs::CWD, &place, flags).context(what)?;
            all.push((source, place));
        }
        Ok(all)
    }
}

/// Is this a path in another container?
pub(super) fn is_foreign(source: &Path) -> bool {
    split(source).is_some()
}

/// Reads `/proc/PID/root/PATH`.
fn split(source: &Path) -> Option<(u32, &Path)> {
    let rest = source.strip_prefix("/proc").ok()?;
    let mut parts = rest.components();
    let pid = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    let path = parts.as_path().strip_prefix("root").ok()?;
    Some((pid, path))
}

/// Clones the mount at `path` of the root of process `pid`. What the container has put there is not
/// followed: a link there leads nowhere.
fn clone_from(pid: u32, path: &Path) -> io::Result<OwnedFd> {
    let theirs = File::open(format!("/proc/{pid}/ns/mnt"))?;
    let home = File::open("/proc/thread-self/ns/mnt")?;
    join_namespace(theirs.as_fd(), Namespace::Mount)?;
    let cloned = clone_here(path);
    join_namespace(home.as_fd(), Namespace::Mount)?;
    cloned
}

fn clone_here(path: &Path) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let place = openat2(&root, Tree::relative(path), flags, Mode::empty(), resolve)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(&place, "", flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_root_of_a_process_are_foreign() {
        let of = |path: &'static str| split(Path::new(path));
        assert_eq!(
            of("/proc/12/root/dev/shm"),
            Some((12, Path::new("dev/shm")))
        );
        for other in ["/proc/12/cwd/x", "/proc/self/root/x", "/dev/shm", "/proc"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_mount_of_another_namespace_is_taken_and_a_link_is_not_followed() {
        use arca_sys::process::unshare;
        let mut child = std::process::Command::new("unshare")
            .args(["-m", "sh", "-c"])
            .arg("mount -t tmpfs x /mnt && echo in >/mnt/file && ln -s /mnt /mnt/link && echo ok && cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 3];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let pid = child.id();
        // A thread of its own: it has the file system attributes to itself.
        let (read, link) = std::thread::spawn(move || {
            unshare(Namespace::Mount).unwrap();
            let mount = clone_from(pid, Path::new("mnt")).unwrap();
            let file = rustix::fs::openat(&mount, "file", OFlags::RDONLY, Mode::empty()).unwrap();
            let link = clone_from(pid, Path::new("mnt/link")).unwrap_err();
            (io::read_to_string(File::from(file)).unwrap(), link)
        })
        .join()
        .unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(read, "in\n");
        assert_eq!(
            link.raw_os_error(),
            Some(rustix::io::Errno::LOOP.raw_os_error())
        );
    }
}
