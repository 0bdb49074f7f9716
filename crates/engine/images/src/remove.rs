//! Taking names from images, and images away (`ImageDelete`).

use std::collections::BTreeSet;
use std::sync::Arc;

use arca_events::Event;
use arca_types::{ImageId, Platform, Reference};

use crate::error::Error;
use crate::images::{Change, Images};
use crate::index::{Entry, Index, Name, is_id_prefix};
use crate::record::chain_ids;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Also when stopped containers use it, or it has several names.
    pub force: bool,
    /// Leave the images without a name that it was made from.
    pub no_prune: bool,
    /// Only the images of these platforms.
    pub platforms: Vec<Platform>,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, short.
    Untagged(String),
    /// An image by its ID, or a layer by its chain ID.
    Deleted(String),
}

/// A removal while it is planned.
pub(crate) struct Removal<'a> {
    images: &'a Images,
    pub(crate) change: Change,
    pub(crate) removed: Vec<Removed>,
    /// Bytes of the layers that went.
    pub(crate) freed: u64,
    /// What the events say of it.
    reason: Option<&'static str>,
}

impl Images {
    /// Takes a name from an image, and the image away when that was its last one or `name` is an ID.
    ///
    /// # Errors
    /// [`Error::NotFound`]; conflicts with names, children and containers.
    pub async fn remove(&self, name: &str, options: &RemoveOptions) -> Result<Vec<Removed>, Error> {
        self.change_and_collect(|images, index| {
            let mut chosen: Vec<Arc<Entry>> = Vec::new();
            for platform in &options.platforms {
                let entry = index.find(name, Some(platform))?;
                if chosen.iter().all(|other| other.id != entry.id) {
                    chosen.push(entry);
                }
            }
            let mut removal = Removal::new(images, index);
            if !removal.remove_platforms(&chosen, name, options)? {
                let entry = index.find(name, options.platforms.first())?;
                removal.remove(&entry, name, options)?;
            }
            Ok((removal.change, removal.removed))
        })
        .await
    }
}

impl<'a> Removal<'a> {
    pub(crate) fn new(images: &'a Images, index: &Index) -> Self {
        Self {
            images,
            change: Change::on(index),
            removed: Vec::new(),
            freed: 0,
            reason: None,
        }
    }

    /// Has the events say why images go.
    pub(crate) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    fn event(&self, event: Event) -> Event {
        match self.reason {
            Some(reason) => event.with("reason", reason),
            None => event,
        }
    }

    /// Plans the removal of what `name` stands for.
    pub(crate) fn remove(
        &mut self,
        entry: &Arc<Entry>,
        name: &str,
        options: &RemoveOptions,
    ) -> Result<(), Error> {
        let names = self.change.index.names_of(&entry.id);
        let quiet = if is_id_prefix(&entry.id, name) {
            if single_repository(&names) {
                self.check(entry, options.force, false)?;
                for name in &names {
                    self.untag(entry, name)?;
                }
            }
            false
        } else {
            if !options.force && single_repository(&names) {
                self.check_unused(entry, name)?;
            }
            let reference: Reference = name.parse()?;
            self.untag_repository(entry, &reference)?;
            if !self.change.index.names_of(&entry.id).is_empty() {
                return Ok(());
            }
            true
        };
        self.delete(entry, options.force, !options.no_prune, quiet)
    }

    /// Plans the removal of some images of a name that has others, too: the name stays with those. Returns
    /// whether this is such a name.
    fn remove_platforms(
        &mut self,
        chosen: &[Arc<Entry>],
        name: &str,
        options: &RemoveOptions,
    ) -> Result<bool, Error> {
        let reference = name.parse::<Reference>().ok();
        let named = reference.and_then(|reference| self.change.index.name(&reference).cloned());
        let Some(named) = named.filter(|_| !chosen.is_empty()) else {
            return Ok(false);
        };
        let goes = |id: &ImageId| chosen.iter().any(|entry| entry.id == *id);
        if named.record.images.iter().all(goes) {
            return Ok(false);
        }
        for entry in chosen {
            self.check(entry, options.force, false)?;
        }
        // The names of the same content in the repository: with the tag, and with the digest.
        let names: Vec<Arc<Name>> = self.change.index.names.values().cloned().collect();
        for other in names {
            let same = other.record.target.digest == named.record.target.digest
                && other.reference.repository() == named.reference.repository();
            if same {
                let mut record = other.record.clone();
                record.images.retain(|id| !goes(id));
                let change = std::mem::replace(&mut self.change, Change::on(&Index::default()));
                self.change = change.put_name(&other.reference, record)?;
            }
        }
        for entry in chosen {
            if self.change.index.names_of(&entry.id).is_empty() {
                self.delete(entry, options.force, !options.no_prune, false)?;
            }
        }
        Ok(true)
    }

    /// Takes one name; when that was the last tag in its repository, the digests there go too.
    fn untag_repository(&mut self, entry: &Arc<Entry>, reference: &Reference) -> Result<(), Error> {
        let Some(name) = self.change.index.name(reference).cloned() else {
            return Ok(());
        };
        self.untag(entry, &name)?;
        if name.is_digest() {
            return Ok(());
        }
        let rest = self.change.index.names_of(&entry.id);
        let mut same = rest
            .iter()
            .filter(|other| other.reference.repository() == reference.repository());
        if same.clone().all(|other| other.is_digest()) {
            same.try_for_each(|other| self.untag(entry, other))?;
        }
        Ok(())
    }

    fn untag(&mut self, entry: &Arc<Entry>, name: &Name) -> Result<(), Error> {
        let others: Vec<ImageId> = name
            .record
            .images
            .iter()
            .filter(|id| **id != entry.id)
            .cloned()
            .collect();
        let change = std::mem::replace(&mut self.change, Change::on(&Index::default()));
        let event = self.event(Images::event_of(entry, "untag"));
        // The name of an index goes as a whole: images of other platforms lose it too.
        let change = change.delete_name(&name.reference);
        self.change = change.event(&self.images.inner.backends.events, event)?;
        self.removed
            .push(Removed::Untagged(name.reference.familiar()));
        for other in others {
            self.delete_nameless(&other)?;
        }
        Ok(())
    }

    /// The image of another platform that lost its last name goes, unless somebody uses it.
    fn delete_nameless(&mut self, id: &ImageId) -> Result<(), Error> {
        let Some(entry) = self.change.index.images.get(id).cloned() else {
            return Ok(());
        };
        if !self.change.index.names_of(id).is_empty() {
            return Ok(());
        }
        self.delete(&entry, false, true, true)
    }

    /// Plans the removal of an image with what names it has left. `quiet`: a conflict only means that it
    /// stays.
    fn delete(
        &mut self,
        entry: &Arc<Entry>,
        force: bool,
        prune: bool,
        quiet: bool,
    ) -> Result<(), Error> {
        if let Err(conflict) = self.check(entry, force, true) {
            let dangling = self.change.index.names_of(&entry.id).is_empty()
                && !self.change.index.has_children(&entry.id);
            if quiet && (!dangling || self.is_used(&entry.id)) {
                return Ok(());
            }
            return Err(conflict);
        }
        for name in self.change.index.names_of(&entry.id) {
            self.untag(entry, &name)?;
        }
        let event = Images::event_of(entry, "delete");
        let event = arca_events::Event {
            actor: without_labels(event.actor),
            ..event
        };
        let event = self.event(event);
        let before = std::mem::replace(&mut self.change, Change::on(&Index::default()));
        let layers = layers_of_nobody_else(self.images, &before.index, entry);
        let change = before.delete_image(&entry.id);
        self.change = change.event(&self.images.inner.backends.events, event)?;
        self.removed.push(Removed::Deleted(entry.id.to_string()));
        for (chain, size) in layers {
            self.freed += size;
            self.removed.push(Removed::Deleted(chain));
        }
        let parent = entry
            .record
            .parent
            .as_ref()
            .and_then(|id| self.change.index.images.get(id));
        match parent.cloned() {
            Some(parent) if prune => self.delete(&parent, false, true, true),
            _ => Ok(()),
        }
    }

    fn is_used(&self, id: &ImageId) -> bool {
        self.images.uses().values().any(|used| used.image == *id)
    }

    /// A single name can only go when no container uses the image.
    fn check_unused(&self, entry: &Entry, name: &str) -> Result<(), Error> {
        let uses = self.images.uses();
        match uses.iter().find(|(_, used)| used.image == entry.id) {
            Some((container, _)) => Err(Error::ReferenceInUse {
                reference: name.to_owned(),
                container: container.short().to_owned(),
                image: entry.id.digest().short().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// May the image go? Children and running containers keep it in any case, names (when asked) and
    /// stopped containers unless forced.
    fn check(&self, entry: &Entry, force: bool, names_matter: bool) -> Result<(), Error> {
        let image = entry.id.digest().short().to_owned();
        if self.change.index.has_children(&entry.id) {
            return Err(Error::Children(image));
        }
        let uses = self.images.uses();
        let by = |running: bool| {
            let found = uses
                .iter()
                .find(|(_, used)| used.image == entry.id && used.running == running);
            found.map(|(container, _)| container.short().to_owned())
        };
        if let Some(container) = by(true) {
            return Err(Error::RunningContainer { image, container });
        }
        if force {
            return Ok(());
        }
        if names_matter && !self.change.index.names_of(&entry.id).is_empty() {
            return Err(Error::MultipleRepositories(image));
        }
        match by(false) {
            Some(container) => Err(Error::StoppedContainer { image, container }),
            None => Ok(()),
        }
    }
}

fn without_labels(actor: arca_events::Actor) -> arca_events::Actor {
    let attributes = actor
        .attributes
        .into_iter()
        .filter(|(name, _)| name == "name")
        .collect();
    arca_events::Actor {
        id: actor.id,
        attributes,
    }
}

/// Is there at most one tag, and are all names in its repository? (dockerd: `isSingleReference`)
fn single_repository(names: &[Arc<Name>]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let tags: Vec<&Arc<Name>> = names.iter().filter(|name| !name.is_digest()).collect();
    let digests: BTreeSet<_> = names
        .iter()
        .filter(|name| name.is_digest())
        .map(|name| name.reference.repository())
        .collect();
    let single = match tags.as_slice() {
        [] => names.first(),
        [one] => Some(*one),
        _ => return false,
    };
    digests.len() == 1
        && single.is_some_and(|single| digests.contains(single.reference.repository()))
}

/// The layers that go with an image: chain ID and size, the topmost first. Layers below the first one
/// that another image or a container has stay.
fn layers_of_nobody_else(images: &Images, index: &Index, entry: &Entry) -> Vec<(String, u64)> {
    let mut kept: BTreeSet<arca_types::Digest> = BTreeSet::new();
    for other in index.images.values().filter(|other| other.id != entry.id) {
        kept.extend(chain_ids(
            other.record.layers.iter().map(|layer| &layer.diff_id),
        ));
    }
    if images.uses().values().any(|used| used.image == entry.id) {
        return Vec::new();
    }
    let chain = chain_ids(entry.record.layers.iter().map(|layer| &layer.diff_id));
    let sizes = entry.record.layers.iter().map(|layer| layer.size);
    let pairs: Vec<(arca_types::Digest, u64)> = chain.into_iter().zip(sizes).collect();
    pairs
        .into_iter()
        .rev()
        .take_while(|(chain, _)| !kept.contains(chain))
        .map(|(chain, size)| (chain.to_string(), size))
        .collect()
}
