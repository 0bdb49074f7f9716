//! The JSON types and stream framing of the Docker Engine API, version 1.51.
//!
//! Requests are read with [`decode`]: keys without regard to case, `null` as the zero value, unknown
//! keys ignored, as Go's decoder does for dockerd. Answers are plain serde: a field is left out, `null`
//! or empty exactly where dockerd's is (`golden/` holds recorded answers, the tests compare with them).
//! Older versions of the API are made from these types by the server's `compat`.
//!
//! In the types `Option<Vec<_>>` and `Option<BTreeMap<_>>` are Go's slices and maps that may be nil and
//! are then written as `null`; a plain `Vec` marked to be skipped when empty is one with `omitempty`.
#![expect(missing_docs, reason = "fields are documented by the API definition")]

pub mod container;
pub mod decode;
pub mod event;
pub mod exec;
pub mod frame;
pub mod image;
pub mod network;
pub mod progress;
pub mod store;
mod syntax;
pub mod system;
mod value;
pub mod volume;

pub use decode::decode;
pub use value::{Empty, StrSlice};

use serde::{Deserialize, Serialize};

/// The body of every error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResponse {
    pub message: String,
}

/// The answer of operations that only give an ID (`POST /commit`, exec create).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IdResponse {
    pub id: String,
}

#[cfg(test)]
mod golden;
