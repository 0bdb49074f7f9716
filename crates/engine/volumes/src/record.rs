//! What is on disk about a volume.

use std::collections::BTreeMap;

use arca_store::Record;
use arca_types::Timestamp;
use serde::{Deserialize, Serialize};

/// The label that marks a volume which nobody named (`docker volume prune` removes those only).
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A volume (`Volume` in the API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits where nobody named it.
    pub name: String,
    /// The name of its driver.
    #[serde(default = "local", skip_serializing_if = "is_local")]
    pub driver: String,
    /// Where the driver's volumes are found, if not on this host alone (`local`).
    #[serde(default = "local", skip_serializing_if = "is_local")]
    pub scope: String,
    /// What the client wrote beside it; `None` where it wrote nothing at all.
    pub labels: Option<BTreeMap<String, String>>,
    /// The driver's options; `None` where the client gave none.
    pub options: Option<BTreeMap<String, String>>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Volume {
    /// The driver whose volumes are directories, or what mount(8) mounts.
    pub const LOCAL: &str = "local";
    /// The driver whose volumes are file systems of their own.
    pub const BLOCK: &str = "block";
    /// The directory below a volume's own that containers see.
    pub(crate) const DATA: &str = "_data";

    /// The driver's option `name`.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.as_ref()?.get(name).map(String::as_str)
    }

    /// Is it nothing but a directory, which never has to be mounted?
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.driver == Self::LOCAL
            && ["type", "device"]
                .iter()
                .all(|option| self.option(option).is_none_or(str::is_empty))
    }

    /// Are its data the engine's alone? What options of `local` and plugins name is never pruned, as with
    /// dockerd.
    pub(crate) fn is_prunable(&self) -> bool {
        self.is_plain() || self.driver == Self::BLOCK
    }

    /// Does it have a directory of its own on this host?
    pub(crate) fn has_home(&self) -> bool {
        matches!(self.driver.as_str(), Self::LOCAL | Self::BLOCK)
    }

    /// The directory of the data, where the volume has a directory below `root`.
    pub(crate) fn data_below(&self, root: &std::path::Path) -> std::path::PathBuf {
        root.join(&self.name).join(Self::DATA)
    }

    /// A volume of the driver `local` without anything else.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            driver: local(),
            scope: local(),
            labels: None,
            options: None,
            created_at: Timestamp::ZERO,
        }
    }

    /// Was it made without a name?
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }
}

fn local() -> String {
    Volume::LOCAL.to_owned()
}

fn is_local(text: &str) -> bool {
    text == Volume::LOCAL
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
