//! Removing images that nobody uses when the disk gets full.
//!
//! Off unless the operator switches it on. Between a high and a low watermark of the disk's use, images
//! go that no container has, that are not pinned, and that nobody used for some time: the one whose last
//! use is longest ago first. Each removal is an event with the attribute `reason=gc`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arca_storage::{Roots, Space};
use arca_types::{Classify, ErrorKind, ImageId, Timestamp};

use crate::error::Error;
use crate::filters::glob;
use crate::images::Images;
use crate::index::{Entry, Index};
use crate::remove::{Removal, RemoveOptions, Removed};
use crate::resolve::repo_tags;

/// What the events of removed images say.
const REASON: &str = "gc";

/// When images are removed to make room, and which ones stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcPolicy {
    /// The collection begins by itself when more of the disk is used than this, in percent.
    pub high: u8,
    /// It ends when no more than this is used, in percent.
    pub low: u8,
    /// What was used within this time stays.
    pub keep: Duration,
    /// Images with this label stay, whatever its value.
    pub pin_label: String,
    /// Images with a name that one of these patterns fits stay (as the filter `reference`).
    pub pinned: Vec<String>,
}

impl Default for GcPolicy {
    fn default() -> Self {
        Self {
            high: 85,
            low: 80,
            keep: Duration::from_secs(24 * 3600),
            pin_label: "arca.pin".to_owned(),
            pinned: Vec::new(),
        }
    }
}

impl GcPolicy {
    /// Checks the patterns.
    ///
    /// # Errors
    /// [`Error::Pattern`].
    pub fn check(&self) -> Result<(), Error> {
        let mut patterns = self.pinned.iter();
        patterns.try_for_each(|pattern| glob(pattern, "").map(drop))
    }
}

/// What a collection did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcReport {
    /// The room before.
    pub before: Space,
    /// The room afterwards; as it would be, when nothing was removed.
    pub after: Space,
    /// The images that went, or would, in their order.
    pub images: Vec<GcImage>,
    /// Is less used now than the low watermark?
    pub enough: bool,
}

/// An image that went, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcImage {
    /// Its ID.
    pub id: ImageId,
    /// Its short names with tags.
    pub names: Vec<String>,
    /// When it was used last.
    pub last_used: Timestamp,
    /// Bytes that went with it: layers, unpacked and as they came, that nobody else has.
    pub size: u64,
}

impl Images {
    /// Sets what the next collections go by.
    pub fn set_gc_policy(&self, policy: GcPolicy) {
        *self.policy_lock() = Arc::new(policy);
    }

    /// Removes images until no more of the disk is used than the low watermark of the policy. `dry_run`
    /// only tells which ones.
    ///
    /// # Errors
    /// [`Error::PruneRunning`] when another collection or a prune runs; failures of storage and the store.
    pub async fn gc(&self, dry_run: bool) -> Result<GcReport, Error> {
        let policy = self.gc_policy();
        let Ok(_running) = self.inner.pruning.try_lock() else {
            return Err(Error::PruneRunning);
        };
        self.save_uses().await?;
        let before = self.space().await?;
        let planned = self.plan(&policy, before.excess(policy.low))?;
        let mut report = GcReport {
            before,
            after: before,
            images: Vec::new(),
            enough: before.excess(policy.low) == 0,
        };
        for image in planned {
            if report.enough {
                break;
            }
            if dry_run {
                report.after.available = report.after.available.saturating_add(image.size);
            } else if !self.collect_one(&policy, &image).await? {
                continue;
            } else {
                report.after = self.space().await?;
            }
            report.enough = report.after.excess(policy.low) == 0;
            report.images.push(image);
        }
        Ok(report)
    }

    /// Looks at the disk again and again, and collects when more is used than the high watermark.
    pub async fn keep_room(self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            if let Err(error) = self.collect_when_full().await {
                tracing::error!(error = arca_types::chain(&error), "no room was made");
            }
        }
    }

    async fn collect_when_full(&self) -> Result<(), Error> {
        self.save_uses().await?;
        let high = self.gc_policy().high;
        let space = self.space().await?;
        if space.used_percent() <= high {
            return Ok(());
        }
        let report = match self.gc(false).await {
            // Whoever prunes makes room too.
            Err(Error::PruneRunning) => return Ok(()),
            other => other?,
        };
        let (used, images) = (report.after.used_percent(), report.images.len());
        if report.enough {
            tracing::info!(images, used, "made room on the disk");
        } else {
            tracing::warn!(
                images,
                used,
                "the disk stays full: all other images are used or pinned"
            );
        }
        Ok(())
    }

    /// Removes one image, if it may still go. Returns whether it went.
    async fn collect_one(&self, policy: &GcPolicy, image: &GcImage) -> Result<bool, Error> {
        let outcome = self.change_and_collect(|images, index| {
            let mut removal = Removal::new(images, index).because(REASON);
            if let Some(entry) = index.images.get(&image.id)
                && images.may_go(policy, index, entry)?.is_some()
            {
                removal.remove_whole(entry)?;
            }
            Ok((removal.change, removal.removed))
        });
        let removed = match outcome.await {
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(false),
            other => other?,
        };
        let waited = self.storage().reclaimed().await;
        waited.map_err(Error::Storage)?;
        let went = removed.contains(&Removed::Deleted(image.id.to_string()));
        if went {
            tracing::info!(image = %image.id, names = ?image.names, "removed to make room");
        }
        Ok(went)
    }

    /// Which images go until so many bytes are free: the longest unused first.
    fn plan(&self, policy: &GcPolicy, excess: u64) -> Result<Vec<GcImage>, Error> {
        let mut index = (*self.index()).clone();
        let mut candidates = Vec::new();
        for entry in index.images.values() {
            if let Some(last_used) = self.may_go(policy, &index, entry)? {
                candidates.push((last_used, Arc::clone(entry)));
            }
        }
        candidates.sort_by_key(|(last_used, entry)| (*last_used, entry.record.created));
        let (mut planned, mut freed) = (Vec::new(), 0);
        for (last_used, entry) in candidates {
            if freed >= excess {
                break;
            }
            let mut removal = Removal::new(self, &index);
            let went = removal.remove_whole(&entry).is_ok();
            let after = removal.change.index;
            if !went || after.images.contains_key(&entry.id) {
                continue;
            }
            let size = self.size_of(&index, &after);
            let names = index.names_of(&entry.id);
            planned.push(GcImage {
                id: entry.id.clone(),
                names: repo_tags(names.iter().map(Arc::as_ref)),
                last_used,
                size,
            });
            freed += size;
            index = after;
        }
        Ok(planned)
    }

    /// When an image that may go was used last; `None` when it stays.
    fn may_go(
        &self,
        policy: &GcPolicy,
        index: &Index,
        entry: &Entry,
    ) -> Result<Option<Timestamp>, Error> {
        let labels = entry.record.labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key(&policy.pin_label))
            || self.uses().values().any(|used| used.image == entry.id)
        {
            return Ok(None);
        }
        for name in index.names_of(&entry.id) {
            let (full, bare) = (
                name.reference.familiar(),
                name.reference.repository().familiar(),
            );
            for pattern in &policy.pinned {
                if glob(pattern, &full)? || glob(pattern, &bare)? {
                    return Ok(None);
                }
            }
        }
        let now = self.inner.backends.clock.now();
        let last_used = self.last_used(&entry.id).unwrap_or(now);
        Ok((now.since(last_used) >= policy.keep).then_some(last_used))
    }

    /// The bytes of what `before` refers to and `after` does not.
    fn size_of(&self, before: &Index, after: &Index) -> u64 {
        let (before, after): (Roots, Roots) = (before.roots(), after.roots());
        let storage = self.storage();
        let layers = before.layers.difference(&after.layers);
        let unpacked = layers.filter_map(|id| storage.layer(id)).map(|l| l.size);
        let blobs: BTreeSet<_> = before.blobs.difference(&after.blobs).collect();
        let packed = blobs.into_iter().filter_map(|blob| storage.blob(blob));
        unpacked.sum::<u64>() + packed.map(|blob| blob.size).sum::<u64>()
    }

    async fn space(&self) -> Result<Space, Error> {
        self.storage().space().await.map_err(Error::Storage)
    }
}

impl Removal<'_> {
    /// Plans the removal of an image with all its names.
    fn remove_whole(&mut self, entry: &Arc<Entry>) -> Result<(), Error> {
        let names = self.change.index.names_of(&entry.id);
        let options = RemoveOptions::default();
        if names.is_empty() {
            return self.remove(entry, entry.id.digest().hex(), &options);
        }
        for name in names {
            let full = name.reference.to_string();
            if self.change.index.names.contains_key(&full) {
                self.remove(entry, &full, &options)?;
            }
        }
        Ok(())
    }
}
