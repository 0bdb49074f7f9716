//! Deleting in the background.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use arca_archive::{open_root, remove_tree};

/// Empties a directory whenever something was put into it. Its thread lives only while there is work.
#[derive(Debug)]
pub(crate) struct Reaper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What tells names of this run from those of earlier ones.
    prefix: String,
}

#[derive(Debug)]
struct Shared {
    trash: PathBuf,
    stop: AtomicBool,
    work: Mutex<Work>,
    idle: Condvar,
}

/// Whether a thread is at work, and whether it has to look again.
#[derive(Debug, Default)]
struct Work {
    running: bool,
    again: bool,
}

impl Reaper {
    pub(crate) fn new(trash: PathBuf) -> Self {
        let shared = Shared {
            trash,
            stop: AtomicBool::new(false),
            work: Mutex::default(),
            idle: Condvar::new(),
        };
        let prefix = arca_types::random_hex(6);
        Self {
            shared: Arc::new(shared),
            thread: Mutex::new(None),
            prefix,
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Says that there is something to delete.
    pub(crate) fn wake(&self) {
        let mut work = self.shared.work();
        if work.running {
            work.again = true;
            return;
        }
        work.running = true;
        drop(work);
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new()
            .name("storage-reaper".to_owned())
            .stack_size(256 << 10)
            .spawn(move || shared.run());
        match spawned {
            Ok(thread) => {
                // The one before has said that it is done.
                drop(self.thread().replace(thread));
            }
            Err(error) => {
                tracing::warn!(%error, "nothing is deleted until the next start");
                self.shared.work().running = false;
            }
        }
    }

    /// Waits until nothing is left to delete.
    pub(crate) fn wait(&self) {
        let mut work = self.shared.work();
        while work.running {
            work = self
                .shared
                .idle
                .wait(work)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reaper {
    /// What is left is deleted after the next start.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that deletes has panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            self.empty();
            let mut work = self.work();
            if !work.again || self.stop.load(Ordering::Relaxed) {
                work.running = false;
                drop(work);
                self.idle.notify_all();
                return;
            }
            work.again = false;
        }
    }

    fn empty(&self) {
        let failed = |path: &Path, error: std::io::Error| {
            tracing::warn!(path = %path.display(), %error, "could not be deleted");
        };
        let (trash, names) = match (open_root(&self.trash), std::fs::read_dir(&self.trash)) {
            (Ok(trash), Ok(names)) => (trash, names),
            (Err(error), _) => return failed(&self.trash, error.into()),
            (_, Err(error)) => return failed(&self.trash, error),
        };
        for name in names.flatten() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = remove_tree(&trash, name.file_name().as_encoded_bytes()) {
                failed(&name.path(), error.into());
            }
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
