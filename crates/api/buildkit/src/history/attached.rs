//! What the record of a build names by digest, and a client reads from the content store.

use std::collections::BTreeMap;

use arca_build::Part;
use arca_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::api;

/// Content by its digest, as it is kept.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attached {
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Attached {
    /// Adds content; returns what a record says of it.
    pub(super) fn add(&mut self, media_type: &str, content: Vec<u8>) -> api::Descriptor {
        let described = descriptor(media_type, &content);
        self.blobs.insert(described.digest.clone(), content);
        described
    }
}

/// What a record says of content.
pub(super) fn descriptor(media_type: &str, content: &[u8]) -> api::Descriptor {
    api::Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::sha256(&Sha256::digest(content).into()).to_string(),
        size: i64::try_from(content.len()).unwrap_or(i64::MAX),
        annotations: [].into(),
    }
}

/// Which part of a build has the content of that digest, if its record names it.
pub(super) fn part_with(record: &api::BuildHistoryRecord, digest: &str) -> Option<Part> {
    let is = |named: &api::Descriptor| named.digest == digest;
    if record.logs.as_ref().is_some_and(is) {
        return Some(Part::Told);
    }
    let results = record.results.values().chain(&record.result);
    let mut attached = results
        .flat_map(|result| result.attestations.iter().chain(result.results.values()))
        .chain(&record.trace)
        .chain(&record.external_error);
    attached.any(is).then_some(Part::Attached)
}
