//! The records against reality: shims, network namespaces and directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arca_store::{Record, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Options;
use crate::finding::Finding;

/// A container's record, of which only the key and the state matter here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct AnyContainer(Value);

impl Record for AnyContainer {
    const TABLE: &'static str = "containers";
    // Whatever the version, the state is looked for by name.
    const VERSION: u32 = u32::MAX;
}

/// The recorded containers, and whether their record says that they run. An absent database has none.
///
/// # Errors
/// The database cannot be read, or a daemon holds it.
pub(crate) fn recorded(data_root: &Path) -> anyhow::Result<BTreeMap<String, bool>> {
    let path = data_root.join("arca.db");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let store = Store::open(&path)?;
    let all = store.table::<AnyContainer>().load_all()?;
    Ok(all
        .into_iter()
        .map(|(id, record)| {
            let state = record
                .0
                .get("state")
                .map(Value::to_string)
                .unwrap_or_default();
            (
                id,
                ["Running", "Paused", "Starting"]
                    .iter()
                    .any(|word| state.contains(word)),
            )
        })
        .collect())
}

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Actual {
    /// Shims' directories, and whether a shim is alive behind them.
    shims: BTreeMap<String, bool>,
    /// Files of network namespaces.
    netns: BTreeSet<String>,
    /// Directories of containers.
    directories: BTreeSet<String>,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A shim runs for a container that has no record.
    OrphanShim(String),
    /// A record says that the container runs, and no shim does.
    LostContainer(String),
    /// The directory of a shim that is gone, of a container that has no record.
    StaleShimDirectory(String),
    /// A network namespace of a container that has no record.
    OrphanNetns(String),
    /// The directory of a container that has no record.
    OrphanDirectory(String),
}

impl Actual {
    /// Looks at the directories and processes.
    pub(crate) fn look(options: &Options) -> Self {
        let shims = names(&options.exec_root.join("shims"))
            .into_iter()
            .map(|id| {
                let alive = shim_alive(&options.exec_root.join("shims").join(&id));
                (id, alive)
            })
            .collect();
        Self {
            shims,
            netns: names(&options.exec_root.join("netns")),
            directories: names(&options.data_root.join("containers")),
        }
    }

    /// The number of shims that are alive.
    pub(crate) fn running(&self) -> usize {
        self.shims.values().filter(|alive| **alive).count()
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether the process in `shim.pid` is a shim.
fn shim_alive(directory: &Path) -> bool {
    shim_pid(directory).is_some()
}

/// The shim's process ID, when it is alive and still the shim.
pub(crate) fn shim_pid(directory: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(directory.join("shim.pid")).ok()?;
    let pid = text.split_whitespace().next()?.parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    name.starts_with("arca-shim").then_some(pid)
}

/// Finds what does not fit.
pub(crate) fn compare(recorded: &BTreeMap<String, bool>, actual: &Actual) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (id, alive) in &actual.shims {
        match (recorded.contains_key(id), alive) {
            (false, true) => faults.push(Fault::OrphanShim(id.clone())),
            (false, false) => faults.push(Fault::StaleShimDirectory(id.clone())),
            (true, _) => {}
        }
    }
    for (id, runs) in recorded {
        if *runs && actual.shims.get(id) != Some(&true) {
            faults.push(Fault::LostContainer(id.clone()));
        }
    }
    let unknown = |id: &&String| id.len() == 64 && !recorded.contains_key(*id);
    faults.extend(
        actual
            .netns
            .iter()
            .filter(unknown)
            .cloned()
            .map(Fault::OrphanNetns),
    );
    faults.extend(
        actual
            .directories
            .iter()
            .filter(unknown)
            .cloned()
            .map(Fault::OrphanDirectory),
    );
    faults
}

impl Fault {
    /// What this means.
    pub(crate) fn finding(&self) -> Finding {
        let what = "state";
        match self {
            Self::OrphanShim(id) => Finding::error(
                what,
                format!("a shim runs for {id}, of which there is no record"),
            ),
            Self::LostContainer(id) => Finding::warning(
                what,
                format!(
                    "{id} is recorded as running, and has no shim: the daemon records its end when it starts"
                ),
            ),
            Self::StaleShimDirectory(id) => Finding::error(
                what,
                format!("the directory of a shim for {id} is left over"),
            ),
            Self::OrphanNetns(id) => {
                Finding::error(what, format!("a network namespace for {id} is left over"))
            }
            Self::OrphanDirectory(id) => Finding::error(
                what,
                format!("the directory of a container {id} is left over"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    #[test]
    fn what_does_not_fit_is_found() {
        let recorded = [(id('a'), true), (id('b'), true), (id('c'), false)].into();
        let actual = Actual {
            shims: [(id('a'), true), (id('d'), true), (id('e'), false)].into(),
            netns: [id('a'), id('f'), "tmp".to_owned()].into(),
            directories: [id('c'), id('f')].into(),
        };
        assert_eq!(
            compare(&recorded, &actual),
            [
                Fault::OrphanShim(id('d')),
                Fault::StaleShimDirectory(id('e')),
                Fault::LostContainer(id('b')),
                Fault::OrphanNetns(id('f')),
                Fault::OrphanDirectory(id('f')),
            ]
        );
    }

    #[test]
    fn a_host_without_state_has_no_faults() {
        let directory = tempfile::tempdir().unwrap();
        assert!(recorded(directory.path()).unwrap().is_empty());
        let options = Options {
            data_root: directory.path().to_owned(),
            exec_root: directory.path().to_owned(),
            socket: directory.path().join("x.sock"),
            repair: false,
            deep: false,
            json: false,
        };
        assert!(compare(&BTreeMap::new(), &Actual::look(&options)).is_empty());
    }
}
