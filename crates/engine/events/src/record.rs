//! How an event is kept in the journal.

use std::collections::BTreeMap;

use arca_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Actor, Event, Type};

/// The stored form. Fields are only ever added, each with a default.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    #[serde(rename = "type")]
    kind: String,
    action: String,
    id: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    seconds: i64,
    nanoseconds: u32,
}

impl From<&Event> for EventRecord {
    fn from(event: &Event) -> Self {
        Self {
            kind: event.kind.as_str().to_owned(),
            action: event.action.clone(),
            id: event.actor.id.clone(),
            attributes: event.actor.attributes.clone(),
            seconds: event.time.seconds(),
            nanoseconds: event.time.nanoseconds(),
        }
    }
}

impl EventRecord {
    /// The event; `None` for a type that only a later release knows.
    pub(crate) fn into_event(self) -> Option<Event> {
        let kind = Type::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)?;
        Some(Event {
            kind,
            action: self.action,
            actor: Actor {
                id: self.id,
                attributes: self.attributes,
            },
            time: Timestamp::from_unix(self.seconds, self.nanoseconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_stays_readable() {
        let stored = r#"{"type":"container","action":"die","id":"c1","attributes":{"exitCode":"0"},"seconds":7,"nanoseconds":9}"#;
        let record: EventRecord = serde_json::from_str(stored).unwrap();
        let event = record.into_event().unwrap();
        let expected = Event::new(Type::Container, "die", "c1")
            .with("exitCode", "0")
            .at(Timestamp::from_unix(7, 9));
        assert_eq!(event, expected);
        assert_eq!(
            serde_json::to_string(&EventRecord::from(&event)).unwrap(),
            stored
        );
    }
}
