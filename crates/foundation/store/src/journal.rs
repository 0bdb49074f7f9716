//! Append-only tables that are read from a cursor on.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::batch::{Batch, Durability};
use crate::store::Reader;
use crate::{Error, Store};

/// How many of the last entries are kept in memory, for those who follow.
const RECENT: usize = 128;
/// How many appends may wait for the writer before whoever appends has to wait, too.
const BACKLOG: usize = 1024;

/// One entry as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its number: one more than that of the entry before; the first is 1.
    pub sequence: u64,
    /// The time it was given, in nanoseconds since 1970.
    pub at: i64,
    /// What was appended.
    pub value: T,
}

/// An append-only list of values, numbered without gaps. Old entries are dropped by count.
///
/// A cheap handle. Entries become visible, all at once to everybody, when they are committed.
#[derive(Debug)]
pub struct Journal<T> {
    store: Store,
    pub(crate) shared: Arc<Shared>,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            shared: Arc::clone(&self.shared),
            value: PhantomData,
        }
    }
}

/// What the writer and all handles of a journal have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The name it was opened by.
    pub(crate) name: &'static str,
    /// The table it is in.
    pub(crate) table: &'static str,
    /// How many entries are kept.
    pub(crate) keep: u64,
    /// The number of the last entry committed.
    last: watch::Sender<u64>,
    recent: Mutex<VecDeque<Raw>>,
}

/// An entry as it is stored.
#[derive(Debug, Clone)]
struct Raw {
    sequence: u64,
    at: i64,
    body: Arc<[u8]>,
}

impl Shared {
    /// Finds out where the journal in table `name` ends.
    pub(crate) fn open(reader: &Reader, name: &'static str, keep: u64) -> Result<Self, Error> {
        let last: i64 = if reader.has_table(name)? {
            let sql = format!("SELECT coalesce(max(sequence), 0) FROM {name}");
            let failed = Error::database("read a journal");
            reader
                .connection
                .query_row(&sql, [], |row| row.get(0))
                .map_err(failed)?
        } else {
            0
        };
        let last = watch::Sender::new(u64::try_from(last).unwrap_or(0));
        let recent = Mutex::new(VecDeque::new());
        Ok(Self {
            name,
            table: name,
            keep: keep.max(1),
            last,
            recent,
        })
    }

    /// The number of the last entry committed; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// After how many entries the oldest are dropped.
    pub(crate) fn trim_every(&self) -> u64 {
        (self.keep / 8).max(1)
    }

    /// Shows a committed entry to those who follow.
    pub(crate) fn committed(&self, sequence: u64, at: i64, body: Arc<[u8]>) {
        let mut recent = self.recent();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(Raw { sequence, at, body });
        drop(recent);
        self.last.send_replace(sequence);
    }

    /// The entries after `cursor` if memory still holds all of them.
    fn recall(&self, cursor: u64, limit: usize) -> Option<Vec<Raw>> {
        let recent = self.recent();
        let oldest = recent.front()?.sequence;
        if cursor + 1 < oldest {
            return None;
        }
        let known = usize::try_from(cursor + 1 - oldest).ok()?;
        Some(recent.iter().skip(known).take(limit).cloned().collect())
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Raw>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Journal<T> {
    pub(crate) fn new(store: Store, shared: Arc<Shared>) -> Self {
        Self {
            store,
            shared,
            value: PhantomData,
        }
    }

    /// Appends `value` at the time `at` (nanoseconds since 1970) and waits until it is committed.
    ///
    /// # Errors
    /// [`Error::Encode`], or the writer's error.
    pub async fn append(&self, at: i64, value: &T) -> Result<(), Error> {
        let batch = Batch::new().append(self, at, value)?;
        self.store.commit(batch, Durability::Process).await
    }

    /// Hands `value` to the writer without waiting for it, unless very many wait already.
    ///
    /// Entries get into the journal in the order of these calls. [`flush`](Self::flush) waits for them.
    ///
    /// # Errors
    /// [`Error::Encode`], or [`Error::Closed`].
    pub async fn post(&self, at: i64, value: &T) -> Result<(), Error> {
        let batch = Batch::new().append(self, at, value)?;
        if self.store.post(batch)? > BACKLOG {
            self.flush().await?;
        }
        Ok(())
    }

    /// Waits until everything handed over before this call is committed; returns the last number.
    ///
    /// # Errors
    /// The writer's error.
    pub async fn flush(&self) -> Result<u64, Error> {
        self.store.commit(Batch::new(), Durability::Process).await?;
        Ok(self.shared.last())
    }

    /// How many follow it: the receivers of [`watch`](Self::watch) that are still there.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.shared.last.receiver_count()
    }

    /// The number of the last committed entry, 0 before the first; changes when entries are added.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.last.subscribe()
    }

    /// Reads at most `limit` entries after number `cursor`, oldest first.
    ///
    /// Entries that have been dropped are passed over. Nothing but an empty answer means that there are
    /// no more.
    ///
    /// # Errors
    /// [`Error::Database`] when reading fails, [`Error::Decode`] when an entry is damaged.
    pub async fn scan(&self, cursor: u64, limit: usize) -> Result<Vec<Entry<T>>, Error> {
        let entries = match self.shared.recall(cursor, limit) {
            Some(entries) => entries,
            None => self.read(cursor, limit).await?,
        };
        entries.into_iter().map(|raw| self.decode(&raw)).collect()
    }

    /// The cursor from which [`scan`](Self::scan) finds every entry of the time `at` (nanoseconds since
    /// 1970) and later.
    ///
    /// # Errors
    /// [`Error::Database`] when reading fails.
    pub async fn cursor_at(&self, at: i64) -> Result<u64, Error> {
        let table = self.shared.table;
        let last = self.shared.last();
        let first = self
            .blocking(move |reader| {
                if !reader.has_table(table)? {
                    return Ok(None);
                }
                let sql = format!("SELECT min(sequence) FROM {table} WHERE at >= ?1");
                let failed = Error::database("read a journal");
                let first: Option<i64> = reader
                    .connection
                    .query_row(&sql, [at], |row| row.get(0))
                    .map_err(failed)?;
                Ok(first.and_then(|first| u64::try_from(first).ok()))
            })
            .await?;
        Ok(first.map_or(last, |first| first.saturating_sub(1)))
    }

    async fn read(&self, cursor: u64, limit: usize) -> Result<Vec<Raw>, Error> {
        let table = self.shared.table;
        self.blocking(move |reader| read_after(reader, table, cursor, limit))
            .await
    }

    async fn blocking<A: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<A, Error> + Send + 'static,
    ) -> Result<A, Error> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.read(work))
            .await
            .unwrap_or(Err(Error::Closed))
    }

    fn decode(&self, raw: &Raw) -> Result<Entry<T>, Error> {
        let value = serde_json::from_slice(&raw.body).map_err(|source| Error::Decode {
            table: self.shared.name,
            key: raw.sequence.to_string(),
            source: Arc::new(source),
        })?;
        Ok(Entry {
            sequence: raw.sequence,
            at: raw.at,
            value,
        })
    }
}

fn read_after(reader: &Reader, table: &str, cursor: u64, limit: usize) -> Result<Vec<Raw>, Error> {
    let failed = || Error::database("read a journal");
    if !reader.has_table(table)? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT sequence, at, body FROM {table} WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
    );
    let cursor = i64::try_from(cursor).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = reader.connection.prepare_cached(&sql).map_err(failed())?;
    let rows = statement
        .query_map([cursor, limit], |row| {
            let (sequence, at): (i64, i64) = (row.get(0)?, row.get(1)?);
            let body: Vec<u8> = row.get(2)?;
            Ok(Raw {
                sequence: u64::try_from(sequence).unwrap_or(0),
                at,
                body: body.into(),
            })
        })
        .map_err(failed())?;
    rows.collect::<Result<Vec<Raw>, _>>().map_err(failed())
}
