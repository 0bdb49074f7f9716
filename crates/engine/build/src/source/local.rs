//! Directories of the client. What was transferred is kept between builds, so that only changes travel.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_types::random_hex;

use crate::fs::digest::Known;
use crate::graph::LocalSource;
use crate::progress::Status;
use crate::session::LocalRequest;
use crate::solve::{Listeners, Step, blocking};
use crate::{Error, Tree};

/// How many directories that nobody uses are kept.
const IDLE: usize = 16;

/// Directories of clients, as they were transferred last. They do not outlive the daemon.
#[derive(Debug, Clone)]
pub(crate) struct LocalDirectories(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    key: String,
    path: PathBuf,
    known: Arc<Known>,
}

/// A directory that is in use; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct LocalDirectory {
    owner: LocalDirectories,
    idle: Option<Idle>,
}

impl LocalDirectories {
    /// Empties the directory that has them all.
    pub(crate) fn open(root: PathBuf) -> Result<Self, Error> {
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(Error::file("remove", &root))?,
        }
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let idle = Mutex::default();
        Ok(Self(Arc::new(Inner { root, idle })))
    }

    fn take(&self, key: String) -> Result<LocalDirectory, Error> {
        let found = {
            let mut idle = self.idle();
            let at = idle.iter().position(|idle| idle.key == key);
            at.map(|at| idle.remove(at))
        };
        let idle = match found {
            Some(idle) => idle,
            None => {
                let path = self.0.root.join(random_hex(8));
                std::fs::create_dir(&path).map_err(Error::file("create", &path))?;
                Idle {
                    key,
                    path,
                    known: Arc::default(),
                }
            }
        };
        Ok(LocalDirectory {
            owner: self.clone(),
            idle: Some(idle),
        })
    }

    /// Removes the directories that nobody uses.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            remove(&idle.path);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalDirectory {
    fn path(&self) -> &Path {
        self.idle.as_ref().map_or(Path::new(""), |idle| &idle.path)
    }

    /// Removes it instead of keeping it.
    fn discard(mut self) {
        if let Some(idle) = self.idle.take() {
            remove(&idle.path);
        }
    }
}

impl Drop for LocalDirectory {
    fn drop(&mut self) {
        let Some(idle) = self.idle.take() else {
            return;
        };
        let evicted = {
            let mut all = self.owner.idle();
            all.push(idle);
            (all.len() > IDLE).then(|| all.remove(0))
        };
        if let Some(evicted) = evicted {
            remove(&evicted.path);
        }
    }
}

/// Removes a directory in the background.
fn remove(path: &Path) {
    let path = path.to_owned();
    std::thread::spawn(move || {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "left behind until the next start");
        }
    });
}

/// Transfers the directory.
pub(super) async fn run(
    step: &Step,
    local: &LocalSource,
    listeners: &Listeners,
) -> Result<Tree, Error> {
    let request = LocalRequest {
        name: local.name.clone(),
        include: local.include.clone(),
        exclude: local.exclude.clone(),
        follow_paths: local.follow_paths.clone(),
        differ: local.differ,
    };
    let session = step.job.session();
    if local.metadata_only || !local.metadata_exceptions.is_empty() {
        let text = "transferring the metadata of files alone is not supported";
        return Err(Error::Unsupported(text.to_owned()));
    }
    if !local.session.is_empty() && local.session != session.id() {
        let text = format!("{}: files of another session are not supported", local.name);
        return Err(Error::Unsupported(text));
    }
    let key = key(&session.shared_key(), local);
    let locals = step.job.0.service.locals.clone();
    let directory = blocking(move || locals.take(key)).await?;
    let began = listeners.now();
    let status = |completed| Status {
        id: format!("transferring {}", local.name),
        vertex: listeners.anyone(),
        name: format!("transferring {}:", local.name),
        current: 0,
        total: 0,
        timestamp: listeners.now(),
        started: Some(began),
        completed,
    };
    listeners.status(status(None));
    match session.local(&request, directory.path()).await {
        Ok(()) => {
            listeners.status(status(Some(listeners.now())));
            let path = directory.path().to_owned();
            let known = directory.idle.as_ref().map(|idle| Arc::clone(&idle.known));
            Ok(Tree::of_directory(
                path,
                known.unwrap_or_default(),
                directory,
            ))
        }
        Err(error) => {
            directory.discard();
            Err(error)
        }
    }
}

/// Transfers of equal keys may share a directory.
fn key(shared: &str, local: &LocalSource) -> String {
    // Without a shared key, nobody else's files.
    let shared = if shared.is_empty() && local.shared_key_hint.is_empty() {
        random_hex(8)
    } else {
        shared.to_owned()
    };
    format!(
        "{shared}\0{}\0{}\0{:?}\0{:?}\0{:?}",
        local.name, local.shared_key_hint, local.include, local.exclude, local.follow_paths
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_again_by_the_same_key_and_by_one_build_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let locals = LocalDirectories::open(dir.path().join("local")).unwrap();
        let first = locals.take("a".to_owned()).unwrap();
        let path = first.path().to_owned();
        let second = locals.take("a".to_owned()).unwrap();
        assert_ne!(second.path(), path);
        drop(first);
        assert_eq!(locals.take("a".to_owned()).unwrap().path(), path);
        assert_ne!(locals.take("b".to_owned()).unwrap().path(), path);
    }
}
