//! The builds that were. What clients are told of one is kept as they are told it, in BuildKit's messages;
//! what it means is the business of who speaks with them (`arca-buildkit`).
//!
//! A build is kept when it has ended, so that one that a crash has ended is not known afterwards. What it
//! told and what belongs to its record, which may be much, are in files of their own and read when somebody asks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arca_store::{Batch, Durability, Record, Store};
use arca_types::{Digest, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::Error;
use crate::builder::Builder;
use crate::solve::blocking;

/// The most builds that are kept, however young they are.
const LIMIT: usize = 1000;

/// How many builds are remembered (`builder.history` of `daemon.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryConfig {
    /// So many are remembered however old they are.
    pub entries: usize,
    /// Those beyond are remembered for this long.
    pub age: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            entries: 50,
            age: Duration::from_secs(48 * 3600),
        }
    }
}

/// A build that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastBuild {
    /// Its ID, by its client's choice.
    pub id: String,
    /// When it ended.
    pub completed: Timestamp,
    /// Is it kept until somebody removes it?
    pub pinned: bool,
    /// What is told of it: `BuildHistoryRecord`.
    pub record: Vec<u8>,
}

/// What is kept of a build beside its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What it told while it ran.
    Told,
    /// What its record names by digest: its provenance, its trace, configurations of images.
    Attached,
}

impl Part {
    const ALL: [Self; 2] = [Self::Told, Self::Attached];

    /// The ending of its file.
    fn extension(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Attached => "attached",
        }
    }
}

/// What is on disk of a build that has ended. The key is its ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PastRecord {
    completed: Timestamp,
    pinned: bool,
    /// Base64 of `BuildHistoryRecord`.
    record: String,
}

impl Record for PastRecord {
    const TABLE: &'static str = "build_history";
    const VERSION: u32 = 1;
}

/// The builds that have ended.
#[derive(Debug)]
pub(crate) struct Past {
    store: Store,
    root: PathBuf,
    builds: Mutex<BTreeMap<String, PastRecord>>,
}

impl Past {
    /// Reads the records; files without one go. It blocks.
    pub(crate) fn open(root: PathBuf, store: Store) -> Result<Self, Error> {
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let table = store.table::<PastRecord>();
        let builds: BTreeMap<String, PastRecord> = table
            .load_all()
            .map_err(Error::Store)?
            .into_iter()
            .collect();
        let parts = |id: &String| Part::ALL.map(|part| file_name(id, part));
        let known: Vec<String> = builds.keys().flat_map(parts).collect();
        let entries = std::fs::read_dir(&root).map_err(Error::file("read", &root))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(&name) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(Self {
            store,
            root,
            builds: Mutex::new(builds),
        })
    }

    fn builds(&self) -> MutexGuard<'_, BTreeMap<String, PastRecord>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: &str, part: Part) -> PathBuf {
        self.root.join(file_name(id, part))
    }

    /// The builds that are remembered no longer, now that there is one more.
    fn outdated(&self, config: HistoryConfig, now: Timestamp) -> Vec<String> {
        let builds = self.builds();
        let mut unpinned: Vec<(&String, Timestamp)> = builds
            .iter()
            .filter(|(_, record)| !record.pinned)
            .map(|(id, record)| (id, record.completed))
            .collect();
        unpinned.sort_by_key(|(_, completed)| std::cmp::Reverse(completed.unix_nanoseconds()));
        let outdated = unpinned
            .into_iter()
            .enumerate()
            .skip(config.entries)
            .filter(|(place, (_, completed))| {
                *place >= LIMIT || now.since(*completed) >= config.age
            });
        outdated.map(|(_, (id, _))| id.clone()).collect()
    }
}

impl Builder {
    /// The builds that have ended, the first of them first.
    #[must_use]
    pub fn past_builds(&self) -> Vec<PastBuild> {
        let mut past: Vec<PastBuild> = self
            .0
            .past
            .builds()
            .iter()
            .map(|(id, record)| PastBuild {
                id: id.clone(),
                completed: record.completed,
                pinned: record.pinned,
                record: STANDARD.decode(&record.record).unwrap_or_default(),
            })
            .collect();
        past.sort_by_key(|build| build.completed.unix_nanoseconds());
        past
    }

    /// Keeps a build, with those of its parts that are not kept yet. Returns the IDs of the builds that are
    /// forgotten for it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Store`].
    pub async fn remember(
        &self,
        build: PastBuild,
        parts: Vec<(Part, Vec<u8>)>,
    ) -> Result<Vec<String>, Error> {
        let past = &self.0.past;
        for (part, content) in parts {
            let path = past.path(&build.id, part);
            blocking(move || write(&path, &content)).await?;
        }
        let record = PastRecord {
            completed: build.completed,
            pinned: build.pinned,
            record: STANDARD.encode(&build.record),
        };
        let batch = Batch::new().put(&build.id, &record).map_err(Error::Store)?;
        let saved = past.store.commit(batch, Durability::Process).await;
        saved.map_err(Error::Store)?;
        past.builds().insert(build.id, record);
        let outdated = past.outdated(self.0.config.history, self.0.backends.clock.now());
        for id in &outdated {
            self.forget(id).await?;
        }
        Ok(outdated)
    }

    /// A part of a build that has ended; `None` when that is not known.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn part(&self, id: &str, part: Part) -> Result<Option<Vec<u8>>, Error> {
        let path = self.0.past.path(id, part);
        blocking(move || match std::fs::File::open(&path) {
            Ok(file) => {
                let read = zstd::decode_all(file);
                read.map(Some).map_err(Error::file("read", &path))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("open", &path)(error)),
        })
        .await
    }

    /// Forgets a build that has ended.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Store`].
    pub async fn forget(&self, id: &str) -> Result<(), Error> {
        let past = &self.0.past;
        let batch = Batch::new().delete::<PastRecord>(id);
        let saved = past.store.commit(batch, Durability::Process).await;
        saved.map_err(Error::Store)?;
        past.builds().remove(id);
        let paths = Part::ALL.map(|part| past.path(id, part));
        blocking(move || {
            for path in paths {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::file("remove", &path)(error));
                    }
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    /// Does work that [`Builder::close`] waits for.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }
}

/// IDs are what clients say: files are named by their digests.
fn file_name(id: &str, part: Part) -> String {
    let digest = sha2::Sha256::digest(id.as_bytes());
    let digest = Digest::sha256(&digest.into());
    format!("{}.{}", digest.hex(), part.extension())
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let packed = zstd::encode_all(content, 1).map_err(Error::file("compress", path))?;
    let new = path.with_added_extension("new");
    std::fs::write(&new, packed).map_err(Error::file("write", &new))?;
    std::fs::rename(&new, path).map_err(Error::file("rename", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: i64, pinned: bool) -> PastRecord {
        PastRecord {
            completed: Timestamp::from_unix(second, 0),
            pinned,
            record: String::new(),
        }
    }

    #[test]
    fn what_is_beyond_the_number_goes_when_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("db")).unwrap();
        let past = Past::open(dir.path().join("h"), store).unwrap();
        let config = HistoryConfig {
            entries: 2,
            age: Duration::from_secs(100),
        };
        for (id, second, pinned) in [("a", 1, false), ("b", 2, true), ("c", 3, false)] {
            past.builds().insert(id.to_owned(), record(second, pinned));
        }
        assert!(
            past.outdated(config, Timestamp::from_unix(500, 0))
                .is_empty()
        );
        past.builds().insert("d".to_owned(), record(90, false));
        assert!(
            past.outdated(config, Timestamp::from_unix(95, 0))
                .is_empty()
        );
        assert_eq!(past.outdated(config, Timestamp::from_unix(101, 0)), ["a"]);
    }

    #[test]
    fn the_stored_form_stays_readable() {
        let stored = r#"{"completed":"2026-01-01T00:00:00Z","pinned":true,"record":"AA=="}"#;
        let read: PastRecord = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }

    #[test]
    fn a_file_that_no_record_names_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("db")).unwrap();
        let root = dir.path().join("h");
        let past = Past::open(root.clone(), store.clone()).unwrap();
        for part in Part::ALL {
            write(&past.path("../../x", part), b"told").unwrap();
        }
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2);
        Past::open(root.clone(), store).unwrap();
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }
}
