//! Checking all content, and fetching anew what is damaged (`arca doctor --deep`).

use std::collections::{BTreeMap, BTreeSet};

use arca_registry::Auth;
use arca_storage::{Aside, Check};
use arca_types::{DiffId, Digest, ImageId, Reference, chain};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::images::Images;
use crate::index::{Entry, Index};
use crate::pull::PullRequest;

/// Lines of progress of a repair that nobody reads.
const UNREAD: usize = 16;

/// What a check of everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many blobs were read.
    pub blobs: usize,
    /// How many layers were compared.
    pub layers: usize,
    /// What is not as it should be.
    pub damaged: Vec<Damage>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What.
    pub content: Damaged,
    /// What is wrong with it.
    pub problem: String,
    /// The images that have it, by ID.
    pub images: Vec<ImageId>,
    /// Whether it is whole again; else why not, when that was tried.
    pub repair: Option<Result<(), String>>,
}

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damaged {
    /// A blob.
    Blob(Digest),
    /// An unpacked layer.
    Layer(DiffId),
}

impl Images {
    /// Reads all content and compares it with what its digest says. With `repair`, what is damaged is
    /// fetched again from where its image came.
    ///
    /// # Errors
    /// Failures of storage. What is damaged is no error.
    pub async fn verify(&self, repair: bool) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let contents = self.storage().contents();
        let roots = self.index().roots();
        // What an image refers to and storage does not know is checked as well: it is missing.
        let blobs = roots.blobs.into_iter().chain(contents.blobs);
        let layers = roots.layers.into_iter().chain(contents.layers);
        for digest in blobs.collect::<BTreeSet<_>>() {
            verified.blobs += 1;
            let check = self.storage().check_blob(&digest).await;
            let check = check.map_err(Error::Storage)?;
            self.note(&mut verified, Damaged::Blob(digest), check);
        }
        for diff_id in layers.collect::<BTreeSet<_>>() {
            verified.layers += 1;
            let check = self.storage().check_layer(&diff_id).await;
            let check = check.map_err(Error::Storage)?;
            self.note(&mut verified, Damaged::Layer(diff_id), check);
        }
        if repair {
            self.repair(&mut verified.damaged).await?;
        }
        Ok(verified)
    }

    fn note(&self, verified: &mut Verified, content: Damaged, check: Check) {
        let index = self.index();
        let images = holders(&index, &content);
        let problem = match check {
            Check::Sound => return,
            // It was removed meanwhile.
            Check::Missing if images.is_empty() => return,
            Check::Missing => "it is missing".to_owned(),
            Check::Damaged(problem) => problem,
        };
        tracing::error!(?content, problem, "damaged content");
        verified.damaged.push(Damage {
            content,
            problem,
            images,
            repair: None,
        });
    }

    /// Takes all damaged content away and pulls the images that have it; what does not come is put back.
    async fn repair(&self, damaged: &mut [Damage]) -> Result<(), Error> {
        let index = self.index();
        let mut asides = Vec::new();
        for damage in damaged.iter_mut() {
            let known = damage.images.iter().any(|id| has_source(&index, id));
            let aside = if known {
                self.set_aside(&damage.content).await?
            } else {
                damage.repair = Some(Err("no registry is known to have it".to_owned()));
                None
            };
            if known && aside.is_none() && self.is_there(&damage.content) {
                let why = "a container stands on it: remove the container first";
                damage.repair = Some(Err(why.to_owned()));
            }
            asides.push(aside);
        }
        let mut problems = BTreeMap::new();
        let wanted = damaged.iter().filter(|damage| damage.repair.is_none());
        let images: BTreeSet<ImageId> = wanted.flat_map(|damage| damage.images.clone()).collect();
        for id in images {
            if let Err(problem) = self.fetch_again(&index, &id).await {
                tracing::warn!(image = %id, problem, "cannot be fetched again");
                problems.insert(id, problem);
            }
        }
        for (damage, aside) in damaged.iter_mut().zip(asides) {
            if damage.repair.is_some() {
                continue;
            }
            let there = self.is_there(&damage.content);
            match aside {
                Some(aside) if there => aside.discard(),
                Some(aside) => aside.put_back().await.map_err(Error::Storage)?,
                None => {}
            }
            let why = || {
                let mut found = damage.images.iter().filter_map(|id| problems.get(id));
                let told = found.next().cloned();
                told.unwrap_or_else(|| "its registry has something else".to_owned())
            };
            damage.repair = Some(if there { Ok(()) } else { Err(why()) });
        }
        Ok(())
    }

    async fn set_aside(&self, content: &Damaged) -> Result<Option<Aside>, Error> {
        let storage = self.storage();
        let aside = match content {
            Damaged::Blob(digest) => storage.set_aside_blob(digest).await,
            Damaged::Layer(diff_id) => storage.set_aside_layer(diff_id).await,
        };
        aside.map_err(Error::Storage)
    }

    /// Pulls an image by one of its names with digests.
    async fn fetch_again(&self, index: &Index, id: &ImageId) -> Result<(), String> {
        let Some(entry) = index.images.get(id) else {
            return Ok(());
        };
        let mut problem = String::new();
        for name in index.names_of(id).iter().filter(|name| name.is_digest()) {
            match self.pull_again(&name.reference, entry).await {
                Ok(()) => return Ok(()),
                Err(error) => problem = chain(&error),
            }
        }
        Err(problem)
    }

    async fn pull_again(&self, reference: &Reference, entry: &Entry) -> Result<(), Error> {
        let platform = Some(entry.record.platform.clone());
        let name = reference.to_string();
        let request = PullRequest::new(&name, "", platform, Auth::Anonymous)?;
        let (sink, mut lines) = mpsc::channel(UNREAD);
        let unread = async { while lines.recv().await.is_some() {} };
        let pull = async {
            let outcome = self.pull(&request, &sink).await;
            drop(sink);
            outcome
        };
        let (outcome, ()) = tokio::join!(pull, unread);
        outcome
    }

    fn is_there(&self, content: &Damaged) -> bool {
        match content {
            Damaged::Blob(digest) => self.storage().blob(digest).is_some(),
            Damaged::Layer(diff_id) => self.storage().layer(diff_id).is_some(),
        }
    }

    /// Is all content of an image here? A pull of one that is not brings it.
    pub(crate) fn is_complete(&self, entry: &Entry) -> bool {
        let storage = self.storage();
        let documents = [entry.id.digest(), &entry.record.manifest.digest];
        let mut layers = entry.record.layers.iter();
        documents
            .into_iter()
            .all(|blob| storage.blob(blob).is_some())
            && layers.all(|layer| {
                storage.blob(&layer.blob.digest).is_some()
                    && storage.layer(&layer.diff_id).is_some()
            })
    }
}

/// Is a registry known that the image came from?
fn has_source(index: &Index, id: &ImageId) -> bool {
    index.names_of(id).iter().any(|name| name.is_digest())
}

/// The images that have something.
fn holders(index: &Index, content: &Damaged) -> Vec<ImageId> {
    let has = |entry: &Entry| match content {
        Damaged::Blob(digest) => {
            let mut names = index.names.values();
            let mut layers = entry.record.layers.iter();
            entry.id.digest() == digest
                || entry.record.manifest.digest == *digest
                || layers.any(|layer| layer.blob.digest == *digest)
                || names.any(|name| {
                    name.record.target.digest == *digest && name.record.images.contains(&entry.id)
                })
        }
        Damaged::Layer(diff_id) => entry
            .record
            .layers
            .iter()
            .any(|layer| layer.diff_id == *diff_id),
    };
    let entries = index.images.values().filter(|entry| has(entry));
    entries.map(|entry| entry.id.clone()).collect()
}
