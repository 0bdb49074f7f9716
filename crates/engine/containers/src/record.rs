//! A container on disk.

use std::path::Path;
use std::sync::Arc;

use arca_store::Record;
use arca_types::{ContainerId, ImageId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::container::{Container, Ends};
use crate::model::{ContainerSpec, Health, MountPoint, NetworkSettings};
use crate::state::{Run, State};

/// What clients asked for and what has to outlive the daemon, beside the container's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Intent {
    /// A client stopped or killed it: `unless-stopped` does not start it again.
    pub(crate) stopped_by_client: bool,
    /// The restart policy does not apply to the end of this run.
    pub(crate) no_restart: bool,
    /// It is stopped because it was unhealthy: start it again, whatever the policy says.
    pub(crate) unhealthy: bool,
    /// A client asked for a restart: start it when it has ended.
    pub(crate) restart: bool,
    /// A client asked for its removal, with its anonymous volumes or without.
    pub(crate) remove: Option<bool>,
}

/// A container as the store keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) id: ContainerId,
    pub(crate) name: Arc<str>,
    pub(crate) created: Timestamp,
    pub(crate) image: ImageId,
    pub(crate) path: Arc<str>,
    pub(crate) args: Arc<[String]>,
    pub(crate) spec: Arc<ContainerSpec>,
    pub(crate) state: State,
    pub(crate) run: Run,
    pub(crate) restart_count: u32,
    pub(crate) mounts: Arc<[MountPoint]>,
    pub(crate) network: Arc<NetworkSettings>,
    #[serde(default)]
    pub(crate) health: Option<Arc<Health>>,
    #[serde(default)]
    pub(crate) intent: Intent,
}

impl Record for ContainerRecord {
    const TABLE: &'static str = "containers";
    const VERSION: u32 = 1;
}

impl ContainerRecord {
    /// The record of a container and what was asked of it.
    pub(crate) fn new(container: &Container, intent: Intent) -> Self {
        let of = container.clone();
        Self {
            id: of.id,
            name: of.name,
            created: of.created,
            image: of.image,
            path: of.path,
            args: of.args,
            spec: of.spec,
            state: of.state,
            run: of.run,
            restart_count: of.restart_count,
            mounts: of.mounts,
            network: of.network,
            health: of.health,
            intent,
        }
    }

    /// Back to a container; its files are below `containers`.
    pub(crate) fn into_container(self, containers: &Path, driver: &'static str) -> Container {
        Container {
            dir: containers.join(self.id.as_str()).into(),
            id: self.id,
            name: self.name,
            created: self.created,
            image: self.image,
            path: self.path,
            args: self.args,
            spec: self.spec,
            state: self.state,
            ends: Ends {
                count: 0,
                exit_code: self.run.exit_code,
            },
            run: self.run,
            restart_count: self.restart_count,
            mounts: self.mounts,
            network: self.network,
            health: self.health,
            driver,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first release wrote; every later one has to read it.
    const GOLDEN: &str = include_str!("../golden/container-1.json");

    #[test]
    fn the_first_version_is_still_read() {
        let record: ContainerRecord = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(&*record.name, "web");
        assert_eq!(record.spec.host.resources.memory, 67_108_864);
        assert!(matches!(record.state, State::Running(process) if process.pid == 4711));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let record: ContainerRecord = serde_json::from_str(GOLDEN).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        let again: ContainerRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        let container = again.into_container(Path::new("/c"), "overlay2");
        assert!(container.dir.starts_with("/c"));
    }
}
