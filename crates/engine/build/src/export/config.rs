//! Image configurations of front ends, completed with what only the result knows: its layers.

use arca_types::{DiffId, Timestamp};
use serde_json::{Map, Value, json};

use crate::Error;

/// A layer of a result, and when the step that made it ran, if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) layer: DiffId,
    pub(crate) at: Option<Timestamp>,
}

/// Completes a configuration: layers, a history with an entry for each of them, a time. What came from the
/// cache keeps the time of its step, so that a build in which nothing is new gives the same image. Returns
/// it as JSON.
///
/// # Errors
/// [`Error::Invalid`] when it is not an object.
pub(crate) fn complete(
    config: Option<&[u8]>,
    layers: &[Made],
    now: Timestamp,
    epoch: Option<Timestamp>,
) -> Result<Vec<u8>, Error> {
    let invalid = || Error::Invalid("failed to parse image config".to_owned());
    let mut object: Map<String, Value> = match config {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|_error| invalid())?,
        None => scratch(),
    };
    let history = match object.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    };
    let mut history = matched(history, layers, now);
    if let Some(epoch) = epoch {
        clamp(&mut history, epoch);
        object.insert("created".to_owned(), Value::String(epoch.to_string()));
    }
    let created = history
        .iter()
        .rev()
        .find_map(|entry| entry.get("created").cloned());
    let diff_ids: Vec<&str> = layers.iter().map(|made| made.layer.as_str()).collect();
    object.insert(
        "rootfs".to_owned(),
        json!({"type": "layers", "diff_ids": diff_ids}),
    );
    object.insert("history".to_owned(), Value::Array(history));
    if object.get("created").is_none_or(Value::is_null) {
        let created = created.unwrap_or_else(|| Value::String(now.to_string()));
        object.insert("created".to_owned(), created);
    }
    serde_json::to_vec(&object).map_err(|_error| invalid())
}

/// Lets nothing be later than `epoch`.
fn clamp(history: &mut [Value], epoch: Timestamp) {
    for fields in history.iter_mut().filter_map(Value::as_object_mut) {
        let told = fields.get("created").and_then(Value::as_str);
        let told = told.and_then(|told| told.parse::<Timestamp>().ok());
        if told.is_none_or(|told| told.unix_nanoseconds() > epoch.unix_nanoseconds()) {
            let epoch = Value::String(epoch.to_string());
            fields.insert("created".to_owned(), epoch);
        }
    }
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

/// Brings history and layers together: each entry that made a layer gets one, and layers that nobody speaks
/// of get an entry. An entry without a time has that of its layer, else that of the entry before.
fn matched(mut history: Vec<Value>, layers: &[Made], now: Timestamp) -> Vec<Value> {
    let text = |at: Option<Timestamp>| at.map(|at| Value::String(at.to_string()));
    let unknown = || Value::String(now.to_string());
    let mut left = layers.iter();
    let mut last = None;
    for entry in &mut history {
        let Some(fields) = entry.as_object_mut() else {
            continue;
        };
        let is_empty = fields.get("empty_layer").and_then(Value::as_bool) == Some(true);
        let layer = if is_empty { None } else { left.next() };
        if layer.is_none() {
            fields.insert("empty_layer".to_owned(), Value::Bool(true));
        }
        let told = fields.get("created").filter(|at| !at.is_null()).cloned();
        let made = layer.map(|made| text(made.at).unwrap_or_else(unknown));
        let created = told.or(made).or(last).unwrap_or_else(unknown);
        fields.insert("created".to_owned(), created.clone());
        last = Some(created);
    }
    history.extend(left.map(|made| {
        json!({
            "created": text(made.at).unwrap_or_else(unknown),
            "created_by": "unknown",
            "comment": "buildkit.exporter.image.v0",
        })
    }));
    history
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_its_entry_and_its_time() {
        let at = |second: i64| Timestamp::from_unix(1_600_000_000 + second, 0);
        let made = |digit: char, at: Option<Timestamp>| Made {
            layer: format!("sha256:{}", digit.to_string().repeat(64))
                .parse()
                .unwrap(),
            at,
        };
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"]},"history":[
            {"created":"2020-01-01T00:00:00Z","created_by":"base"},
            {"created_by":"ENV A=b","empty_layer":true},
            {"created_by":"RUN true"},{"created_by":"CMD","empty_layer":true},{"created_by":"COPY"}]}"#;
        let layers = [
            made('1', None),
            made('2', Some(at(1))),
            made('3', None),
            made('4', Some(at(2))),
        ];
        let complete = complete(Some(config), &layers, at(9), None).unwrap();
        let value: Value = serde_json::from_slice(&complete).unwrap();
        let history = value["history"].as_array().unwrap();
        let empty: Vec<bool> = history
            .iter()
            .map(|entry| entry["empty_layer"] == true)
            .collect();
        assert_eq!(empty, [false, true, false, true, false, false]);
        let times: Vec<&str> = history
            .iter()
            .map(|entry| entry["created"].as_str().unwrap())
            .collect();
        let [base, one, two, now] = [
            "2020-01-01T00:00:00Z".to_owned(),
            at(1).to_string(),
            at(2).to_string(),
            at(9).to_string(),
        ];
        assert_eq!(times, [&base, &base, &one, &one, &now, &two]);
        assert_eq!(value["created"], *two);
        assert_eq!(value["config"]["Env"][0], "A=b");
        assert_eq!(value["rootfs"]["diff_ids"].as_array().unwrap().len(), 4);
        assert_eq!(value["history"][5]["comment"], "buildkit.exporter.image.v0");
        let early = super::complete(Some(config), &layers, at(9), Some(at(0))).unwrap();
        let value: Value = serde_json::from_slice(&early).unwrap();
        assert_eq!(value["created"], at(0).to_string());
        assert_eq!(value["history"][0]["created"], base);
        assert_eq!(value["history"][5]["created"], at(0).to_string());
    }
}
