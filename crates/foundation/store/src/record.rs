//! What a table holds, and how it is read back.

use std::marker::PhantomData;
use std::sync::Arc;

use rusqlite::OptionalExtension as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::store::Reader;
use crate::{Error, Store};

/// A type whose values are kept in a table of their own, each under a key.
///
/// The stored form is the type's JSON together with [`VERSION`](Self::VERSION). When the shape changes,
/// the version goes up by one and [`upgrade`](Self::upgrade) learns to read the old one.
pub trait Record: Serialize + DeserializeOwned + Send + 'static {
    /// The name of the table: lower-case letters and underscores.
    const TABLE: &'static str;
    /// The version of what is written.
    const VERSION: u32;

    /// Turns the JSON of an older version into that of [`VERSION`](Self::VERSION).
    ///
    /// # Errors
    /// When `value` is not what `version` says it is.
    fn upgrade(version: u32, value: Value) -> Result<Value, serde_json::Error> {
        let _unchanged_since = version;
        Ok(value)
    }
}

/// The records of one type. A cheap handle.
#[derive(Debug)]
pub struct Table<R> {
    store: Store,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            record: PhantomData,
        }
    }
}

impl<R: Record> Table<R> {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            record: PhantomData,
        }
    }

    /// Reads every record with its key, ordered by key. For the start of a service: it blocks.
    ///
    /// # Errors
    /// [`Error::Database`] when reading fails, [`Error::Decode`] or [`Error::TooNew`] when a record
    /// cannot be understood.
    pub fn load_all(&self) -> Result<Vec<(String, R)>, Error> {
        let rows = self.store.read(|reader| read_all(reader, R::TABLE))?;
        rows.into_iter()
            .map(|(key, version, body)| {
                let record = decode::<R>(&key, version, &body)?;
                Ok((key, record))
            })
            .collect()
    }

    /// Reads one record. It blocks; services hold what they need in memory.
    ///
    /// # Errors
    /// As [`load_all`](Self::load_all).
    pub fn get(&self, key: &str) -> Result<Option<R>, Error> {
        let row = self.store.read(|reader| read_one(reader, R::TABLE, key))?;
        row.map(|(version, body)| decode::<R>(key, version, &body))
            .transpose()
    }
}

/// Takes a stored body apart, upgrading it when it is old.
fn decode<R: Record>(key: &str, version: u32, body: &[u8]) -> Result<R, Error> {
    let damaged = |source| Error::Decode {
        table: R::TABLE,
        key: key.to_owned(),
        source: Arc::new(source),
    };
    if version > R::VERSION {
        let what = format!("record {key:?} of {}", R::TABLE);
        return Err(Error::TooNew {
            what,
            found: version,
            known: R::VERSION,
        });
    }
    if version == R::VERSION {
        return serde_json::from_slice(body).map_err(damaged);
    }
    let old = serde_json::from_slice(body).map_err(damaged)?;
    let new = R::upgrade(version, old).map_err(damaged)?;
    serde_json::from_value(new).map_err(damaged)
}

type Row = (String, u32, Vec<u8>);

fn read_all(reader: &Reader, table: &'static str) -> Result<Vec<Row>, Error> {
    let failed = || Error::database("read a table");
    if !reader.has_table(table)? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT key, version, body FROM {table} ORDER BY key");
    let mut statement = reader.connection.prepare(&sql).map_err(failed())?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(failed())?;
    rows.collect::<Result<Vec<Row>, _>>().map_err(failed())
}

fn read_one(
    reader: &Reader,
    table: &'static str,
    key: &str,
) -> Result<Option<(u32, Vec<u8>)>, Error> {
    if !reader.has_table(table)? {
        return Ok(None);
    }
    let sql = format!("SELECT version, body FROM {table} WHERE key = ?1");
    reader
        .connection
        .query_row(&sql, [key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(Error::database("read a record"))
}
