//! The records against reality: shims, network namespaces and directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arca_shim_proto::{EXIT_FILE, STATE_FILE, StateRecord, start_time};
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

/// The network of a container that runs, of which only the file of its namespace matters here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct AnySandbox(Value);

impl Record for AnySandbox {
    const TABLE: &'static str = "sandboxes";
    const VERSION: u32 = u32::MAX;
}

/// What the engine knows.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Containers, and whether they are said to run.
    pub(crate) containers: BTreeMap<String, bool>,
    /// Names of the files of their network namespaces. None of a daemon that runs: it has more of everything
    /// than it has containers, for steps of builds and for what is just being made.
    pub(crate) netns: Option<BTreeSet<String>>,
}

/// What the database says. An absent one says that there is nothing.
///
/// # Errors
/// The database cannot be read, or a daemon holds it.
pub(crate) fn recorded(data_root: &Path) -> anyhow::Result<Recorded> {
    let path = data_root.join("arca.db");
    if !path.exists() {
        return Ok(Recorded {
            netns: Some(BTreeSet::new()),
            ..Recorded::default()
        });
    }
    let store = Store::open(&path)?;
    let sandboxes = store.table::<AnySandbox>().load_all()?;
    let name = |(_, AnySandbox(record)): (String, AnySandbox)| {
        let path = record.pointer("/sandbox/netns")?.as_str()?;
        Some(Path::new(path).file_name()?.to_str()?.to_owned())
    };
    Ok(Recorded {
        containers: containers(&store)?,
        netns: Some(sandboxes.into_iter().filter_map(name).collect()),
    })
}

fn containers(store: &Store) -> anyhow::Result<BTreeMap<String, bool>> {
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
    /// Shims' directories, and whether a shim is alive behind them or has told how its container ended.
    shims: BTreeMap<String, Shim>,
    /// Files of network namespaces.
    netns: BTreeSet<String>,
    /// Directories of containers.
    directories: BTreeSet<String>,
}

/// What there is of a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shim {
    /// It runs.
    Alive,
    /// It has written how its container ended, which the daemon has not read yet.
    Ended,
    /// Neither.
    Gone,
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
    /// A network namespace that no container has.
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
                let shim = shim(&options.exec_root.join("shims").join(&id));
                (id, shim)
            })
            .collect();
        Self {
            shims,
            netns: names(&options.exec_root.join("netns")),
            directories: names(&options.data_root.join("containers")),
        }
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

fn shim(directory: &Path) -> Shim {
    if directory.join(EXIT_FILE).exists() {
        Shim::Ended
    } else if shim_pid(directory).is_some() {
        Shim::Alive
    } else {
        Shim::Gone
    }
}

/// What the shim has written down about itself and its container.
pub(crate) fn shim_state(directory: &Path) -> Option<StateRecord> {
    let text = std::fs::read(directory.join(STATE_FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The shim's process ID, when it is alive and still the shim.
fn shim_pid(directory: &Path) -> Option<i32> {
    let state = shim_state(directory)?;
    (start_time(state.shim_pid)? == state.shim_started).then_some(state.shim_pid)
}

/// Finds what does not fit.
pub(crate) fn compare(recorded: &Recorded, actual: &Actual) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (id, runs) in &recorded.containers {
        let shim = actual.shims.get(id).copied().unwrap_or(Shim::Gone);
        if *runs && shim == Shim::Gone {
            faults.push(Fault::LostContainer(id.clone()));
        }
    }
    let Some(netns) = &recorded.netns else {
        return faults;
    };
    let unknown = |id: &String| !recorded.containers.contains_key(id);
    for (id, shim) in actual.shims.iter().filter(|(id, _)| unknown(id)) {
        faults.push(match shim {
            Shim::Alive => Fault::OrphanShim(id.clone()),
            Shim::Ended | Shim::Gone => Fault::StaleShimDirectory(id.clone()),
        });
    }
    let left = actual.netns.difference(netns).cloned();
    faults.extend(left.map(Fault::OrphanNetns));
    let left = actual.directories.iter().filter(|id| unknown(id));
    faults.extend(left.cloned().map(Fault::OrphanDirectory));
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
                Finding::error(what, format!("the network namespace {id} is left over"))
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
        let recorded = Recorded {
            containers: [
                (id('a'), true),
                (id('b'), true),
                (id('c'), false),
                (id('g'), true),
            ]
            .into(),
            netns: Some(["0123456789ab".to_owned()].into()),
        };
        let actual = Actual {
            shims: [
                (id('a'), Shim::Alive),
                (id('d'), Shim::Alive),
                (id('e'), Shim::Gone),
                (id('g'), Shim::Ended),
            ]
            .into(),
            netns: ["0123456789ab", "ba9876543210"].map(str::to_owned).into(),
            directories: [id('c'), id('f')].into(),
        };
        let lost = Fault::LostContainer(id('b'));
        assert_eq!(
            compare(&recorded, &actual),
            [
                lost.clone(),
                Fault::OrphanShim(id('d')),
                Fault::StaleShimDirectory(id('e')),
                Fault::OrphanNetns("ba9876543210".to_owned()),
                Fault::OrphanDirectory(id('f')),
            ]
        );

        // What a daemon that runs has besides containers is its own matter.
        let running = Recorded {
            netns: None,
            ..recorded
        };
        assert_eq!(compare(&running, &actual), [lost]);
    }

    #[test]
    fn a_shim_is_alive_while_the_process_that_wrote_its_state_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(shim(path), Shim::Gone);
        let pid = i32::try_from(std::process::id()).unwrap();
        let state = |started: u64| {
            let text = serde_json::json!({"id": id('a'), "shim_pid": pid, "shim_started": started, "init": null});
            std::fs::write(path.join(STATE_FILE), text.to_string()).unwrap();
        };
        let started = start_time(pid).unwrap();
        state(started);
        assert_eq!(shim(path), Shim::Alive);
        state(started + 1);
        assert_eq!(shim(path), Shim::Gone, "another process has the number now");
        std::fs::write(path.join(EXIT_FILE), "{}").unwrap();
        assert_eq!(shim(path), Shim::Ended);
    }

    #[test]
    fn a_host_without_state_has_no_faults() {
        let directory = tempfile::tempdir().unwrap();
        let recorded = recorded(directory.path()).unwrap();
        assert!(recorded.containers.is_empty());
        let options = Options {
            data_root: directory.path().to_owned(),
            exec_root: directory.path().to_owned(),
            socket: directory.path().join("x.sock"),
            repair: false,
            deep: false,
            json: false,
        };
        assert!(compare(&recorded, &Actual::look(&options)).is_empty());
    }
}
