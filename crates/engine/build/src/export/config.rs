//! Image configurations of front ends, completed with what only the result knows: its layers.

use arca_types::{DiffId, Timestamp};
use serde_json::{Map, Value, json};

use crate::Error;

/// The digest of an archive without entries: a layer that is left out.
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// A configuration with its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complete {
    /// The configuration, as JSON.
    pub(crate) config: Vec<u8>,
    /// The layers that it names.
    pub(crate) layers: Vec<DiffId>,
}

/// Completes a configuration: layers, a history with an entry for each of them, a time.
///
/// # Errors
/// [`Error::Invalid`] when it is not an object.
pub(crate) fn complete(
    config: Option<&[u8]>,
    layers: &[DiffId],
    now: Timestamp,
) -> Result<Complete, Error> {
    let invalid = || Error::Invalid("failed to parse image config".to_owned());
    let mut object: Map<String, Value> = match config {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|_error| invalid())?,
        None => scratch(),
    };
    let history = match object.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    };
    let (history, kept) = matched(history, layers, now);
    let created = history
        .iter()
        .rev()
        .find_map(|entry| entry.get("created").cloned());
    let diff_ids: Vec<&str> = kept.iter().map(DiffId::as_str).collect();
    object.insert(
        "rootfs".to_owned(),
        json!({"type": "layers", "diff_ids": diff_ids}),
    );
    object.insert("history".to_owned(), Value::Array(history));
    if object.get("created").is_none_or(Value::is_null) {
        let created = created.unwrap_or_else(|| Value::String(now.to_string()));
        object.insert("created".to_owned(), created);
    }
    let config = serde_json::to_vec(&object).map_err(|_error| invalid())?;
    Ok(Complete {
        config,
        layers: kept,
    })
}

/// What an image without a configuration has.
fn scratch() -> Map<String, Value> {
    let host = arca_types::Platform::host();
    let mut object = Map::new();
    object.insert("architecture".to_owned(), Value::String(host.architecture));
    object.insert("os".to_owned(), Value::String(host.os));
    object.insert("config".to_owned(), json!({}));
    object
}

/// Brings history and layers together: each entry that made a layer gets one, empty layers go, and layers
/// that nobody speaks of get an entry.
fn matched(
    mut history: Vec<Value>,
    layers: &[DiffId],
    now: Timestamp,
) -> (Vec<Value>, Vec<DiffId>) {
    let mut kept = Vec::new();
    let mut left = layers.iter();
    for entry in &mut history {
        let Some(fields) = entry.as_object_mut() else {
            continue;
        };
        if fields.get("created").is_none_or(Value::is_null) {
            fields.insert("created".to_owned(), Value::String(now.to_string()));
        }
        if fields.get("empty_layer").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        match left.next() {
            Some(layer) if layer.as_str() != EMPTY => kept.push(layer.clone()),
            _ => {
                fields.insert("empty_layer".to_owned(), Value::Bool(true));
            }
        }
    }
    for layer in left.filter(|layer| layer.as_str() != EMPTY) {
        kept.push(layer.clone());
        history.push(json!({
            "created": now.to_string(),
            "created_by": "unknown",
            "comment": "buildkit.exporter.image.v0",
        }));
    }
    (history, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_its_entry_and_empty_ones_are_none() {
        let layer = |digit: char| -> DiffId {
            format!("sha256:{}", digit.to_string().repeat(64))
                .parse()
                .unwrap()
        };
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"]},"history":[
            {"created":"2020-01-01T00:00:00Z","created_by":"base"},
            {"created_by":"ENV A=b","empty_layer":true},
            {"created_by":"RUN true"},{"created_by":"COPY"}]}"#;
        let layers = [layer('1'), EMPTY.parse().unwrap(), layer('2'), layer('3')];
        let now = Timestamp::from_unix(1_600_000_000, 0);
        let complete = complete(Some(config), &layers, now).unwrap();
        assert_eq!(complete.layers, [layer('1'), layer('2'), layer('3')]);
        let value: Value = serde_json::from_slice(&complete.config).unwrap();
        let empty: Vec<bool> = value["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["empty_layer"] == true)
            .collect();
        assert_eq!(empty, [false, true, true, false, false]);
        assert_eq!(value["config"]["Env"][0], "A=b");
        assert_eq!(value["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
        assert_eq!(value["history"][4]["comment"], "buildkit.exporter.image.v0");
    }
}
