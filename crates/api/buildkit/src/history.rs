//! The builds that were: `buildx history`. Kept in memory, the last ones only.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arca_build::Job;
use arca_build::progress::{Event, Progress};
use bollard_buildkit_proto::google::rpc;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

use crate::{api, convert};

/// How many ended builds are kept besides the pinned ones.
const KEPT: usize = 20;
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
    progress: Progress,
    ended: bool,
}

impl Default for History {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            told: broadcast::Sender::new(LAG),
        }
    }
}

impl History {
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
    pub(crate) fn begin(&self, mut record: api::BuildHistoryRecord, job: &Job) {
        record.r#ref = job.id().to_owned();
        record.created_at = Some(convert::time(job.progress().now()));
        self.tell(api::BuildHistoryEventType::Started, record.clone());
        let mut entries = self.entries();
        let number = entries.last_key_value().map_or(0, |(number, _)| number + 1);
        entries.insert(
            number,
            Entry {
                record,
                progress: job.progress().clone(),
                ended: false,
            },
        );
        let unpinned: Vec<u64> = entries
            .iter()
            .filter(|(_, entry)| entry.ended && !entry.record.pinned)
            .map(|(number, _)| *number)
            .collect();
        for old in unpinned.iter().take(unpinned.len().saturating_sub(KEPT)) {
            entries.remove(old);
        }
    }

    /// A build has ended.
    pub(crate) fn end(&self, id: &str, outcome: Result<&api::SolveResponse, Status>) {
        let mut entries = self.entries();
        let entry = entries.values_mut().rev().find(|e| e.record.r#ref == id);
        let Some(entry) = entry else { return };
        entry.ended = true;
        count(entry);
        let record = &mut entry.record;
        record.completed_at = Some(convert::time(entry.progress.now()));
        match outcome {
            Ok(response) => record.exporter_response = response.exporter_response.clone(),
            Err(status) => {
                record.error = Some(rpc::Status {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    details: Vec::new(),
                });
            }
        }
        let record = record.clone();
        drop(entries);
        self.tell(api::BuildHistoryEventType::Complete, record);
    }

    pub(crate) fn has_ended(&self, id: &str) -> bool {
        let entries = self.entries();
        let mut found = entries.values().rev();
        found
            .find(|entry| entry.record.r#ref == id)
            .is_some_and(|entry| entry.ended)
    }

    /// What a build has told, if it is known.
    pub(crate) fn progress(&self, id: &str) -> Option<Progress> {
        let entries = self.entries();
        let mut found = entries.values().rev();
        let entry = found.find(|entry| entry.record.r#ref == id)?;
        Some(entry.progress.clone())
    }

    /// What there is, and what comes unless the client wants to hear no more.
    pub(crate) fn listen(
        &self,
        request: api::BuildHistoryRequest,
    ) -> Result<impl Stream<Item = Result<api::BuildHistoryEvent, Status>> + Send + use<>, Status>
    {
        if !request.filter.is_empty() {
            return Err(Status::unimplemented(
                "filters of history are not supported",
            ));
        }
        let coming = self.told.subscribe();
        let mut known: Vec<api::BuildHistoryEvent> = self
            .entries()
            .values()
            .filter(|entry| !(request.active_only && entry.ended))
            .filter(|entry| request.r#ref.is_empty() || entry.record.r#ref == request.r#ref)
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
                let id = event.record.as_ref().map(|record| &record.r#ref);
                wanted.is_empty() || id == Some(&wanted)
            });
            std::future::ready(told.map(Ok))
        });
        Ok(known.chain(coming).boxed())
    }

    /// Pins or forgets a build.
    pub(crate) fn update(&self, request: &api::UpdateBuildHistoryRequest) -> Result<(), Status> {
        let mut entries = self.entries();
        let number = entries
            .iter()
            .rev()
            .find(|(_, entry)| entry.record.r#ref == request.r#ref)
            .map(|(number, _)| *number);
        let missing = || Status::not_found(format!("no such build: {}", request.r#ref));
        let number = number.ok_or_else(missing)?;
        if request.delete {
            let removed = entries.remove(&number);
            drop(entries);
            if let Some(entry) = removed {
                self.tell(api::BuildHistoryEventType::Deleted, entry.record);
            }
        } else if let Some(entry) = entries.get_mut(&number) {
            entry.record.pinned = request.pinned;
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

/// Counts the steps of a build.
fn count(entry: &mut Entry) {
    let mut steps: HashMap<String, (bool, bool)> = HashMap::new();
    let mut warnings = 0;
    for event in entry.progress.history() {
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
    let record = &mut entry.record;
    record.num_total_steps = number(steps.len());
    record.num_completed_steps = number(steps.values().filter(|step| step.0).count());
    record.num_cached_steps = number(steps.values().filter(|step| step.1).count());
    record.num_warnings = warnings;
}
