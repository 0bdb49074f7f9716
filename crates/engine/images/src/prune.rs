//! Removing what nobody uses (`ImagePrune`).

use std::sync::Arc;

use arca_events::{Event, Type};
use arca_types::{Classify, ErrorKind};

use crate::error::Error;
use crate::filters::PruneFilters;
use crate::images::Images;
use crate::index::{Entry, Index};
use crate::remove::{Removal, RemoveOptions, Removed};

/// What a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names, images and layers.
    pub removed: Vec<Removed>,
    /// Bytes of the layers that went, unpacked.
    pub reclaimed: u64,
}

impl Images {
    /// Removes images that no container uses: those without a tag, or all.
    ///
    /// # Errors
    /// [`Error::PruneRunning`] when another prune runs; failures of the store.
    pub async fn prune(&self, filters: &PruneFilters) -> Result<Pruned, Error> {
        let Ok(_running) = self.inner.pruning.try_lock() else {
            return Err(Error::PruneRunning);
        };
        let candidates = candidates(&self.index(), filters);
        let mut pruned = Pruned::default();
        for entry in candidates {
            let outcome = self.change(|images, index| {
                let mut removal = Removal::new(images, index);
                prune_one(&mut removal, index, &entry, filters)?;
                Ok((removal.change, (removal.removed, removal.freed)))
            });
            match outcome.await {
                Ok((removed, freed)) => {
                    pruned.removed.extend(removed);
                    pruned.reclaimed += freed;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    tracing::debug!(image = %entry.id, %error, "not pruned");
                }
                Err(error) => return Err(error),
            }
        }
        self.reclaim().await?;
        let event =
            Event::new(Type::Image, "prune", "").with("reclaimed", pruned.reclaimed.to_string());
        self.inner.backends.events.publish(event).await;
        Ok(pruned)
    }
}

/// The images that may go by what is known of them alone, newest first so that children go before parents.
fn candidates(index: &Index, filters: &PruneFilters) -> Vec<Arc<Entry>> {
    let names = index.names_by_image();
    let parents = index.parents();
    let mut found: Vec<Arc<Entry>> = index
        .images
        .values()
        .filter(|entry| {
            let names = names.get(&entry.id).map(Vec::as_slice).unwrap_or_default();
            let tagged = names.iter().any(|name| !name.is_digest());
            let in_between = names.is_empty() && parents.contains(&entry.id);
            let old = filters
                .until
                .is_none_or(|until| entry.record.created.is_some_and(|created| created <= until));
            old && !in_between
                && !(filters.dangling && tagged)
                && filters.labels.match_labels(entry.record.labels.as_ref())
        })
        .cloned()
        .collect();
    found.sort_by_key(|entry| std::cmp::Reverse(entry.record.created));
    found
}

fn prune_one(
    removal: &mut Removal<'_>,
    index: &Index,
    entry: &Arc<Entry>,
    filters: &PruneFilters,
) -> Result<(), Error> {
    if !index.images.contains_key(&entry.id) {
        return Ok(());
    }
    let names = index.names_of(&entry.id);
    if filters.dangling && names.iter().any(|name| !name.is_digest()) {
        return Ok(());
    }
    let options = RemoveOptions::default();
    if names.is_empty() {
        return removal.remove(entry, entry.id.digest().hex(), &options);
    }
    for name in names {
        if removal
            .change
            .index
            .names
            .contains_key(&name.reference.to_string())
        {
            removal.remove(entry, &name.reference.to_string(), &options)?;
        }
    }
    Ok(())
}
