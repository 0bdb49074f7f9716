//! What is on disk about a volume.

use std::collections::BTreeMap;

use arca_store::Record;
use arca_types::Timestamp;
use serde::{Deserialize, Serialize};

/// The label that marks a volume which nobody named (`docker volume prune` removes those only).
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A volume of the `local` driver (`Volume` in the API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits where nobody named it.
    pub name: String,
    /// What the client wrote beside it; `None` where it wrote nothing at all.
    pub labels: Option<BTreeMap<String, String>>,
    /// The driver's options; `None` where the client gave none.
    pub options: Option<BTreeMap<String, String>>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Volume {
    /// The name of the driver of every volume there is.
    pub const DRIVER: &str = "local";

    /// Was it made without a name?
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }
}

impl Record for Volume {
    const TABLE: &'static str = "volumes";
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_reads_back() {
        let golden = r#"{"name":"data","labels":{"a":"b"},"options":null,"created_at":"2026-01-02T03:04:05Z"}"#;
        let volume: Volume = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&volume).unwrap(), golden);
    }
}
