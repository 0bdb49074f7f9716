//! The thread that waits for the disk, so that the writer never does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::queue::{Queue, Reply};
use crate::store::Aux;

/// What the syncer is asked.
#[derive(Debug)]
pub(crate) enum Sync {
    /// Answer once everything committed so far is on the disk.
    Flush(Reply),
    /// The log has grown: move it into the database.
    Checkpoint,
}

/// Owns the descriptor through which the log is synced.
#[derive(Debug)]
pub(crate) struct Syncer {
    queue: Arc<Queue<Sync>>,
    aux: Arc<Aux>,
    log: File,
    log_path: PathBuf,
    /// Whether the log's name is known to be on the disk.
    named: bool,
}

impl Syncer {
    /// Opens the log of the database at `path`, which has to be open already.
    pub(crate) fn new(queue: Arc<Queue<Sync>>, aux: Arc<Aux>, path: &Path) -> Result<Self, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push("-wal");
        let log_path = PathBuf::from(name);
        let log = File::open(&log_path).map_err(Error::file("open", &log_path))?;
        Ok(Self {
            queue,
            aux,
            log,
            log_path,
            named: false,
        })
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        while let Some(requests) = self.queue.take() {
            let mut waiting = Vec::new();
            let mut grown = false;
            for request in requests {
                match request {
                    Sync::Flush(reply) => waiting.push(reply),
                    Sync::Checkpoint => grown = true,
                }
            }
            if !waiting.is_empty() {
                let outcome = self.flush();
                for reply in waiting {
                    reply.send(outcome.clone());
                }
            }
            // A checkpoint that fails is only put off: the log grows on until the next.
            if grown && let Err(error) = self.aux.checkpoint() {
                tracing::warn!(%error, "could not move the log into the state database");
            }
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.log
            .sync_data()
            .map_err(Error::file("sync", &self.log_path))?;
        if !self.named {
            let directory = self.log_path.parent().unwrap_or_else(|| Path::new("."));
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(Error::file("sync", directory))?;
            self.named = true;
        }
        Ok(())
    }
}
