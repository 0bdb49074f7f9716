//! The thread that waits for the disk, so that the writer never does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::queue::{Queue, Reply};
use crate::store::Aux;

/// A log larger than this is moved into the database: about a thousand pages.
const CHECKPOINT_AT: u64 = 4 << 20;

/// What the syncer is asked.
#[derive(Debug)]
pub(crate) enum Sync {
    /// Answer once everything committed so far is on the disk.
    Flush(Reply),
    /// The log has grown: look whether it is time for a checkpoint.
    Grown,
}

/// Owns the descriptor through which the log is synced.
#[derive(Debug)]
pub(crate) struct Syncer {
    queue: Arc<Queue<Sync>>,
    aux: Arc<Aux>,
    log: File,
    log_path: PathBuf,
    /// The size of the log at which the next checkpoint is due.
    due: u64,
    /// Whether the log's name is known to be on the disk.
    named: bool,
}

impl Syncer {
    /// Opens the log of the database at `path`, which has to be open already.
    pub(crate) fn new(
        queue: Arc<Queue<Sync>>,
        aux: Arc<Aux>,
        path: &Path,
    ) -> Result<Self, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push("-wal");
        let log_path = PathBuf::from(name);
        let log = File::open(&log_path).map_err(Error::file("open", &log_path))?;
        Ok(Self { queue, aux, log, log_path, due: CHECKPOINT_AT, named: false })
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        while let Some(requests) = self.queue.take() {
            let waiting: Vec<Reply> = requests
                .into_iter()
                .filter_map(|request| match request {
                    Sync::Flush(reply) => Some(reply),
                    Sync::Grown => None,
                })
                .collect();
            if !waiting.is_empty() {
                let outcome = self.flush();
                for reply in waiting {
                    reply.send(outcome.clone());
                }
            }
            self.checkpoint();
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.log.sync_data().map_err(Error::file("sync", &self.log_path))?;
        if !self.named {
            let directory = self.log_path.parent().unwrap_or_else(|| Path::new("."));
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(Error::file("sync", directory))?;
            self.named = true;
        }
        Ok(())
    }

    /// Moves the log's pages into the database when there are many. Failure only delays that.
    fn checkpoint(&mut self) {
        let size = self.log.metadata().map_or(0, |metadata| metadata.len());
        if size < self.due {
            return;
        }
        match self.aux.checkpoint() {
            // The writer starts the log afresh; the file keeps its size, so growth is what counts.
            Ok(()) => self.due = size.max(CHECKPOINT_AT) + CHECKPOINT_AT / 4,
            Err(error) => {
                tracing::warn!(%error, "could not move the log into the state database");
                self.due = size + CHECKPOINT_AT;
            }
        }
    }
}
