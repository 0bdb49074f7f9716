//! What mounts leave behind: places that were made only to mount something on.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, Stat};

use crate::Error;
use crate::fs::{edit, path};
use crate::solve::{Snapshot, Step, blocking};

/// The places that mounts will make, and the directories that were there.
pub(super) struct Stubs {
    id: arca_types::ContainerId,
    /// Each with the first part of it that is missing.
    missing: Vec<(Vec<u8>, Vec<u8>)>,
    /// Directories above them, with their times.
    above: BTreeMap<Vec<u8>, (i64, i64)>,
}

impl Stubs {
    pub(super) async fn look(
        step: &Step,
        root: &Snapshot,
        targets: Vec<String>,
    ) -> Result<Self, Error> {
        let id = root.id().clone();
        let opened = step
            .storage()
            .open_rootfs(&id)
            .await
            .map_err(Error::Storage)?;
        blocking(move || {
            let mut stubs = Self {
                id,
                missing: Vec::new(),
                above: BTreeMap::new(),
            };
            for target in targets {
                stubs.note(opened.as_fd(), &target)?;
            }
            Ok(stubs)
        })
        .await
    }

    fn note(&mut self, root: BorrowedFd<'_>, target: &str) -> Result<(), Error> {
        let at = edit::resolved(root, target.as_bytes())?;
        let mut done: Vec<u8> = Vec::new();
        let mut parent: Option<Stat> = look(root, b"")?;
        for part in at.split(|byte| *byte == b'/').filter(|p| !p.is_empty()) {
            let next = path::join(&done, part);
            match look(root, &next)? {
                Some(stat) => parent = Some(stat),
                None => {
                    if let Some(stat) = parent {
                        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
                        self.above.insert(done, (stat.st_mtime, nanoseconds));
                    }
                    self.missing.push((at, next));
                    return Ok(());
                }
            }
            done = next;
        }
        Ok(())
    }

    /// Removes those that are still empty, from the directory that was written to.
    pub(super) async fn remove(self, step: &Step) -> Result<(), Error> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let (upper, _) = step.storage().written(&self.id).map_err(Error::Storage)?;
        blocking(move || {
            let upper = arca_archive::open_root(&upper).map_err(Error::errno("open", &upper))?;
            for (at, first) in self.missing.iter().rev() {
                prune(upper.as_fd(), at, first);
            }
            for (at, time) in &self.above {
                let nanoseconds = time.0.saturating_mul(1_000_000_000).saturating_add(time.1);
                if look(upper.as_fd(), at)?.is_some() && !at.is_empty() {
                    edit::set_time(upper.as_fd(), at, Some(nanoseconds))?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn look(root: BorrowedFd<'_>, at: &[u8]) -> Result<Option<Stat>, Error> {
    path::look(root, at).map_err(|error| Error::errno("read", path::shown(at))(error))
}

/// Removes an empty file or directory and what is empty above it, up to `first`.
fn prune(upper: BorrowedFd<'_>, at: &[u8], first: &[u8]) {
    let mut at = at.to_vec();
    while at.len() >= first.len() {
        let (above, name) = path::split(&at);
        let Ok(parent) = path::open_dir(upper, above) else {
            return;
        };
        let Ok(Some(stat)) = path::look(upper, &at) else {
            at = above.to_vec();
            continue;
        };
        let removed = if path::is_dir(&stat) {
            rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
        } else if stat.st_size == 0 {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty())
        } else {
            return;
        };
        if removed.is_err() {
            return;
        }
        at = above.to_vec();
    }
}
