//! What is in the cache, and removing it.

use std::collections::BTreeMap;
use std::time::Duration;

use arca_store::{Batch, Durability};
use arca_types::{Digest, Timestamp};

use super::gc::GcPolicy;
use super::record::StepRecord;
use crate::Error;
use crate::builder::Builder;
use crate::solve::blocking;

/// Something in the cache (`BuildCache` of the API).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheItem {
    /// Its name.
    pub id: String,
    /// `regular`, `exec.cachemount`, `source.local`, `source.git.checkout`.
    pub kind: String,
    /// Shown to people.
    pub description: String,
    /// Is a build using it?
    pub in_use: bool,
    /// Is it also part of an image?
    pub shared: bool,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last.
    pub last_used: Timestamp,
    /// How often it was used.
    pub uses: u64,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Step(Digest),
    Mount(String),
}

/// What is to be removed (`BuildPrune`, `Control.Prune`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Also what images share.
    pub all: bool,
    /// `id`, `until`, `unused-for`, `type`, `description`, `inuse`, `shared`, `private`; a name that ends
    /// in `!` means its opposite.
    pub filters: BTreeMap<String, Vec<String>>,
    /// Used within this time: kept.
    pub keep_duration: Option<Duration>,
    /// So many bytes are always kept.
    pub reserved_space: u64,
    /// More bytes than this are not kept; 0 for no limit.
    pub max_used_space: u64,
    /// So many bytes of the disk are to be free; 0 for no limit.
    pub min_free_space: u64,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The items.
    pub items: Vec<CacheItem>,
    /// Their bytes.
    pub space_reclaimed: u64,
}

impl From<GcPolicy> for PruneRequest {
    fn from(policy: GcPolicy) -> Self {
        Self {
            all: policy.all,
            filters: policy.filters,
            keep_duration: policy.keep_duration,
            reserved_space: policy.reserved_space,
            max_used_space: policy.max_used_space,
            min_free_space: policy.min_free_space,
        }
    }
}

impl PruneRequest {
    /// Whether its filters are filters, whatever is in the cache.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn check(&self) -> Result<(), Error> {
        check_filters(&self.filters)
    }
}

impl Builder {
    /// What is in the cache, the one that was made last first.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the daemon ends.
    pub async fn usage(&self) -> Result<Vec<CacheItem>, Error> {
        let builder = self.clone();
        let mut items = blocking(move || Ok(builder.items())).await?;
        let shared = self.shared_layers().await;
        for item in &mut items {
            if let Place::Step(key) = &item.place {
                let records = self.0.cache.records();
                // Its own layers are on top; those below are other items.
                let outputs = records.get(key).map(|held| &held.record.outputs);
                let mut own = outputs
                    .into_iter()
                    .flatten()
                    .filter_map(|output| output.last());
                item.shared = own.any(|layer| shared.contains(layer));
            }
        }
        items.sort_by_key(|item| std::cmp::Reverse(item.created.unix_nanoseconds()));
        Ok(items)
    }

    async fn shared_layers(&self) -> std::collections::BTreeSet<arca_types::DiffId> {
        self.0.backends.images.all_layers()
    }

    fn items(&self) -> Vec<CacheItem> {
        let cache = &self.0.cache;
        let steps: Vec<CacheItem> = {
            let records = cache.records();
            let items = records.iter();
            items
                .map(|(key, held)| step_item(key, &held.record))
                .collect()
        };
        let mounts = cache.mounts.list().into_iter().map(|listed| CacheItem {
            id: listed.record.id,
            kind: "exec.cachemount".to_owned(),
            description: format!("cached mount {} from exec", listed.record.name),
            in_use: listed.in_use,
            shared: false,
            size: listed.size,
            created: listed.record.created,
            last_used: listed.record.last_used,
            uses: listed.record.uses,
            place: Place::Mount(listed.name),
        });
        steps.into_iter().chain(mounts).collect()
    }

    /// Removes what nobody uses, the one that was used longest ago first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter that is none; [`Error::Store`].
    pub async fn prune(&self, request: &PruneRequest) -> Result<Pruned, Error> {
        let pruned = self.prune_items(request).await?;
        self.0.locals.clear();
        self.reclaim().await?;
        Ok(pruned)
    }

    async fn reclaim(&self) -> Result<(), Error> {
        let images = &self.0.backends.images;
        let collected = images.reclaim().await;
        collected.map_err(|error| Error::Images(Box::new(error)))?;
        Ok(())
    }

    async fn prune_items(&self, request: &PruneRequest) -> Result<Pruned, Error> {
        let mut items = self.usage().await?;
        let total: u64 = items.iter().map(|item| item.size).sum();
        let now = self.0.backends.clock.now();
        let mut kept = Vec::new();
        for item in items.drain(..) {
            if selects(request, &item, now)? {
                kept.push(item);
            }
        }
        kept.sort_by_key(|item| item.last_used.unix_nanoseconds());
        let limited =
            request.max_used_space > 0 || request.min_free_space > 0 || request.reserved_space > 0;
        let mut excess = if limited {
            self.excess(request, total)
        } else {
            u64::MAX
        };
        let mut pruned = Pruned::default();
        for item in kept {
            if excess == 0 {
                break;
            }
            if self.remove(&item).await? {
                excess = excess.saturating_sub(item.size);
                pruned.space_reclaimed += item.size;
                pruned.items.push(item);
            }
        }
        Ok(pruned)
    }

    /// How many bytes have to go.
    fn excess(&self, request: &PruneRequest, total: u64) -> u64 {
        let spare = total.saturating_sub(request.reserved_space);
        let mut excess = match request.max_used_space {
            0 => 0,
            limit => total.saturating_sub(limit),
        };
        if request.min_free_space > 0 {
            let free = rustix::fs::statvfs(&self.0.config.data_root).map_or(u64::MAX, |found| {
                found.f_bavail.saturating_mul(found.f_frsize)
            });
            excess = excess.max(request.min_free_space.saturating_sub(free));
        }
        if request.max_used_space == 0 && request.min_free_space == 0 {
            excess = spare;
        }
        excess.min(spare)
    }

    async fn remove(&self, item: &CacheItem) -> Result<bool, Error> {
        match &item.place {
            Place::Step(key) => {
                let batch = Batch::new().delete::<StepRecord>(key.as_str());
                let cache = &self.0.cache;
                let saved = cache.store.commit(batch, Durability::Process).await;
                saved.map_err(Error::Store)?;
                Ok(cache.records().remove(key).is_some())
            }
            Place::Mount(name) => {
                let (mounts, name) = (self.0.cache.mounts.clone(), name.clone());
                blocking(move || mounts.remove(&name)).await
            }
        }
    }

    /// Applies the rules of the garbage collection.
    pub async fn collect(&self) {
        match self.apply_policies().await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "the build cache was trimmed"),
            Err(error) => {
                let error = arca_types::chain(&error);
                tracing::warn!(error, "the build cache was not trimmed");
            }
        }
    }

    /// Returns how many bytes were removed.
    async fn apply_policies(&self) -> Result<u64, Error> {
        let (mut bytes, mut any) = (0, false);
        for policy in &self.0.config.gc {
            let request = PruneRequest::from(policy.clone());
            let pruned = self.prune_items(&request).await?;
            any |= !pruned.items.is_empty();
            bytes += pruned.space_reclaimed;
        }
        if any {
            self.reclaim().await?;
        }
        Ok(bytes)
    }
}

fn step_item(key: &Digest, record: &StepRecord) -> CacheItem {
    CacheItem {
        id: record.id.clone(),
        kind: record.kind.clone(),
        description: record.description.clone(),
        in_use: false,
        shared: false,
        size: record.size,
        created: record.created,
        last_used: record.last_used,
        uses: record.uses,
        place: Place::Step(key.clone()),
    }
}

/// Is an item one that may go?
fn selects(request: &PruneRequest, item: &CacheItem, now: Timestamp) -> Result<bool, Error> {
    if item.in_use || (item.shared && !request.all) {
        return Ok(false);
    }
    let age = now.since(item.last_used);
    if request.keep_duration.is_some_and(|keep| age < keep) {
        return Ok(false);
    }
    for (name, values) in &request.filters {
        let (name, negated) = match name.strip_suffix('!') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let mut any = values.is_empty();
        for value in values {
            any |= matches(item, name, value, age)?;
        }
        if any == negated {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Are these filters, whatever they are about?
pub(super) fn check_filters(filters: &BTreeMap<String, Vec<String>>) -> Result<(), Error> {
    let some = CacheItem {
        id: String::new(),
        kind: String::new(),
        description: String::new(),
        in_use: false,
        shared: false,
        size: 0,
        created: Timestamp::ZERO,
        last_used: Timestamp::ZERO,
        uses: 0,
        place: Place::Mount(String::new()),
    };
    for (name, values) in filters {
        let name = name.strip_suffix('!').unwrap_or(name);
        for value in values {
            matches(&some, name, value, Duration::ZERO)?;
        }
    }
    Ok(())
}

fn matches(item: &CacheItem, name: &str, value: &str, age: Duration) -> Result<bool, Error> {
    let flag = |is: bool| match value {
        "" | "true" | "1" => Ok(is),
        "false" | "0" => Ok(!is),
        _ => Err(Error::Invalid(format!("invalid filter '{name}={value}'"))),
    };
    match name {
        "id" => Ok(item.id.starts_with(value)),
        "type" => Ok(item.kind == value),
        "description" => Ok(item.description.contains(value)),
        "inuse" => flag(item.in_use),
        "shared" => flag(item.shared),
        "private" => flag(!item.shared),
        "until" | "unused-for" => {
            let keep = arca_dockerfile::parse_duration(value)
                .ok()
                .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
                .ok_or_else(|| {
                    Error::Invalid(format!(
                        "failed to parse filter: {name}={value}: invalid duration"
                    ))
                })?;
            Ok(age >= Duration::from_nanos(keep))
        }
        _ => Err(Error::Invalid(format!("invalid filter '{name}'"))),
    }
}
