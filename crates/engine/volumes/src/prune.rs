//! Removing what nobody uses.

use std::collections::BTreeMap;

use arca_events::{Event, Type};

use crate::error::Error;
use crate::filter::Filter;
use crate::volumes::Volumes;

/// What a prune removed (`VolumePruneResponse`).
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// The names of the volumes.
    pub names: Vec<String>,
    /// What they held, in bytes.
    pub bytes: u64,
}

impl Volumes {
    /// Removes the volumes that no container has and that pass `filter`: the anonymous ones, or named
    /// ones too where the filter `all` says so (`VolumePrune`). Those whose data are elsewhere stay: what a
    /// plugin has, and what options of the driver `local` mount.
    ///
    /// # Errors
    /// [`Error::PruneRunning`], or [`Error::InvalidFilterValue`]. A volume that cannot be removed is
    /// passed over.
    pub async fn prune(&self, filter: &Filter) -> Result<Pruned, Error> {
        let _running = self
            .0
            .pruning
            .try_lock()
            .map_err(|_busy| Error::PruneRunning)?;
        let all = filter.flag("all")?.unwrap_or(false);
        let mut unused = BTreeMap::new();
        for listed in self.list(filter)? {
            let wanted = all || listed.volume.is_anonymous();
            if listed.users == 0 && wanted && listed.volume.is_prunable() {
                let name = listed.volume.name.clone();
                let bytes = self.size(&name).await.ok().flatten().unwrap_or(0);
                unused.insert(name, bytes);
            }
        }
        let volumes = self.clone();
        let names = unused.keys().cloned().collect();
        let removed = tokio::spawn(async move { volumes.remove_all(names, false).await });
        let (names, failed) = removed.await.map_err(|_cancelled| Error::ShuttingDown)??;
        if let Some(error) = failed {
            tracing::warn!(%error, "a volume could not be pruned");
        }
        let bytes = names.iter().filter_map(|name| unused.get(name)).sum();
        let pruned = Pruned { names, bytes };
        let event =
            Event::new(Type::Volume, "prune", "").with("reclaimed", pruned.bytes.to_string());
        self.0.events.publish(event).await;
        Ok(pruned)
    }
}
