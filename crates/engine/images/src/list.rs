//! All images (`ImageList`).

use std::collections::BTreeMap;

use arca_registry::Descriptor;
use arca_types::{Digest, ImageId, Timestamp};

use crate::error::Error;
use crate::filters::{ListFilters, glob};
use crate::images::Images;
use crate::index::{Entry, Index, Name};
use crate::record::chain_ids;
use crate::resolve::{repo_digests, repo_tags};

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Images in between, too: those without a name that others were made from.
    pub all: bool,
    /// Which ones.
    pub filters: ListFilters,
    /// Compute how much is shared with other images.
    pub shared_size: bool,
}

/// One image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its ID.
    pub id: ImageId,
    /// The image it was made from here.
    pub parent: Option<ImageId>,
    /// Its short names with tags that passed the filter.
    pub repo_tags: Vec<String>,
    /// Its short names with digests that passed the filter.
    pub repo_digests: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Bytes of all layers when unpacked.
    pub size: u64,
    /// Bytes of the layers that other images have too, when that was asked for.
    pub shared_size: Option<u64>,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// How many containers use it.
    pub containers: usize,
    /// Its manifest.
    pub descriptor: Descriptor,
}

impl Images {
    /// Returns the images that pass the filters, the newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an image named in a filter, [`Error::Pattern`] for a malformed pattern.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<Summary>, Error> {
        let index = self.index();
        let window = Window::of(&index, &options.filters)?;
        let names = index.names_by_image();
        let parents = index.parents();
        let mut containers: BTreeMap<ImageId, usize> = BTreeMap::new();
        for used in self.uses().into_values() {
            *containers.entry(used.image).or_default() += 1;
        }
        let mut found = Vec::new();
        for entry in index.images.values() {
            let all_names = names.get(&entry.id).map(Vec::as_slice).unwrap_or_default();
            let has_children = parents.contains(&entry.id);
            if !window.includes(entry)
                || !options
                    .filters
                    .labels
                    .match_labels(entry.record.labels.as_ref())
            {
                continue;
            }
            let Some(names) = shown_names(options, all_names, has_children)? else {
                continue;
            };
            found.push(summary(
                entry,
                &names,
                containers.get(&entry.id).copied().unwrap_or(0),
            ));
        }
        if options.shared_size {
            share(&index, &mut found);
        }
        found.sort_by_key(|summary| std::cmp::Reverse(summary.created.unwrap_or(Timestamp::ZERO)));
        Ok(found)
    }
}

/// `before`, `since` and `until`.
struct Window {
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Window {
    fn of(index: &Index, filters: &ListFilters) -> Result<Self, Error> {
        let created = |name: &String| {
            let entry = index.find(name, None)?;
            Ok(entry.record.created.unwrap_or(Timestamp::ZERO))
        };
        let before: Vec<Timestamp> = filters
            .before
            .iter()
            .map(created)
            .collect::<Result<_, Error>>()?;
        let since: Vec<Timestamp> = filters
            .since
            .iter()
            .map(created)
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            before: before.into_iter().chain(filters.until).min(),
            since: since.into_iter().max(),
        })
    }

    fn includes(&self, entry: &Entry) -> bool {
        let created = entry.record.created.unwrap_or(Timestamp::ZERO);
        self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
    }
}

/// The names under which an image is shown; `None` when it is not.
fn shown_names<'a>(
    options: &ListOptions,
    names: &[&'a Name],
    has_children: bool,
) -> Result<Option<Vec<&'a Name>>, Error> {
    let filters = &options.filters;
    let mut shown = Vec::new();
    for name in names {
        if matches_reference(&filters.references, name)? {
            shown.push(*name);
        }
    }
    let dangling_only = filters.dangling == Some(true);
    if shown.is_empty() {
        let hidden = (!options.all && has_children)
            || filters.dangling == Some(false)
            || !filters.references.is_empty();
        return Ok((!hidden).then_some(shown));
    }
    let tagged = shown.iter().any(|name| !name.is_digest());
    Ok((!(dangling_only && tagged)).then_some(shown))
}

/// A pattern is for the short name with tag, or without.
fn matches_reference(patterns: &[String], name: &Name) -> Result<bool, Error> {
    if patterns.is_empty() {
        return Ok(true);
    }
    let with_tag = name.reference.familiar();
    let without = name.reference.repository().familiar();
    for pattern in patterns {
        if glob(pattern, &with_tag)? || glob(pattern, &without)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn summary(entry: &Entry, names: &[&Name], containers: usize) -> Summary {
    Summary {
        id: entry.id.clone(),
        parent: entry.record.parent.clone(),
        repo_tags: repo_tags(names.iter().copied()),
        repo_digests: repo_digests(names.iter().copied()),
        created: entry.record.created,
        size: entry.record.size(),
        shared_size: None,
        labels: entry.record.labels.clone(),
        containers,
        descriptor: entry.record.manifest.clone(),
    }
}

/// Adds up the layers, each with all below it, that more than one of the images has.
fn share(index: &Index, found: &mut [Summary]) {
    let mut chains: BTreeMap<ImageId, Vec<(Digest, u64)>> = BTreeMap::new();
    let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
    for entry in index.images.values() {
        let layers = &entry.record.layers;
        let ids = chain_ids(layers.iter().map(|layer| &layer.diff_id));
        for id in &ids {
            *counts.entry(id.clone()).or_default() += 1;
        }
        let sizes = layers.iter().map(|layer| layer.size);
        chains.insert(entry.id.clone(), ids.into_iter().zip(sizes).collect());
    }
    for summary in found {
        let chain = chains
            .get(&summary.id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let shared = chain
            .iter()
            .filter(|(id, _)| counts.get(id).is_some_and(|count| *count > 1));
        summary.shared_size = Some(shared.map(|(_, size)| size).sum());
    }
}
