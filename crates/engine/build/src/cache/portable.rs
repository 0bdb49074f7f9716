//! The cache in images: a member of an image's configuration says which keys gave which of its layers.
//! With `--cache-to type=inline` it is the image itself that has it, with `type=registry` an image that is
//! nothing but cache.
//!
//! Keys are arca's own: BuildKit's caches are of no use here, nor are these to BuildKit.

use std::collections::{BTreeMap, BTreeSet};

use arca_types::{DiffId, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Cache;
use crate::Error;

/// The member of the configuration.
const MEMBER: &str = "arca.build.cache.v1";
/// The most layers of an image that is nothing but cache.
const LIMIT: usize = 128;

/// A key and the layers that it gave, as their places among those of the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Entry {
    key: Digest,
    layers: Vec<usize>,
}

/// An image that is nothing but cache.
#[derive(Debug)]
pub(crate) struct CacheImage {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<DiffId>,
}

impl Cache {
    /// Says in an image's configuration which keys gave its layers.
    pub(crate) fn inline(&self, config: &[u8], layers: &[DiffId]) -> Result<Vec<u8>, Error> {
        let of_layers: Vec<Entry> = {
            let records = self.records();
            let known = records.iter().filter_map(|(key, held)| {
                let [output] = held.record.outputs.as_slice() else {
                    return None;
                };
                (!output.is_empty() && layers.starts_with(output)).then(|| Entry {
                    key: key.clone(),
                    layers: (0..output.len()).collect(),
                })
            });
            known.collect()
        };
        with_entries(config, of_layers)
    }

    /// Those of the keys that gave layers of a result.
    pub(crate) fn keys_of(&self, keys: &BTreeSet<Digest>, layers: &[DiffId]) -> BTreeSet<Digest> {
        let records = self.records();
        let of_result = keys.iter().filter(|key| {
            let held = records.get(key);
            held.is_some_and(|held| match held.record.outputs.as_slice() {
                [output] => layers.starts_with(output),
                _ => false,
            })
        });
        of_result.cloned().collect()
    }

    /// Makes an image of what these keys gave.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when that are too many layers for one image.
    pub(crate) fn image(&self, keys: &BTreeSet<Digest>) -> Result<CacheImage, Error> {
        let mut places: BTreeMap<DiffId, usize> = BTreeMap::new();
        let mut layers = Vec::new();
        let mut entries = Vec::new();
        {
            let records = self.records();
            for (key, held) in keys.iter().filter_map(|key| records.get_key_value(key)) {
                let [output] = held.record.outputs.as_slice() else {
                    continue;
                };
                let mut place = |layer: &DiffId| {
                    *places.entry(layer.clone()).or_insert_with(|| {
                        layers.push(layer.clone());
                        layers.len() - 1
                    })
                };
                entries.push(Entry {
                    key: key.clone(),
                    layers: output.iter().map(&mut place).collect(),
                });
            }
        }
        if layers.len() > LIMIT {
            let text = format!("a cache of more than {LIMIT} layers is not supported");
            return Err(Error::Unsupported(text));
        }
        let host = arca_types::Platform::host();
        let diff_ids: Vec<&str> = layers.iter().map(DiffId::as_str).collect();
        let config = json!({
            "architecture": host.architecture,
            "os": host.os,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = with_entries(config.to_string().as_bytes(), entries)?;
        Ok(CacheImage { config, layers })
    }
}

fn with_entries(config: &[u8], mut entries: Vec<Entry>) -> Result<Vec<u8>, Error> {
    let invalid = |_error| Error::Invalid("failed to parse image config".to_owned());
    entries.sort();
    let mut object: Map<String, Value> = serde_json::from_slice(config).map_err(invalid)?;
    let entries = serde_json::to_value(entries).map_err(invalid)?;
    object.insert(MEMBER.to_owned(), entries);
    serde_json::to_vec(&object).map_err(invalid)
}

/// What a configuration says: the layers of each key. `None` when there is no cache in it.
///
/// The digests of the layers vouch for what is in them; that a key gave them is the image's word.
pub(crate) fn read(config: &[u8]) -> Option<BTreeMap<Digest, Vec<DiffId>>> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
        #[serde(rename = "arca.build.cache.v1")]
        entries: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<DiffId>,
    }
    let config: Config = serde_json::from_slice(config).ok()?;
    let all = &config.rootfs.diff_ids;
    let layers = |places: Vec<usize>| -> Option<Vec<DiffId>> {
        places
            .into_iter()
            .map(|place| all.get(place).cloned())
            .collect()
    };
    let entries = config.entries.into_iter();
    Some(
        entries
            .filter_map(|entry| Some((entry.key, layers(entry.layers)?)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_says_is_read_back_and_layers_that_it_does_not_have_are_not_believed() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let config = format!(
            r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
            digest("1"),
            digest("2")
        );
        let entry = |digit: &str, layers: &[usize]| Entry {
            key: digest(digit).parse().unwrap(),
            layers: layers.to_vec(),
        };
        let entries = vec![entry("b", &[0, 1]), entry("a", &[1]), entry("c", &[2])];
        let written = with_entries(config.as_bytes(), entries).unwrap();
        let value: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(value["os"], "linux");
        assert_eq!(value[MEMBER][0]["key"], digest("a"));
        let found = read(&written).unwrap();
        assert_eq!(found.len(), 2);
        let of_b = &found[&digest("b").parse().unwrap()];
        assert_eq!(of_b.len(), 2);
        assert!(read(config.as_bytes()).is_none());
        assert!(read(b"x").is_none());
    }
}
