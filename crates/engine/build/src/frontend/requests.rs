//! What clients ask of a Dockerfile besides building it: `--call=check`, `outline`, `targets`.

use std::fmt::Write as _;

use arca_dockerfile::{Dockerfile, Lines, Linter};
use arca_types::chain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::convert::{self, Converted, Settings};
use super::definition::{Definition, ranges};
use super::options::Options;
use super::{Gateway, sheet};
use crate::progress::Range;
use crate::{BuildResult, Error};

const DESCRIBE: &str = "frontend.subrequests.describe";
const OUTLINE: &str = "frontend.outline";
const TARGETS: &str = "frontend.targets";
const LINT: &str = "frontend.lint";

/// Answers the request called `id`.
pub(super) async fn answer(
    id: &str,
    options: &Options,
    definition: &Definition,
    gateway: &dyn Gateway,
) -> Result<BuildResult, Error> {
    match id {
        DESCRIBE => Ok(result(&describe(), sheet::requests(), None)),
        OUTLINE => {
            let mut linter = convert::linter(options, definition)?;
            let settings = settings(options, false);
            let done = convert::convert(options, definition, gateway, &mut linter, settings).await;
            linter
                .warnings()
                .iter()
                .for_each(|warning| gateway.warn(definition.warning(warning)));
            let done = done?;
            Ok(result(
                &outline(&done, definition),
                sheet::outline(&done),
                None,
            ))
        }
        TARGETS => {
            let file =
                Dockerfile::parse(&definition.text, &mut Linter::silent()).map_err(|error| {
                    definition.located(Error::Invalid(error.to_string()), &[error.lines])
                })?;
            Ok(result(
                &targets(&file, definition),
                sheet::targets(&file),
                None,
            ))
        }
        LINT => lint(options, definition, gateway).await,
        _ => Err(Error::Unsupported(format!("unsupported request {id}"))),
    }
}

fn settings(options: &Options, lint: bool) -> Settings {
    Settings {
        target: options.platforms.first().cloned(),
        all_stages: lint && options.target.is_empty(),
    }
}

/// An answer as JSON and as text.
fn result(value: &Value, text: String, status: Option<u8>) -> BuildResult {
    let mut result = BuildResult::default();
    let json = serde_json::to_vec_pretty(value).unwrap_or_default();
    let mut say = |key: &str, bytes: Vec<u8>| result.metadata.insert(key.to_owned(), bytes);
    say("result.json", json);
    say("result.txt", text.into_bytes());
    if let Some(status) = status {
        say("result.statuscode", status.to_string().into_bytes());
    }
    say("version", b"1.0.0".to_vec());
    result
}

/// A place as BuildKit's JSON has it: what is 0 is left out.
fn location(lines: &[Range]) -> Value {
    let ranges: Vec<Value> = lines
        .iter()
        .map(|range| json!({ "start": { "line": range.start.0 }, "end": { "line": range.end.0 } }))
        .collect();
    if ranges.is_empty() {
        json!({})
    } else {
        json!({ "ranges": ranges })
    }
}

fn place(lines: Lines) -> Value {
    location(&ranges(&[lines]))
}

/// The fields that are not empty.
fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let fields = fields.into_iter().filter(|(_, value)| !empty(value));
    Value::Object(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn outline(done: &Converted, definition: &Definition) -> Value {
    let arguments = done.outline.arguments().into_iter().map(|(name, info)| {
        object([
            ("name", name.into()),
            ("description", info.description.as_str().into()),
            ("value", info.value.as_str().into()),
            ("location", place(info.lines)),
        ])
    });
    let wanted = |(name, wanted): (&str, super::outline::Wanted)| {
        object([
            ("name", name.into()),
            ("required", wanted.required.into()),
            ("location", place(wanted.lines)),
        ])
    };
    object([
        ("name", done.name.as_str().into()),
        ("description", done.description.as_str().into()),
        ("args", arguments.collect()),
        (
            "secrets",
            done.outline.secrets().into_iter().map(wanted).collect(),
        ),
        (
            "ssh",
            done.outline.agents().into_iter().map(wanted).collect(),
        ),
        ("sources", json!([STANDARD.encode(&definition.file.data)])),
    ])
}

fn targets(file: &Dockerfile, definition: &Definition) -> Value {
    let last = file.stages.len().saturating_sub(1);
    let targets: Vec<Value> = file
        .stages
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            object([
                ("name", stage.name.as_str().into()),
                ("default", (number == last).into()),
                ("description", stage.description.as_str().into()),
                ("base", stage.base.as_str().into()),
                ("platform", stage.platform.as_str().into()),
                ("location", place(stage.lines)),
            ])
        })
        .collect();
    json!({ "targets": targets, "sources": [STANDARD.encode(&definition.file.data)] })
}

/// Converts all of it and tells what is advised against, and what is wrong.
async fn lint(
    options: &Options,
    definition: &Definition,
    gateway: &dyn Gateway,
) -> Result<BuildResult, Error> {
    let settings = settings(options, true);
    let (linter, error) = match convert::linter(options, definition) {
        Ok(mut linter) => {
            let done = convert::convert(options, definition, gateway, &mut linter, settings).await;
            (linter, done.err())
        }
        Err(error) => (Linter::silent(), Some(error)),
    };
    let warnings: Vec<Value> = linter
        .warnings()
        .iter()
        .map(|warning| {
            object([
                ("ruleName", warning.rule.name().into()),
                ("description", warning.rule.description().into()),
                ("url", warning.rule.url().into()),
                ("detail", warning.text.as_str().into()),
                ("location", location(&ranges(&warning.lines))),
            ])
        })
        .collect();
    let status = u8::from(!warnings.is_empty() || error.is_some());
    let source = json!({
        "filename": definition.file.filename,
        "data": STANDARD.encode(&definition.file.data),
        "language": definition.file.language,
    });
    // As BuildKit's: no list where there is nothing.
    let warnings = if warnings.is_empty() {
        Value::Null
    } else {
        Value::Array(warnings)
    };
    let mut value = Map::from_iter([
        ("warnings".to_owned(), warnings),
        ("sources".to_owned(), json!([source])),
    ]);
    if let Some(error) = &error {
        let place = location(error.ranges());
        let error = json!({ "message": chain(error), "location": place });
        value.insert("buildError".to_owned(), error);
    }
    let value = Value::Object(value);
    let text = sheet::warnings(linter.warnings(), definition);
    Ok(result(&value, text, Some(status)))
}

fn describe() -> Value {
    let named = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| json!({ "name": name, "description": "" }))
            .collect()
    };
    let request = |name: &str, description: &str, opts: Value, metadata: &[&str]| {
        json!({
            "name": name, "version": "1.0.0", "type": "rpc", "description": description,
            "opts": opts, "inputs": null, "metadata": named(metadata), "refs": null,
        })
    };
    let files = ["result.json", "result.txt"];
    let target = json!([{ "name": "target", "description": "Target build stage" }]);
    json!([
        request(OUTLINE, sheet::OUTLINE, target, &files),
        request(TARGETS, sheet::TARGETS, json!([]), &files),
        request(DESCRIBE, sheet::DESCRIBE, Value::Null, &files),
    ])
}

/// Appends a line; writing to a string cannot fail.
pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = writeln!(out, "{text}");
    debug_assert!(written.is_ok(), "a string takes all that is written");
}
