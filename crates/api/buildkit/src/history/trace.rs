//! The trace of a build: one span for the whole, one for each step, in the form in which BuildKit keeps traces
//! (`SpanStub` of OpenTelemetry's Go SDK, one JSON object after the other).

use std::collections::BTreeMap;

use arca_build::progress::{Event, VertexState};
use arca_types::{Timestamp, random_hex};
use serde_json::{Value, json};

/// Internal work, and the answer to a client's call (`SpanKind`).
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
/// `codes.Unset` and `codes.Error`.
const UNSET: u8 = 0;
const ERROR: u8 = 1;

/// The span of the client's from which a build was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// 32 hexadecimal digits.
    trace: String,
    /// 16 hexadecimal digits.
    span: String,
}

impl Caller {
    /// Reads a `traceparent` (W3C Trace Context).
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let is = |text: &str, digits: usize| {
            let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            text.len() == digits && text.bytes().all(hexadecimal)
        };
        let named = |text: &str| text.bytes().any(|byte| byte != b'0');
        let valid = is(version, 2) && is(trace, 32) && is(span, 16) && named(trace) && named(span);
        valid.then(|| Self {
            trace: trace.to_owned(),
            span: span.to_owned(),
        })
    }
}

/// A span that is to be written.
struct Span<'a> {
    name: &'a str,
    kind: u8,
    times: (Timestamp, Timestamp),
    attribute: (&'a str, &'a str),
    error: Option<&'a str>,
}

/// The spans of one trace.
struct Trace {
    id: String,
    written: Vec<u8>,
}

impl Trace {
    fn write(&mut self, id: &str, parent: (&str, bool), span: &Span<'_>) {
        let text = |key: &str, value: &str| json!({"Key": key, "Value": {"Type": "STRING", "Value": value}});
        let (parent, remote) = parent;
        let none = "0".repeat(32);
        let trace = if parent.is_empty() { &none } else { &self.id };
        let parent = if parent.is_empty() {
            &none[..16]
        } else {
            parent
        };
        let written = json!({
            "Name": span.name,
            "SpanContext": context(&self.id, id, false),
            "Parent": context(trace, parent, remote),
            "SpanKind": span.kind,
            "StartTime": span.times.0.to_string(),
            "EndTime": span.times.1.to_string(),
            "Attributes": [text(span.attribute.0, span.attribute.1)],
            "Events": null,
            "Links": null,
            "Status": {
                "Code": if span.error.is_some() { ERROR } else { UNSET },
                "Description": span.error.unwrap_or_default(),
            },
            "DroppedAttributes": 0,
            "DroppedEvents": 0,
            "DroppedLinks": 0,
            "ChildSpanCount": 0,
            "Resource": [text("service.name", "arca")],
            "InstrumentationLibrary": {
                "Name": env!("CARGO_PKG_NAME"),
                "Version": env!("CARGO_PKG_VERSION"),
                "SchemaURL": "",
                "Attributes": {},
            },
        });
        self.written.extend(format!("{written:#}\n").into_bytes());
    }
}

fn context(trace: &str, span: &str, remote: bool) -> Value {
    json!({
        "TraceID": trace,
        "SpanID": span,
        "TraceFlags": "01",
        "TraceState": "",
        "Remote": remote,
    })
}

/// The trace of a build that has ended, below the caller's span if there is one.
pub(super) fn of(
    id: &str,
    events: &[Event],
    caller: Option<&Caller>,
    times: (Timestamp, Timestamp),
    error: Option<&str>,
) -> Vec<u8> {
    let mut trace = Trace {
        id: caller.map_or_else(|| random_hex(16), |caller| caller.trace.clone()),
        written: Vec::new(),
    };
    let root = random_hex(8);
    let whole = Span {
        name: "moby.buildkit.v1.Control/Solve",
        kind: SERVER,
        times,
        attribute: ("ref", id),
        error,
    };
    let parent = caller.map_or("", |caller| caller.span.as_str());
    trace.write(&root, (parent, true), &whole);
    // The last word of each step counts.
    let mut steps = BTreeMap::<String, &VertexState>::new();
    let mut order = Vec::new();
    for event in events {
        let Event::Vertex(state) = event else {
            continue;
        };
        let digest = state.digest.to_string();
        if steps.insert(digest.clone(), state).is_none() {
            order.push(digest);
        }
    }
    for digest in order {
        let Some(step) = steps.get(&digest) else {
            continue;
        };
        let (Some(started), Some(completed)) = (step.started, step.completed) else {
            continue;
        };
        let name = if step.cached {
            format!("cache request: {}", step.name)
        } else {
            step.name.clone()
        };
        let span = Span {
            name: &name,
            kind: INTERNAL,
            times: (started, completed),
            attribute: ("vertex", &digest),
            error: Some(step.error.as_str()).filter(|error| !error.is_empty()),
        };
        trace.write(&random_hex(8), (&root, false), &span);
    }
    trace.written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_known_by_its_traceparent() {
        let (trace, span) = ("d973dab45326a4e2eda415d2fb57ed7d", "03b05b0efd14fc16");
        let caller = Caller::read(&format!("00-{trace}-{span}-01")).unwrap();
        assert_eq!((caller.trace.as_str(), caller.span.as_str()), (trace, span));
        let none = format!("00-{}-{span}-01", "0".repeat(32));
        for wrong in [
            "",
            "00-a-b-01",
            none.as_str(),
            &format!("00-{span}-{trace}-01"),
        ] {
            assert_eq!(Caller::read(wrong), None, "{wrong:?}");
        }
    }
}
