//! Bringing rows and directories into agreement, at start.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use arca_store::{Batch, Durability, Record, Store};
use arca_types::{Algorithm, Digest};

use crate::error::Error;
use crate::limit;
use crate::paths::Paths;
use crate::record::{BlobRecord, Driver, LayerRecord, SnapshotRecord};
use crate::state::State;

/// Reads the rows; drops those whose content is missing or was not synced before a reboot, and moves
/// what has no row into the trash.
pub(crate) fn sweep(paths: &Paths, store: &Store, boot: &str) -> Result<State, Error> {
    let mut sweep = Sweep {
        paths,
        store,
        boot,
        state: State::default(),
        gone: Batch::new(),
    };
    sweep.layers()?;
    sweep.snapshots()?;
    sweep.blobs()?;
    trash(paths, &paths.tmp(), names(&paths.tmp())?)?;
    if !sweep.gone.is_empty() {
        store
            .commit_blocking(sweep.gone, Durability::Process)
            .map_err(Error::Store)?;
    }
    Ok(sweep.state)
}

/// A sweep under way.
struct Sweep<'a> {
    paths: &'a Paths,
    store: &'a Store,
    boot: &'a str,
    state: State,
    /// The rows to be deleted.
    gone: Batch,
}

impl Sweep<'_> {
    fn layers(&mut self) -> Result<(), Error> {
        let mut found = names(&self.paths.layers())?;
        found.remove(&OsString::from("init"));
        found.remove(&OsString::from("empty"));
        for (key, record) in self
            .store
            .table::<LayerRecord>()
            .load_all()
            .map_err(Error::Store)?
        {
            self.state.last_number = self.state.last_number.max(record.number);
            let name = OsString::from(record.number.to_string());
            let is_there = found.contains(&name);
            match key.parse() {
                Ok(diff_id) if is_there && !self.is_lost(record.unsynced.as_ref()) => {
                    found.remove(&name);
                    self.state.layers.insert(diff_id, record);
                }
                _ => self.forget::<LayerRecord>(&key, is_there),
            }
        }
        trash(self.paths, &self.paths.layers(), found)
    }

    fn snapshots(&mut self) -> Result<(), Error> {
        let mut found = names(&self.paths.snapshots())?;
        let rows = self
            .store
            .table::<SnapshotRecord>()
            .load_all()
            .map_err(Error::Store)?;
        for (key, record) in rows {
            self.state.last_number = self.state.last_number.max(record.number);
            if !found.remove(&OsString::from(record.number.to_string())) {
                // Its directory was made just before the power failed, and nothing written to it.
                restore(self.paths, &record)?;
            }
            self.limit_again(&record);
            self.state.snapshots.insert(key, record);
        }
        for name in &found {
            limit::lift(&self.paths.snapshots().join(name));
        }
        trash(self.paths, &self.paths.snapshots(), found)
    }

    /// Brings the limit of a snapshot back, if the power failed before it was on the disk.
    fn limit_again(&self, record: &SnapshotRecord) {
        let directory = self.paths.snapshot(record.number);
        let Some(size) = record.size else {
            return;
        };
        if limit::is_limited(&directory) {
            return;
        }
        let within: &[&str] = match record.driver {
            Driver::Overlay => &["upper", "work"],
            Driver::Vfs => &[],
        };
        if let Err(error) = limit::limit(&directory, within, size) {
            tracing::error!(path = %directory.display(), %error, "a container is without its limit");
        }
    }

    fn blobs(&mut self) -> Result<(), Error> {
        let mut found = HashMap::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            found.insert(algorithm, names(&self.paths.blobs(algorithm.as_str()))?);
        }
        for (key, record) in self
            .store
            .table::<BlobRecord>()
            .load_all()
            .map_err(Error::Store)?
        {
            let Ok(digest) = key.parse::<Digest>() else {
                self.forget::<BlobRecord>(&key, false);
                continue;
            };
            let name = OsString::from(digest.hex());
            let names = found.entry(digest.algorithm()).or_default();
            let is_there = names.contains(&name);
            if is_there && !self.is_lost(record.unsynced.as_ref()) {
                names.remove(&name);
                self.state.blobs.insert(digest, record);
            } else {
                self.forget::<BlobRecord>(&key, is_there);
            }
        }
        for (algorithm, found) in found {
            trash(self.paths, &self.paths.blobs(algorithm.as_str()), found)?;
        }
        Ok(())
    }

    /// Was it written before a reboot, and never synced?
    fn is_lost(&self, unsynced: Option<&String>) -> bool {
        unsynced.is_some_and(|written| written != self.boot)
    }

    fn forget<R: Record>(&mut self, key: &str, is_there: bool) {
        let table = R::TABLE;
        if is_there {
            tracing::warn!(
                table,
                key,
                "dropped: it was not on the disk when the machine went down"
            );
        } else {
            tracing::error!(table, key, "dropped: its content is missing");
        }
        self.gone = std::mem::take(&mut self.gone).delete::<R>(key);
    }
}

fn restore(paths: &Paths, record: &SnapshotRecord) -> Result<(), Error> {
    let directory = paths.snapshot(record.number);
    tracing::error!(path = %directory.display(), "a snapshot is missing and starts over empty");
    match record.driver {
        Driver::Overlay => crate::snapshots::make_overlay(&directory, None),
        Driver::Vfs => Ok(()),
    }
}

/// The names in a directory.
fn names(directory: &Path) -> Result<HashSet<OsString>, Error> {
    let failed = || Error::io("read", directory);
    let mut names = HashSet::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        names.insert(entry.map_err(failed())?.file_name());
    }
    Ok(names)
}

fn trash(paths: &Paths, directory: &Path, names: HashSet<OsString>) -> Result<(), Error> {
    for name in names {
        let from = directory.join(&name);
        tracing::debug!(path = %from.display(), "left behind by an earlier run");
        let to = paths
            .trash()
            .join(format!("swept-{}", arca_types::random_hex(8)));
        fs::rename(&from, &to).map_err(Error::io("remove", &from))?;
    }
    Ok(())
}
