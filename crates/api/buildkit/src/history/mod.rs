//! The builds that run and that were: `buildx history`. Those that have ended are kept by the builder.

mod attached;
mod filter;
mod left;
mod trace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_build::progress::Progress;
use arca_build::{Builder, Job, Part, PastBuild};
use arca_types::Timestamp;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

use crate::build::Build;
use crate::control::solve::Done;
use crate::{api, convert, error};
use attached::{Attached, part_with};
use filter::Filter;
pub(crate) use left::told;
use left::{Parts, at, leave};
pub(crate) use trace::Caller;

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
    /// What it leaves, from its end until the builder keeps it.
    parts: Option<Arc<Parts>>,
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
                parts: None,
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
                parts: None,
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
    pub(crate) fn end(
        &self,
        build: &Build,
        outcome: Result<&Done, &Status>,
        caller: Option<&Caller>,
    ) {
        let id = build.job.id();
        let began = {
            let entries = self.entries();
            let mut found = entries.values().rev();
            let entry = found.find(|entry| entry.record.r#ref == id);
            // Of a build that a client makes for itself nothing is kept.
            let history = entry.filter(|entry| !entry.internal);
            history.map(|entry| entry.record.clone())
        };
        let left = began.map(|mut record| {
            let parts = leave(&mut record, build, outcome, caller);
            (record, parts)
        });
        let mut entries = self.entries();
        let mut found = entries.values_mut().rev();
        let Some(entry) = found.find(|entry| entry.record.r#ref == id) else {
            return;
        };
        entry.ended = true;
        let Some((record, parts)) = left else { return };
        entry.parts = Some(Arc::new(parts));
        // A client may have pinned it meanwhile.
        let pinned = entry.record.pinned;
        entry.record = api::BuildHistoryRecord { pinned, ..record };
        let record = entry.record.clone();
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

    /// Has the builder keep a build that has ended.
    pub(crate) fn keep(self: &Arc<Self>, builder: &Builder, id: &str) {
        let found = {
            let entries = self.entries();
            let mut known = entries.iter().rev().filter(|(_, entry)| !entry.internal);
            let entry = known.find(|(_, entry)| entry.record.r#ref == id);
            entry.and_then(|(number, entry)| {
                let parts = entry.parts.clone()?;
                Some((*number, entry.record.clone(), parts))
            })
        };
        let Some((number, record, parts)) = found else {
            return;
        };
        let (history, worker) = (Arc::clone(self), builder.clone());
        builder.spawn(async move {
            let kept = vec![
                (Part::Told, parts.told.clone()),
                (Part::Attached, parts.attached.encode_to_vec()),
            ];
            let outdated = worker.remember(past(&record), kept).await;
            match outdated {
                Ok(outdated) => {
                    if let Some(entry) = history.entries().get_mut(&number) {
                        (entry.told, entry.parts) = (Told::Kept, None);
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

    /// The content of that digest, if a record names it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn blob(
        &self,
        builder: &Builder,
        digest: &str,
    ) -> Result<Option<Bytes>, Status> {
        let found = {
            let entries = self.entries();
            let mut named = entries.values().filter_map(|entry| {
                let part = part_with(&entry.record, digest)?;
                Some((entry.record.r#ref.clone(), part, entry.parts.clone()))
            });
            named.next()
        };
        let Some((id, part, parts)) = found else {
            return Ok(None);
        };
        if let Some(parts) = parts {
            let content = match part {
                Part::Told => Some(&parts.told),
                Part::Attached => parts.attached.blobs.get(digest),
            };
            return Ok(content.map(|content| Bytes::copy_from_slice(content)));
        }
        let kept = builder.part(&id, part).await;
        let Some(kept) = kept.map_err(|e| error::status(&e))? else {
            return Ok(None);
        };
        if part == Part::Told {
            return Ok(Some(kept.into()));
        }
        let attached = Attached::decode(kept.as_slice());
        let mut attached = attached.map_err(|error| Status::internal(error.to_string()))?;
        Ok(attached.blobs.remove(digest).map(Bytes::from))
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
        if request.finalize && !request.delete {
            // Records are complete when a build has ended.
            return Ok(());
        }
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
            let kept = builder.remember(past(&record), Vec::new()).await;
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
    let completed = record.completed_at.as_ref().map_or(Timestamp::ZERO, at);
    PastBuild {
        id: record.r#ref.clone(),
        completed,
        pinned: record.pinned,
        record: record.encode_to_vec(),
    }
}
