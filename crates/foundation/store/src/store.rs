//! The database as a whole: opening, committing, closing.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{Batch, Durability};
use crate::journal::{Journal, Shared};
use crate::queue::{Job, Queue, Reply};
use crate::syncer::{Sync, Syncer};
use crate::writer::Writer;
use crate::{Error, Record, Table};

/// The layout of the database itself, kept as SQLite's `user_version`.
const LAYOUT: u32 = 1;

/// A durable store of records and journals. A cheap handle; the last one to go closes the database.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    jobs: Arc<Queue<Job>>,
    aux: Arc<Aux>,
    journals: Mutex<HashMap<&'static str, Arc<Shared>>>,
    threads: Vec<JoinHandle<()>>,
    /// Held for as long as the database is open.
    _lock: File,
}

/// The connection for everything but writing.
#[derive(Debug)]
pub(crate) struct Aux {
    reader: Mutex<Reader>,
}

/// A connection that only reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: Connection,
}

impl Store {
    /// Opens the database at `path`, making it when there is none. It blocks.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::TooNew`] when a later release wrote
    /// it, [`Error::Database`] when it is not a database, [`Error::File`] when a file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let lock = lock(path)?;
        let writing = connect(path)?;
        prepare(&writing, path)?;
        let reader = Reader {
            connection: connect(path)?,
        };
        let aux = Arc::new(Aux {
            reader: Mutex::new(reader),
        });
        let (jobs, syncs) = (
            Arc::new(Queue::<Job>::new()),
            Arc::new(Queue::<Sync>::new()),
        );
        let syncer = Syncer::new(Arc::clone(&syncs), Arc::clone(&aux), path)?;
        let writer = Writer::new(writing, Arc::clone(&jobs), syncs);
        let threads = vec![
            spawn("store-writer", path, move || writer.run())?,
            spawn("store-syncer", path, move || syncer.run())?,
        ];
        let journals = Mutex::default();
        let path = path.to_owned();
        let inner = Inner {
            path,
            jobs,
            aux,
            journals,
            threads,
            _lock: lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The table of the records of type `R`.
    #[must_use]
    pub fn table<R: Record>(&self) -> Table<R> {
        Table::new(self.clone())
    }

    /// The journal called `name` (lower-case letters and underscores), which keeps about the last `keep`
    /// entries. Everybody who asks for the same name gets the same journal. It blocks the first time.
    ///
    /// # Errors
    /// [`Error::Database`] when its end cannot be read.
    pub fn journal<T>(&self, name: &'static str, keep: u64) -> Result<Journal<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let mut journals = self
            .inner
            .journals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = journals.get(name) {
            return Ok(Journal::new(self.clone(), Arc::clone(shared)));
        }
        let shared = Arc::new(self.read(|reader| Shared::open(reader, name, keep))?);
        journals.insert(name, Arc::clone(&shared));
        Ok(Journal::new(self.clone(), shared))
    }

    /// Commits all changes of `batch`, or none. Batches take effect in the order of these calls.
    ///
    /// The change happens even when the returned future is dropped once it has been polled.
    ///
    /// # Errors
    /// [`Error::Database`] or [`Error::File`] when it could not be written; [`Error::Closed`].
    pub async fn commit(&self, batch: Batch, durability: Durability) -> Result<(), Error> {
        let (reply, outcome) = tokio::sync::oneshot::channel();
        self.push(Job {
            batch,
            durability,
            reply: Reply::Task(reply),
        })?;
        outcome.await.unwrap_or(Err(Error::Closed))
    }

    /// [`commit`](Self::commit) for threads that may block.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_blocking(&self, batch: Batch, durability: Durability) -> Result<(), Error> {
        let (reply, outcome) = std::sync::mpsc::sync_channel(1);
        self.push(Job {
            batch,
            durability,
            reply: Reply::Thread(reply),
        })?;
        outcome.recv().unwrap_or(Err(Error::Closed))
    }

    /// Lets SQLite check the whole database; returns what it finds wrong. It blocks, for long.
    ///
    /// # Errors
    /// [`Error::Database`] when the check cannot be made.
    pub fn check(&self) -> Result<Vec<String>, Error> {
        let failed = || Error::database("check");
        self.read(|reader| {
            let mut statement = reader
                .connection
                .prepare("PRAGMA integrity_check")
                .map_err(failed())?;
            let rows = statement
                .query_map([], |row| row.get(0))
                .map_err(failed())?;
            let found = rows.collect::<Result<Vec<String>, _>>().map_err(failed())?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Hands over a batch that nobody waits for; returns how many jobs wait.
    pub(crate) fn post(&self, batch: Batch) -> Result<usize, Error> {
        self.push(Job {
            batch,
            durability: Durability::Process,
            reply: Reply::Nobody,
        })
    }

    /// Reads from the database. It blocks.
    pub(crate) fn read<A>(
        &self,
        work: impl FnOnce(&Reader) -> Result<A, Error>,
    ) -> Result<A, Error> {
        work(&self.inner.aux.reader())
    }

    fn push(&self, job: Job) -> Result<usize, Error> {
        self.inner.jobs.push(job).map_err(|_refused| Error::Closed)
    }
}

impl Drop for Inner {
    /// Waits until what was handed over is written.
    fn drop(&mut self) {
        self.jobs.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the state database has panicked");
            }
        }
    }
}

impl Aux {
    /// Moves the pages of the log into the database, without waiting for readers or the writer.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        self.reader()
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))
            .map_err(Error::database("checkpoint"))
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Whether a table has been written to yet.
    pub(crate) fn has_table(&self, name: &str) -> Result<bool, Error> {
        let failed = || Error::database("look for a table");
        self.connection
            .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .map_err(failed())?
            .exists([name])
            .map_err(failed())
    }
}

/// A process that was killed may have a child that has not yet called `execve(2)`, and so holds its lock:
/// it is waited for so long, in so many steps.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_STEP: Duration = Duration::from_millis(10);

/// Takes the lock that keeps a second process out.
fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&name)
        .map_err(Error::file("open", &name))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::park_timeout(LOCK_STEP);
            }
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", &name)(error)),
        }
    }
}

/// Opens a connection: small cache, and the log is synced by the syncer, not at each commit.
fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(Error::database("open"))?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256; \
             PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 5000;",
        )
        .map_err(Error::database("open"))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Checks the layout's version, and writes it into a new database.
fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let failed = || Error::database("read the version");
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed())?;
    match found {
        LAYOUT => Ok(()),
        0 => connection
            .execute_batch(&format!("PRAGMA user_version = {LAYOUT}"))
            .map_err(Error::database("set the version")),
        newer => {
            let what = format!("the state database {}", path.display());
            Err(Error::TooNew {
                what,
                found: newer,
                known: LAYOUT,
            })
        }
    }
}

fn spawn(
    name: &str,
    path: &Path,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(512 << 10)
        .spawn(work)
        .map_err(Error::file("start a thread for", path))
}
