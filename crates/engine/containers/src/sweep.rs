//! What belongs to no container is removed when the daemon starts: shims, networks, root filesystems,
//! directories. A crash in the middle of a create or a removal leaves such things.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arca_runtime::Happening;
use arca_types::ContainerId;

use crate::Error;
use crate::index::Handle;
use crate::recover::Found;
use crate::service::{Containers, Service};
use crate::start::blocking;

impl Containers {
    /// Removes what belongs to no container: shims, root filesystems, directories.
    pub(crate) async fn sweep(
        &self,
        handles: &[Arc<Handle>],
        found: &mut HashMap<ContainerId, Found>,
    ) {
        let service = self.service();
        let known: HashSet<&ContainerId> = handles.iter().map(|handle| &handle.id).collect();
        let orphans: Vec<ContainerId> = found
            .keys()
            .filter(|id| !known.contains(id))
            .cloned()
            .collect();
        for id in orphans {
            tracing::warn!(container.id = %id, "a shim without a container is ended");
            if let Some(Found::Live { .. }) = found.remove(&id) {
                end_orphan(service, &id).await;
            }
            if let Err(error) = service.runtime.remove(&id).await {
                tracing::warn!(container.id = %id, %error, "a shim's directory is not removed");
            }
            if let Err(error) = service.networks.detach(&id).await {
                tracing::warn!(container.id = %id, %error, "a network is not given back");
            }
        }
        let snapshots: Vec<_> = handles.iter().map(|handle| handle.snapshot()).collect();
        let layers: HashSet<&ContainerId> = snapshots
            .iter()
            .flat_map(|container| container.mounts.iter())
            .filter_map(|point| point.layers.as_ref())
            .collect();
        for id in service.storage.snapshots() {
            if !known.contains(&id)
                && !layers.contains(&id)
                && let Err(error) = service.storage.remove(&id).await
            {
                tracing::warn!(container.id = %id, %error, "a root filesystem is not removed");
            }
        }
        self.sweep_directories(&known).await;
    }

    async fn sweep_directories(&self, known: &HashSet<&ContainerId>) {
        let root = self.service().containers_dir();
        let known: HashSet<String> = known.iter().map(|id| id.to_string()).collect();
        let swept = blocking(move || {
            let entries = std::fs::read_dir(&root).map_err(Error::file("read", &root))?;
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !known.contains(&name) && name.parse::<ContainerId>().is_ok() {
                    let path = entry.path();
                    std::fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
                }
            }
            Ok(())
        });
        if let Err(error) = swept.await {
            let error = arca_types::chain(&error);
            tracing::warn!(
                error,
                "directories of containers that are gone are not removed"
            );
        }
    }
}

/// Kills what runs in a shim that belongs to no container.
async fn end_orphan(service: &Arc<Service>, id: &ContainerId) {
    let mut events = service.runtime.subscribe();
    if let Err(error) = service
        .runtime
        .kill(id, None, arca_types::Signal::KILL)
        .await
    {
        tracing::warn!(container.id = %id, %error, "cannot kill");
        return;
    }
    let ended = async {
        while let Some(event) = events.recv().await {
            let over = matches!(
                event.what,
                Happening::Exited(_) | Happening::ShimLost { .. }
            );
            if event.id == *id && over {
                return;
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .is_err()
    {
        tracing::warn!(container.id = %id, "not ended in time");
    }
}
