//! Equal steps run once: whoever comes second joins the first. The step ends when nobody wants it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_types::{Digest, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Outputs, Step};
use crate::Error;
use crate::graph::Vertex;
use crate::job::Job;
use crate::progress::{Event, LOG_LIMIT, Log, Progress, Status};

/// The steps that run now, by key.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Arc<Flight>>>);

type Landed = Result<Arc<Outputs>, Arc<Error>>;

#[derive(Debug)]
struct Flight {
    listeners: Listeners,
    landed: watch::Receiver<Option<Landed>>,
    cancel: CancellationToken,
    passengers: Mutex<usize>,
}

/// Who hears of a step's work: each build with its own digest of the vertex.
#[derive(Debug, Clone)]
pub(crate) struct Listeners(Arc<Mutex<Heard>>);

#[derive(Debug)]
struct Heard {
    who: Vec<(Progress, Digest)>,
    /// What was told, for those who join later.
    told: Vec<Event>,
    /// Bytes of output so far.
    logged: usize,
}

impl Listeners {
    pub(crate) fn of(job: &Job, vertex: &Vertex) -> Self {
        Self(Arc::new(Mutex::new(Heard {
            who: vec![(job.progress().clone(), vertex.digest().clone())],
            told: Vec::new(),
            logged: 0,
        })))
    }

    fn add(&self, progress: &Progress, digest: &Digest) {
        let mut heard = self.heard();
        for event in &heard.told {
            progress.tell(renamed(event, digest));
        }
        heard.who.push((progress.clone(), digest.clone()));
    }

    /// Hands on output of a process; what is over the limit is dropped, and that is said once.
    pub(crate) fn log(&self, stream: u8, data: &[u8], at: Timestamp) {
        let data = {
            let mut heard = self.heard();
            let before = heard.logged;
            heard.logged = before.saturating_add(data.len());
            match LOG_LIMIT.checked_sub(before) {
                None | Some(0) => return,
                Some(left) if left < data.len() => {
                    let mut cut = data.get(..left).unwrap_or_default().to_vec();
                    cut.extend_from_slice(b"\n[output clipped, log limit 2MiB reached]\n");
                    heard.logged = usize::MAX;
                    cut
                }
                Some(_) => data.to_vec(),
            }
        };
        self.tell(Event::Log(Arc::new(Log {
            vertex: self.anyone(),
            stream,
            data,
            timestamp: at,
        })));
    }

    /// Tells of a part of the work.
    pub(crate) fn status(&self, mut status: Status) {
        status.vertex = self.anyone();
        self.tell(Event::Status(Arc::new(status)));
    }

    pub(crate) fn anyone(&self) -> Digest {
        let heard = self.heard();
        let first = heard.who.first().map(|(_, digest)| digest.clone());
        first.unwrap_or_else(|| Digest::sha256(&[0; 32]))
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        let heard = self.heard();
        heard.who.first().map_or(Timestamp::ZERO, |(p, _)| p.now())
    }

    fn tell(&self, event: Event) {
        let mut heard = self.heard();
        for (progress, digest) in &heard.who {
            progress.tell(renamed(&event, digest));
        }
        heard.told.push(event);
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same event of another build's vertex.
fn renamed(event: &Event, digest: &Digest) -> Event {
    match event {
        Event::Log(log) => Event::Log(Arc::new(Log {
            vertex: digest.clone(),
            ..Log::clone(log)
        })),
        Event::Status(status) => Event::Status(Arc::new(Status {
            vertex: digest.clone(),
            ..Status::clone(status)
        })),
        other => other.clone(),
    }
}

/// Whoever waits; the last one that leaves ends the step.
struct Passenger(Arc<Flight>);

impl Drop for Passenger {
    fn drop(&mut self) {
        let mut passengers = self.0.passengers();
        *passengers -= 1;
        if *passengers == 0 {
            self.0.cancel.cancel();
        }
    }
}

impl Flight {
    fn passengers(&self) -> MutexGuard<'_, usize> {
        self.passengers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets on, unless everybody has left already.
    fn board(self: &Arc<Self>, step: &Step) -> Option<Passenger> {
        let mut passengers = self.passengers();
        if self.cancel.is_cancelled() {
            return None;
        }
        *passengers += 1;
        drop(passengers);
        self.listeners
            .add(step.job.progress(), step.vertex.digest());
        Some(Passenger(Arc::clone(self)))
    }
}

/// Runs a step, or waits for an equal one that runs.
pub(super) async fn join(step: &Step, key: Digest) -> Landed {
    let service = Arc::clone(&step.job.0.service);
    // A step that is to be run anew is nobody else's.
    let shared = !step.vertex.metadata().ignore_cache;
    let passenger = {
        let mut flights = service.flights.flights();
        let running = flights.get(&key).filter(|_| shared);
        match running.and_then(|flight| flight.board(step)) {
            Some(passenger) => passenger,
            None => {
                let (flight, landing) = Flight::begin(step);
                if shared {
                    flights.insert(key.clone(), Arc::clone(&flight));
                }
                let work = fly(step.clone(), key, Arc::clone(&flight), landing);
                service.tasks.spawn(work);
                Passenger(flight)
            }
        }
    };
    let mut landed = passenger.0.landed.clone();
    let landed = landed.wait_for(Option::is_some).await;
    match landed.as_deref() {
        Ok(Some(landed)) => landed.clone(),
        _ => Err(Arc::new(Error::Cancelled)),
    }
}

impl Flight {
    fn begin(step: &Step) -> (Arc<Self>, watch::Sender<Option<Landed>>) {
        let (landing, landed) = watch::channel(None);
        let flight = Self {
            listeners: Listeners::of(&step.job, &step.vertex),
            landed,
            cancel: step.job.0.service.closing.child_token(),
            passengers: Mutex::new(1),
        };
        (Arc::new(flight), landing)
    }
}

async fn fly(
    mut step: Step,
    key: Digest,
    flight: Arc<Flight>,
    landing: watch::Sender<Option<Landed>>,
) {
    step.cancel = flight.cancel.clone();
    let ran = tokio::select! {
        biased;
        ran = step.run(&flight.listeners) => ran,
        () = flight.cancel.cancelled(), if !step.ends_itself() => Err(Error::Cancelled),
    };
    let service = &step.job.0.service;
    let landed = match ran {
        Ok(outputs) => {
            service.cache.keep(&key, &step, &outputs).await;
            Ok(outputs)
        }
        Err(error) => Err(Arc::new(error)),
    };
    {
        let mut flights = service.flights.flights();
        if flights
            .get(&key)
            .is_some_and(|known| Arc::ptr_eq(known, &flight))
        {
            flights.remove(&key);
        }
    }
    landing.send_replace(Some(landed));
}

impl Flights {
    fn flights(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
