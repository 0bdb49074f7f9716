//! Images come, are looked at, and go.

#![cfg(test)]

#[path = "../../../../backend/registry/tests/common/mod.rs"]
mod common;
mod kit;

mod archives;
mod cancel;
mod import;
mod properties;
mod pull;
mod push;
mod refused;
mod remove;
mod room;
mod shelf;
mod show;

use std::sync::Arc;

use arca_images::{RemoveOptions, Removed};
use arca_types::ContainerId;

use crate::kit::{Engine, Sample, digest};
use crate::shelf::Shelf;

pub(crate) async fn served(samples: &[(&str, &Sample)]) -> (Engine, common::Server, String) {
    let shelf = Arc::new(Shelf::default());
    for (tag, sample) in samples {
        shelf.image("a/b", tag, sample);
    }
    let server = shelf.serve().await;
    let name = format!("{}/a/b", server.address);
    (Engine::new(), server, name)
}

pub(crate) fn untagged(name: &str) -> Removed {
    Removed::Untagged(name.to_owned())
}

pub(crate) fn force() -> RemoveOptions {
    RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    }
}

pub(crate) fn container() -> ContainerId {
    ContainerId::random()
}

/// What is left of an engine's images after a failure: nothing.
pub(crate) fn assert_nothing_is_left(engine: &Engine, sample: &Sample) {
    assert_eq!(engine.images.count(), 0);
    assert!(engine.storage.blob(&digest(&sample.config)).is_none());
    assert!(engine.storage.blob(&sample.digest()).is_none());
    for (layer, blob) in sample.layers.iter().zip(&sample.blobs) {
        assert!(engine.storage.layer(&digest(layer).into()).is_none());
        assert!(engine.storage.blob(&digest(blob)).is_none());
    }
}
