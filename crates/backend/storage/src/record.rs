//! The rows of storage.

use arca_store::Record;
use arca_types::{DiffId, Digest};
use serde::{Deserialize, Serialize};

/// How snapshots are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// By overlayfs: layers are shared.
    Overlay,
    /// By copying: works everywhere.
    Vfs,
}

impl Driver {
    /// The name dockerd has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay => "overlay2",
            Self::Vfs => "vfs",
        }
    }
}

/// A blob; the key is its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    pub(crate) size: u64,
    /// The boot in which it was written, as long as it is not known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsynced: Option<String>,
}

impl Record for BlobRecord {
    const TABLE: &'static str = "blobs";
    const VERSION: u32 = 1;
}

/// An unpacked layer; the key is its diff ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The name of its directory.
    pub(crate) number: u32,
    /// The bytes in its files.
    pub(crate) size: u64,
    /// What it was unpacked from.
    pub(crate) blob: Digest,
    /// As for blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsynced: Option<String>,
}

impl Record for LayerRecord {
    const TABLE: &'static str = "layers";
    const VERSION: u32 = 1;
}

/// A snapshot; the key is the ID of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    /// The name of its directory.
    pub(crate) number: u32,
    pub(crate) driver: Driver,
    /// What it is on top of, the lowest first.
    pub(crate) layers: Vec<DiffId>,
    /// The bytes that may be written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
}

impl Record for SnapshotRecord {
    const TABLE: &'static str = "snapshots";
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_forms_stay_readable() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let blob = r#"{"size":7,"unsynced":"boot"}"#;
        let layer = format!(r#"{{"number":3,"size":9,"blob":"{digest}"}}"#);
        let snapshot = format!(r#"{{"number":4,"driver":"overlay","layers":["{digest}"]}}"#);
        let limited = snapshot.replace("]}", "],\"size\":7}");
        let read: BlobRecord = serde_json::from_str(blob).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), blob);
        let read: LayerRecord = serde_json::from_str(&layer).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), layer);
        let read: SnapshotRecord = serde_json::from_str(&snapshot).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), snapshot);
        let read: SnapshotRecord = serde_json::from_str(&limited).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), limited);
    }
}
