//! The engine's event stream, read in the background.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Http;

/// Events since it was opened.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Value>,
    seen: Vec<Value>,
}

impl Events {
    /// Opens the stream; `query` is empty or begins with `?`.
    pub(crate) fn open(http: &Http, query: &str) -> Self {
        let (sender, receiver) = std::sync::mpsc::sync_channel(65536);
        let mut response = http.send("GET", &format!("/v1.51/events{query}"), &[], b"");
        assert_eq!(response.status, 200);
        std::thread::spawn(move || {
            let mut pending = Vec::new();
            while let Some(line) = response.line(&mut pending) {
                if let Ok(event) = serde_json::from_str(&line)
                    && sender.send(event).is_err()
                {
                    break;
                }
            }
        });
        Self {
            receiver,
            seen: Vec::new(),
        }
    }

    /// Waits up to 30 seconds for an event `action` whose actor's ID or name is `actor`.
    ///
    /// # Panics
    /// When none came; the message lists those that did.
    #[track_caller]
    pub fn wait(&mut self, action: &str, actor: &str) -> Value {
        self.wait_for(action, |event| concerns(event, actor))
    }

    /// Waits up to 30 seconds for an event `action` that fits.
    ///
    /// # Panics
    /// When none came; the message lists those that did.
    #[track_caller]
    pub fn wait_for(&mut self, action: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        let fits = |event: &Value| event["Action"] == action && fits(event);
        if let Some(event) = self.seen.iter().find(|event| fits(event)) {
            return event.clone();
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if fits(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let seen: Vec<_> = self
                        .seen
                        .iter()
                        .map(|e| format!("{} {}", e["Action"], e["Actor"]["Attributes"]["name"]))
                        .collect();
                    panic!("no event {action} that fits; came: {seen:#?}");
                }
            }
        }
    }

    /// Forgets the events that came so far.
    pub fn forget(&mut self) {
        self.seen.clear();
        while self.receiver.try_recv().is_ok() {}
    }

    /// When events `action` of `actor` happened that were seen until now, in nanoseconds since 1970.
    pub fn times(&mut self, action: &str, actor: &str) -> Vec<i64> {
        self.seen.extend(self.receiver.try_iter());
        let fits = |event: &&Value| event["Action"] == action && concerns(event, actor);
        let events = self.seen.iter().filter(fits);
        events
            .filter_map(|event| event["timeNano"].as_i64())
            .collect()
    }

    /// The actions of `actor` seen until now, in order.
    pub fn actions(&mut self, actor: &str) -> Vec<String> {
        self.seen.extend(self.receiver.try_iter());
        self.seen
            .iter()
            .filter(|event| concerns(event, actor))
            .filter_map(|event| event["Action"].as_str().map(str::to_owned))
            .collect()
    }
}

fn concerns(event: &Value, actor: &str) -> bool {
    event["Actor"]["Attributes"]["name"] == actor
        || event["Actor"]["ID"]
            .as_str()
            .is_some_and(|id| id.starts_with(actor))
}
