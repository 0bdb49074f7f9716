//! OCI distribution client: authentication, resolving, fetching, pushing.
//!
//! This crate owns the conversation with a registry: which of its addresses is asked (mirrors, plain
//! HTTP for insecure registries, certificates per host), how a request is authorised (basic, bearer,
//! OAuth2), how a broken download goes on where it ended, and how many run at a time. What the
//! bytes mean, and where they are kept, is left to the engine.
//!
//! A [`Registry`] is made once; [`Registry::remote`] opens a [`Remote`]: one repository, seen with one
//! set of credentials. Nothing here prints or logs a secret.

mod auth;
mod blob;
mod challenge;
mod config;
mod descriptor;
mod endpoint;
mod error;
mod failure;
mod fetch;
mod hosts;
mod login;
mod manifest;
mod push;
mod registry;
mod remote;
mod route;
mod search;
mod tags;
mod tls;
mod token;
mod transport;
mod upload;

pub use auth::{Auth, AuthHeaderError, Secret};
pub use blob::{Blob, Piece};
pub use config::{Config, Insecure, InsecureError, Mirror, MirrorError, Proxies};
pub use descriptor::{Descriptor, DescriptorPlatform, media_type};
pub use error::{Code, Error};
pub use fetch::Fetched;
pub use login::Login;
pub use manifest::{MANIFEST_LIMIT, Manifest, Resolved};
pub use push::Mount;
pub use registry::{DownloadSlot, Registry, UploadSlot};
pub use remote::Remote;
pub use search::Found;
pub use upload::Upload;
