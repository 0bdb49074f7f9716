//! What arca's own operations on the image store answer; dockerd has no such operations.

use serde::{Deserialize, Serialize};

/// The answer of `POST /arca/images/gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GcReport {
    pub dry_run: bool,
    /// Bytes of the file system.
    pub total: u64,
    pub available_before: u64,
    pub available_after: u64,
    /// Is less used than the low watermark?
    pub enough: bool,
    pub images: Vec<GcImage>,
}

/// An image that went, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GcImage {
    pub id: String,
    pub repo_tags: Vec<String>,
    /// RFC 3339.
    pub last_used: String,
    /// Bytes.
    pub size: u64,
}

/// The answer of `POST /arca/images/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VerifyReport {
    pub blobs: u64,
    pub layers: u64,
    pub damaged: Vec<Damage>,
}

/// Something that is not what its digest says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Damage {
    /// `blob` or `layer`.
    pub kind: String,
    pub digest: String,
    pub problem: String,
    /// IDs.
    pub images: Vec<String>,
    pub repaired: bool,
    /// Why it could not be repaired, when that was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repair_error: String,
}
