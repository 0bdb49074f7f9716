//! The builds that run and that were: `buildx history`. Those that have ended are kept by the builder.

mod filter;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_build::progress::{Event, Progress};
use arca_build::{Builder, Job, PastBuild};
use arca_types::Timestamp;
use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

use crate::{api, convert, error};
use filter::Filter;

/// Bytes of output after which what a build told is continued in another message.
const PORTION: usize = 256 << 10;
/// How many ended builds that are not history are known.
const INTERNAL: usize = 20;
/// How far a listener may lag behind.
const LAG: usize = 256;

/// The builds that run and that were.
#[derive(Debug)]
pub(crate) struct History {
    entries: Mutex<BTreeMap<u64, Entry>>,
    told: broadcast::Sender<api::BuildHistoryEvent>,
}

#[derive(Debug)]
struct Entry {
    record: api::BuildHistoryRecord,
    told: Told,
    ended: bool,
    /// A build that a client makes for itself is not history.
    internal: bool,
}

/// Where is what a build told?
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Here: it runs, or ended just now.
    Live(Progress),
    /// With the builder ([`told`]).
    Kept,
}

impl History {
    /// Begins with the builds of before.
    pub(crate) fn new(past: Vec<PastBuild>) -> Self {
        let entries = past.into_iter().filter_map(|build| {
            let record = api::BuildHistoryRecord::decode(build.record.as_slice()).ok()?;
            Some(Entry {
                record,
                told: Told::Kept,
                ended: true,
                internal: false,
            })
        });
        Self {
            entries: Mutex::new((0..).zip(entries).collect()),
            told: broadcast::Sender::new(LAG),
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is recorded of a request.
    pub(crate) fn record(&self, request: &api::SolveRequest) -> api::BuildHistoryRecord {
        api::BuildHistoryRecord {
            r#ref: request.r#ref.clone(),
            frontend: request.frontend.clone(),
            frontend_attrs: request.frontend_attrs.clone(),
            exporters: request.exporters.clone(),
            ..api::BuildHistoryRecord::default()
        }
    }

    /// A build begins.
    pub(crate) fn begin(&self, mut record: api::BuildHistoryRecord, job: &Job, internal: bool) {
        record.r#ref = job.id().to_owned();
        record.created_at = Some(convert::time(job.progress().now()));
        if !internal {
            self.tell(api::BuildHistoryEventType::Started, record.clone());
        }
        let mut entries = self.entries();
        let number = entries.last_key_value().map_or(0, |(number, _)| number + 1);
        entries.insert(
            number,
            Entry {
                record,
                told: Told::Live(job.progress().clone()),
                ended: false,
                internal,
            },
        );
        // Those that have ended stay for a while, for who asks late what they told.
        let ended = entries
            .iter()
            .filter(|(_, entry)| entry.internal && entry.ended);
        let ended: Vec<u64> = ended.map(|(number, _)| *number).collect();
        for old in ended.iter().take(ended.len().saturating_sub(INTERNAL)) {
            entries.remove(old);
        }
    }

    /// A build has ended.
    pub(crate) fn end(&self, id: &str, outcome: Result<&api::SolveResponse, Status>) {
        let mut entries = self.entries();
        let entry = entries.values_mut().rev().find(|e| e.record.r#ref == id);
        let Some(entry) = entry else { return };
        entry.ended = true;
        let record = &mut entry.record;
        if let Told::Live(progress) = &entry.told {
            count(record, progress);
            record.completed_at = Some(convert::time(progress.now()));
        }
        match outcome {
            Ok(response) => record.exporter_response = response.exporter_response.clone(),
            Err(status) => {
                record.error = Some(error::told(&status));
            }
        }
        let (record, internal) = (record.clone(), entry.internal);
        drop(entries);
        if !internal {
            self.tell(api::BuildHistoryEventType::Complete, record);
        }
    }

    pub(crate) fn has_ended(&self, id: &str) -> bool {
        let entries = self.entries();
        let mut found = entries.values().rev();
        found
            .find(|entry| entry.record.r#ref == id)
            .is_some_and(|entry| entry.ended)
    }

    /// Has the builder keep a build that has ended.
    pub(crate) fn keep(self: &Arc<Self>, builder: &Builder, id: &str) {
        let found = {
            let entries = self.entries();
            let mut known = entries.iter().rev().filter(|(_, entry)| !entry.internal);
            let entry = known.find(|(_, entry)| entry.record.r#ref == id);
            entry.map(|(number, entry)| (*number, entry.record.clone(), entry.told.clone()))
        };
        let Some((number, record, Told::Live(progress))) = found else {
            return;
        };
        let (history, worker) = (Arc::clone(self), builder.clone());
        builder.spawn(async move {
            let told = packed(&progress);
            let outdated = worker.remember(past(&record), Some(told)).await;
            match outdated {
                Ok(outdated) => {
                    if let Some(entry) = history.entries().get_mut(&number) {
                        entry.told = Told::Kept;
                    }
                    for id in outdated {
                        history.drop_entry(&id);
                    }
                }
                Err(error) => {
                    let error = arca_types::chain(&error);
                    tracing::warn!(error, "a build is not remembered after the next start");
                }
            }
        });
    }

    fn drop_entry(&self, id: &str) {
        let removed = {
            let mut entries = self.entries();
            let number = entries
                .iter()
                .find(|(_, entry)| entry.ended && entry.record.r#ref == id)
                .map(|(number, _)| *number);
            number.and_then(|number| entries.remove(&number))
        };
        if let Some(entry) = removed {
            self.tell(api::BuildHistoryEventType::Deleted, entry.record);
        }
    }

    /// Where what a build has told is, if the build is known.
    pub(crate) fn told(&self, id: &str) -> Option<Told> {
        let entries = self.entries();
        let mut found = entries.values().rev();
        let entry = found.find(|entry| entry.record.r#ref == id)?;
        Some(entry.told.clone())
    }

    /// What there is, and what comes unless the client wants to hear no more.
    pub(crate) fn listen(
        &self,
        request: api::BuildHistoryRequest,
        now: Timestamp,
    ) -> Result<impl Stream<Item = Result<api::BuildHistoryEvent, Status>> + Send + use<>, Status>
    {
        let filter = Filter::parse(&request.filter, now)?;
        let coming = self.told.subscribe();
        let mut known: Vec<api::BuildHistoryEvent> = self
            .entries()
            .values()
            .filter(|entry| !entry.internal)
            .filter(|entry| !(request.active_only && entry.ended))
            .filter(|entry| request.r#ref.is_empty() || entry.record.r#ref == request.r#ref)
            .filter(|entry| filter.wants(&entry.record, now))
            .map(|entry| {
                let kind = if entry.ended {
                    api::BuildHistoryEventType::Complete
                } else {
                    api::BuildHistoryEventType::Started
                };
                event(kind, entry.record.clone())
            })
            .collect();
        if let Some(limit) = usize::try_from(request.limit)
            .ok()
            .filter(|limit| *limit > 0)
        {
            known.drain(..known.len().saturating_sub(limit));
        }
        let known = stream::iter(known.into_iter().map(Ok));
        if request.early_exit {
            return Ok(known.boxed());
        }
        let wanted = request.r#ref;
        let coming = BroadcastStream::new(coming).filter_map(move |told| {
            let told = told.ok().filter(|event| {
                let record = event.record.as_ref();
                record.is_some_and(|record| {
                    (wanted.is_empty() || record.r#ref == wanted) && filter.wants(record, now)
                })
            });
            std::future::ready(told.map(Ok))
        });
        Ok(known.chain(coming).boxed())
    }

    /// Pins or forgets a build.
    pub(crate) async fn update(
        &self,
        builder: &Builder,
        request: &api::UpdateBuildHistoryRequest,
    ) -> Result<(), Status> {
        let id = &request.r#ref;
        let changed = {
            let mut entries = self.entries();
            let mut found = entries.values_mut().rev();
            let entry = found.find(|entry| entry.record.r#ref == *id);
            let missing = || Status::not_found(format!("no such build: {id}"));
            let entry = entry.ok_or_else(missing)?;
            if !request.delete {
                entry.record.pinned = request.pinned;
            }
            (entry.record.clone(), matches!(entry.told, Told::Kept))
        };
        if request.delete {
            builder.forget(id).await.map_err(|e| error::status(&e))?;
            self.drop_entry(id);
        } else if let (record, true) = changed {
            let kept = builder.remember(past(&record), None).await;
            kept.map_err(|e| error::status(&e))?;
        }
        Ok(())
    }

    fn tell(&self, kind: api::BuildHistoryEventType, record: api::BuildHistoryRecord) {
        if self.told.send(event(kind, record)).is_err() {
            tracing::trace!("nobody listens to the history of builds");
        }
    }
}

fn event(
    kind: api::BuildHistoryEventType,
    record: api::BuildHistoryRecord,
) -> api::BuildHistoryEvent {
    api::BuildHistoryEvent {
        r#type: kind.into(),
        record: Some(record),
    }
}

/// A build as the builder keeps it.
fn past(record: &api::BuildHistoryRecord) -> PastBuild {
    let completed = record.completed_at.as_ref().map_or(Timestamp::ZERO, |at| {
        Timestamp::from_unix(at.seconds, u32::try_from(at.nanos).unwrap_or(0))
    });
    PastBuild {
        id: record.r#ref.clone(),
        completed,
        pinned: record.pinned,
        record: record.encode_to_vec(),
    }
}

/// What a build told, as one message after the other, each with its length in front.
fn packed(progress: &Progress) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut response = api::StatusResponse::default();
    let mut size = 0;
    let mut write = |response: &mut api::StatusResponse| {
        packed.extend(std::mem::take(response).encode_length_delimited_to_vec());
    };
    for event in progress.history() {
        size += match &event {
            Event::Log(log) => log.data.len(),
            _ => 200,
        };
        convert::add(&mut response, &event);
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
    let told = builder.told(id).await.map_err(|e| error::status(&e))?;
    let told = told.unwrap_or_default();
    let (mut rest, mut responses) = (told.as_slice(), Vec::new());
    while !rest.is_empty() {
        let response = api::StatusResponse::decode_length_delimited(&mut rest);
        responses.push(response.map_err(|error| Status::internal(error.to_string()))?);
    }
    Ok(responses)
}

/// Counts the steps of a build.
fn count(record: &mut api::BuildHistoryRecord, progress: &Progress) {
    let mut steps: HashMap<String, (bool, bool)> = HashMap::new();
    let mut warnings = 0;
    for event in progress.history() {
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
