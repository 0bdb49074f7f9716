//! How much room images take (`SystemDataUsage`).

use std::collections::BTreeMap;

use arca_types::DiffId;

use crate::error::Error;
use crate::images::Images;
use crate::list::{ListOptions, Summary};

/// How much room images take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagesUsage {
    /// Bytes of all layers when unpacked, each counted once.
    pub layers_size: u64,
    /// All images, with what they share.
    pub images: Vec<Summary>,
}

impl Images {
    /// Returns how much room images take.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn usage(&self) -> Result<ImagesUsage, Error> {
        let index = self.index();
        let layers: BTreeMap<&DiffId, u64> = index
            .images
            .values()
            .flat_map(|entry| &entry.record.layers)
            .map(|layer| (&layer.diff_id, layer.size))
            .collect();
        let options = ListOptions {
            shared_size: true,
            ..ListOptions::default()
        };
        Ok(ImagesUsage {
            layers_size: layers.values().sum(),
            images: self.list(&options)?,
        })
    }
}
