//! Containers for unit tests.

use std::sync::Arc;

use arca_types::{ContainerId, Timestamp};

use crate::container::{Container, Ends};
use crate::model::{ContainerSpec, NetworkSettings};
use crate::state::{Run, State};

/// A container that was created and never ran.
pub(crate) fn container(id: &ContainerId, name: &str) -> Container {
    let image = format!("sha256:{}", "a".repeat(64));
    Container {
        id: id.clone(),
        name: name.into(),
        created: Timestamp::from_unix(1_700_000_000, 0),
        image: image.parse().unwrap(),
        path: "sh".into(),
        args: Arc::from([]),
        spec: Arc::new(ContainerSpec {
            image: "busybox".into(),
            ..ContainerSpec::default()
        }),
        state: State::Created,
        run: Run::default(),
        restart_count: 0,
        health: None,
        mounts: Arc::from([]),
        network: Arc::new(NetworkSettings::default()),
        driver: "overlay2",
        dir: std::path::Path::new("/nowhere").into(),
        ends: Ends::default(),
    }
}
