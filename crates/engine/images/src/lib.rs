//! What Docker means by an image.
//!
//! This crate owns the images: which there are, what they are called, what is in their configuration,
//! who uses them; how they come (pull, load, import, [`Images::create`]) and go (remove, prune, save).
//! Content (blobs, layers) is kept by `arca-storage`, the conversation with registries is led by
//! `arca-registry`; containers tell by [`Images::acquire`] what they use.
//!
//! Records are in `arca-store`; [`Images`] holds an index of them in memory. A name is written after what
//! it means is durable. What nothing refers to is collected by storage.

mod add;
mod built;
mod changes;
mod compress;
mod config;
mod decompress;
mod distribution;
mod error;
mod filters;
mod gc;
mod history;
mod image;
mod images;
mod import;
mod index;
mod inspect;
mod layout;
mod leftovers;
mod list;
mod load;
mod manifest;
mod manifests;
mod progress;
mod prune;
mod pull;
mod push;
mod record;
mod remove;
mod resolve;
mod save;
mod search;
mod tag;
mod tarstream;
mod until;
mod usage;
mod used;
mod verify;

pub use add::NewImage;
pub use arca_registry::{
    Auth, AuthHeaderError, Descriptor, DescriptorPlatform, Found, Login, Registry, Secret,
};
pub use built::{Built, BuiltImage};
pub use compress::{LayerCompression, LayerForm};
pub use config::{ConfigError, Healthcheck, HistoryEntry, ImageConfig, RunConfig};
pub use distribution::Distribution;
pub use error::Error;
pub use filters::{Filters, ListFilters, PruneFilters};
pub use gc::{GcImage, GcPolicy, GcReport};
pub use history::HistoryItem;
pub use image::{Image, ImageUse};
pub use images::{Backends, Images};
pub use import::ImportRequest;
pub use inspect::{InspectOptions, Inspected};
pub use list::{ListOptions, Summary};
pub use load::LoadRequest;
pub use manifest::check_manifest;
pub use manifests::{ImageHere, ManifestKind, ManifestSummary, Manifests};
pub use progress::{Detail, Progress, ProgressSink, bar};
pub use prune::Pruned;
pub use pull::{Base, Described, PullRequest};
pub use push::PushRequest;
pub use record::chain_ids;
pub use remove::{RemoveOptions, Removed};
pub use save::SaveRequest;
pub use search::SearchRequest;
pub use tarstream::ByteStream;
pub use until::duration;
pub use usage::ImagesUsage;
pub use verify::{Damage, Damaged, Verified};
