//! What is on disk about the cache.

use arca_store::Record;
use arca_types::{DiffId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a step has made. The key is its cache key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// Its name for clients.
    pub(crate) id: String,
    /// The layers of each output, the lowest first.
    pub(crate) outputs: Vec<Vec<DiffId>>,
    /// Kind, in BuildKit's words.
    pub(crate) kind: String,
    /// Shown to people.
    pub(crate) description: String,
    pub(crate) created: Timestamp,
    pub(crate) last_used: Timestamp,
    pub(crate) uses: u64,
    /// The bytes in layers that it has added.
    pub(crate) size: u64,
}

impl Record for StepRecord {
    const TABLE: &'static str = "build_steps";
    const VERSION: u32 = 1;
}

/// A directory that is kept between builds. The key is its name on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    /// Its name for clients.
    pub(crate) id: String,
    /// The identity that steps ask for, with what it began as.
    pub(crate) cache: String,
    /// The identity alone, for people.
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) last_used: Timestamp,
    pub(crate) uses: u64,
}

impl Record for MountRecord {
    const TABLE: &'static str = "build_mounts";
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_forms_stay_readable() {
        let layer = format!("sha256:{}", "a".repeat(64));
        let step = format!(
            r#"{{"id":"x","outputs":[["{layer}"]],"kind":"regular","description":"d","created":"2026-01-01T00:00:00Z","last_used":"2026-01-01T00:00:00Z","uses":1,"size":2}}"#
        );
        let read: StepRecord = serde_json::from_str(&step).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), step);
        let mount = r#"{"id":"x","cache":"c","name":"n","created":"2026-01-01T00:00:00Z","last_used":"2026-01-01T00:00:00Z","uses":1}"#;
        let read: MountRecord = serde_json::from_str(mount).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), mount);
    }
}
