//! The one thread that changes the database.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::Connection;

use crate::Error;
use crate::batch::{Change, Durability};
use crate::journal::Shared;
use crate::queue::{Job, Queue, Reply};
use crate::syncer::Sync;

/// Owns the writing connection.
pub(crate) struct Writer {
    connection: Connection,
    jobs: Arc<Queue<Job>>,
    syncs: Arc<Queue<Sync>>,
    /// Tables known to exist.
    tables: HashSet<&'static str>,
    /// About how many bytes the log has grown by since the last checkpoint was asked for.
    grown: usize,
}

/// A log that has grown by this much is moved into the database.
const CHECKPOINT_AT: usize = 4 << 20;
/// What a change adds to the log besides its body: a page of a table and one of an index.
const CHANGE_COST: usize = 8 << 10;

/// An entry that becomes visible to followers once its transaction is committed.
struct Appended {
    journal: Arc<Shared>,
    sequence: u64,
    at: i64,
    body: Arc<[u8]>,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        jobs: Arc<Queue<Job>>,
        syncs: Arc<Queue<Sync>>,
    ) -> Self {
        Self {
            connection,
            jobs,
            syncs,
            tables: HashSet::new(),
            grown: 0,
        }
    }

    /// Works until the queue is closed and empty, then closes that of the syncer.
    pub(crate) fn run(mut self) {
        while let Some(jobs) = self.jobs.take() {
            let changes: Vec<&Change> = jobs
                .iter()
                .flat_map(|job| job.batch.changes.iter())
                .collect();
            let outcome = if changes.is_empty() {
                Ok(())
            } else {
                self.transact(&changes)
            };
            let grown = changes
                .iter()
                .map(|change| CHANGE_COST + change.size())
                .sum();
            for job in jobs {
                self.answer(job.durability, job.reply, &outcome);
            }
            self.watch_log(grown);
        }
        self.syncs.close();
    }

    fn answer(&self, durability: Durability, reply: Reply, outcome: &Result<(), Error>) {
        if outcome.is_err() || durability == Durability::Process {
            reply.send(outcome.clone());
        } else if let Err(Sync::Flush(reply)) = self.syncs.push(Sync::Flush(reply)) {
            reply.send(Err(Error::Closed));
        }
    }

    fn watch_log(&mut self, grown: usize) {
        self.grown += grown;
        // A refused request means that the store is being closed: that checkpoints anyway.
        if self.grown >= CHECKPOINT_AT && self.syncs.push(Sync::Checkpoint).is_ok() {
            self.grown = 0;
        }
    }

    /// All changes or none; followers of journals hear of theirs afterwards.
    fn transact(&mut self, changes: &[&Change]) -> Result<(), Error> {
        let appended = match self.apply(changes) {
            Ok(appended) => appended,
            Err(error) => {
                // The tables made in this transaction are gone with it.
                self.tables.clear();
                if !self.connection.is_autocommit() {
                    self.connection
                        .execute_batch("ROLLBACK")
                        .map_err(Error::database("roll back"))?;
                }
                return Err(error);
            }
        };
        for entry in appended {
            entry
                .journal
                .committed(entry.sequence, entry.at, entry.body);
        }
        Ok(())
    }

    fn apply(&mut self, changes: &[&Change]) -> Result<Vec<Appended>, Error> {
        let failed = || Error::database("write");
        let mut appended: Vec<Appended> = Vec::new();
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed())?;
        for change in changes {
            match change {
                Change::Put {
                    table,
                    version,
                    key,
                    body,
                } => {
                    self.ensure(table, Layout::Records)?;
                    let sql = format!(
                        "INSERT INTO {table} (key, version, body) VALUES (?1, ?2, ?3) \
                         ON CONFLICT (key) DO UPDATE SET version = ?2, body = ?3"
                    );
                    self.execute(&sql, (key, version, body))?;
                }
                Change::Delete { table, key } => {
                    self.ensure(table, Layout::Records)?;
                    self.execute(&format!("DELETE FROM {table} WHERE key = ?1"), (key,))?;
                }
                Change::Append { journal, at, body } => {
                    let before = appended
                        .iter()
                        .rev()
                        .find(|entry| Arc::ptr_eq(&entry.journal, journal))
                        .map_or_else(|| journal.last(), |entry| entry.sequence);
                    let sequence = before + 1;
                    self.append(journal, sequence, *at, body)?;
                    let (journal, body) = (Arc::clone(journal), Arc::clone(body));
                    appended.push(Appended {
                        journal,
                        sequence,
                        at: *at,
                        body,
                    });
                }
            }
        }
        self.connection.execute_batch("COMMIT").map_err(failed())?;
        Ok(appended)
    }

    fn append(
        &mut self,
        journal: &Shared,
        sequence: u64,
        at: i64,
        body: &[u8],
    ) -> Result<(), Error> {
        let table = journal.table;
        self.ensure(table, Layout::Journal)?;
        let sql = format!("INSERT INTO {table} (sequence, at, body) VALUES (?1, ?2, ?3)");
        let number = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.execute(&sql, (number, at, body))?;
        if sequence.is_multiple_of(journal.trim_every()) {
            let oldest = number.saturating_sub(i64::try_from(journal.keep).unwrap_or(i64::MAX));
            self.execute(
                &format!("DELETE FROM {table} WHERE sequence <= ?1"),
                (oldest,),
            )?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), Error> {
        let failed = || Error::database("write");
        let mut statement = self.connection.prepare_cached(sql).map_err(failed())?;
        statement.execute(parameters).map_err(failed())?;
        Ok(())
    }

    /// Makes a table when it is first written to.
    fn ensure(&mut self, table: &'static str, layout: Layout) -> Result<(), Error> {
        if self.tables.contains(table) {
            return Ok(());
        }
        let columns = match layout {
            Layout::Records => {
                "key TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL"
            }
            Layout::Journal => {
                "sequence INTEGER NOT NULL PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL"
            }
        };
        self.connection
            .execute_batch(&format!("CREATE TABLE IF NOT EXISTS {table} ({columns})"))
            .map_err(Error::database("create a table"))?;
        self.tables.insert(table);
        Ok(())
    }
}

/// The two kinds of tables.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Records,
    Journal,
}
