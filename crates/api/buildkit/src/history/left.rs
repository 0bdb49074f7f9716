//! What a build leaves when it has ended: what it told, and what its record names by digest.

use std::collections::HashMap;

use arca_build::progress::Event;
use arca_build::{Builder, Part};
use arca_types::Timestamp;
use prost::Message as _;
use tonic::Status;

use super::attached::{Attached, descriptor};
use super::trace::{self, Caller};
use crate::build::Build;
use crate::control::solve::Done;
use crate::{PbTimestamp, api, convert, error, provenance};

/// Bytes of output after which what a build told is continued in another message.
const PORTION: usize = 256 << 10;
/// What records call what a build told, its trace, its provenance, its error and an image: BuildKit's names, to the letter.
const STATUS: &str = "application/vnd.buildkit.status.v0";
const TRACE: &str = "application/vnd.buildkit.otlp.json.v0";
const STATEMENT: &str = "application/vnd.in-toto+json";
const ERROR: &str = "application/vnd.googeapis.google.rpc.status+proto";
const IMAGE: &str = "application/vnd.docker.container.image.v1+json";
/// The annotation that names the kind of a statement.
const KIND: &str = "in-toto.io/predicate-type";

/// What a build that has ended leaves.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// As [`packed`].
    pub(super) told: Vec<u8>,
    pub(super) attached: Attached,
}

/// A time that a record says.
pub(super) fn at(time: &PbTimestamp) -> Timestamp {
    Timestamp::from_unix(time.seconds, u32::try_from(time.nanos).unwrap_or(0))
}

/// Collects what a build leaves, and completes its record.
pub(super) fn leave(
    record: &mut api::BuildHistoryRecord,
    build: &Build,
    outcome: Result<&Done, &Status>,
    caller: Option<&Caller>,
) -> Parts {
    let job = &build.job;
    let began = record.created_at.as_ref().map_or(Timestamp::ZERO, at);
    let (now, events) = (job.progress().now(), job.progress().history());
    record.completed_at = Some(convert::time(now));
    count(record, &events);
    let mut parts = Parts {
        told: packed(&events),
        attached: Attached::default(),
    };
    record.logs = Some(descriptor(STATUS, &parts.told));
    let error = outcome.err().map(Status::message);
    let trace = trace::of(job.id(), &events, caller, (began, now), error);
    record.trace = Some(parts.attached.add(TRACE, trace));
    let done = match outcome {
        Ok(done) => done,
        Err(status) => {
            let told = error::told(status);
            let content = told.encode_to_vec();
            record.external_error = Some(parts.attached.add(ERROR, content));
            record.error = Some(told);
            return parts;
        }
    };
    let response = done.exported.response.clone();
    record.exporter_response = response.into_iter().collect();
    let frontend = build.frontend();
    for (platform, edge) in &done.result.refs {
        let Some(edge) = edge else { continue };
        let predicate = provenance::predicate(job, &frontend, edge, (began, now));
        let statement = serde_json::to_vec_pretty(&predicate).unwrap_or_default();
        let mut named = parts.attached.add(STATEMENT, statement);
        let kind = provenance::PREDICATE.to_owned();
        named.annotations.insert(KIND.to_owned(), kind);
        let result = match platform.as_str() {
            "" => record.result.get_or_insert_default(),
            platform => record.results.entry(platform.to_owned()).or_default(),
        };
        result.attestations.push(named);
    }
    for (index, config) in &done.exported.configs {
        let named = parts.attached.add(IMAGE, config.clone());
        let result = record.result.get_or_insert_default();
        result
            .result_deprecated
            .get_or_insert_with(|| named.clone());
        let index = i64::try_from(*index).unwrap_or(i64::MAX);
        result.results.insert(index, named);
    }
    parts
}

/// What a build told, as one message after the other, each with its length in front (4 bytes, little-endian): as
/// BuildKit keeps it.
fn packed(events: &[Event]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut response = api::StatusResponse::default();
    let mut size = 0;
    let mut write = |response: &mut api::StatusResponse| {
        let message = std::mem::take(response).encode_to_vec();
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        packed.extend(length.to_le_bytes());
        packed.extend(message);
    };
    for event in events {
        size += match event {
            Event::Log(log) => log.data.len(),
            _ => 200,
        };
        convert::add(&mut response, event);
        if size >= PORTION {
            write(&mut response);
            size = 0;
        }
    }
    write(&mut response);
    packed
}

/// What a build told that the builder keeps.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn told(builder: &Builder, id: &str) -> Result<Vec<api::StatusResponse>, Status> {
    let told = builder.part(id, Part::Told).await;
    let told = told.map_err(|e| error::status(&e))?.unwrap_or_default();
    let (mut rest, mut responses) = (told.as_slice(), Vec::new());
    while let Some((length, following)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let cut = || Status::internal("what the build told is cut short");
        let (message, following) = following.split_at_checked(length).ok_or_else(cut)?;
        let response = api::StatusResponse::decode(message);
        responses.push(response.map_err(|error| Status::internal(error.to_string()))?);
        rest = following;
    }
    Ok(responses)
}

/// Counts the steps of a build.
fn count(record: &mut api::BuildHistoryRecord, events: &[Event]) {
    let mut steps: HashMap<String, (bool, bool)> = HashMap::new();
    let mut warnings = 0;
    for event in events {
        match event {
            Event::Vertex(state) => {
                let done = (state.completed.is_some(), state.cached);
                steps.insert(state.digest.as_str().to_owned(), done);
            }
            Event::Warning(_) => warnings += 1,
            Event::Status(_) | Event::Log(_) => {}
        }
    }
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    record.num_total_steps = number(steps.len());
    record.num_completed_steps = number(steps.values().filter(|step| step.0).count());
    record.num_cached_steps = number(steps.values().filter(|step| step.1).count());
    record.num_warnings = warnings;
}
