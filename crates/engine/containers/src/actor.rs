//! The actor of a container: the only writer of its state.
//!
//! Commands of clients, events of the runtime and delays that are over are handled one at a time. What
//! each does is in the file of its operation; here is the queue, and how a change is saved and then
//! told.

use std::sync::Arc;
use std::time::Duration;

use arca_events::{Event, Type};
use arca_runtime::{Client, ConsoleSize, Happening, Session};
use arca_store::{Batch, Durability};
use arca_types::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::Error;
use crate::container::Container;
use crate::model::{EndpointRequest, ProbeResult};
use crate::record::{ContainerRecord, Intent};
use crate::recover::Found;
use crate::requests::{RemoveRequest, Started, Stopped, UpdateRequest};
use crate::restart::Backoff;
use crate::service::Service;
use crate::state::{Input, State};
use crate::stop::StopOrder;
use crate::timers::{Timer, Timers};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// How many inputs may wait.
pub(crate) const QUEUE: usize = 64;

/// An input that is not a delay.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Reply<Started>),
    Stop(StopOrder, Reply<Stopped>),
    Restart(StopOrder, Reply<()>),
    Kill(Signal, Reply<()>),
    Pause(Reply<()>),
    Unpause(Reply<()>),
    Rename(String, Reply<()>),
    Connect(String, Box<EndpointRequest>, Reply<()>),
    Disconnect(String, bool, Reply<()>),
    Resize(ConsoleSize, Reply<()>),
    Update(Box<UpdateRequest>, Reply<Vec<String>>),
    Unlink(String, Reply<()>),
    Remove(RemoveRequest, Reply<()>),
    Attach(Client, oneshot::Sender<Session>, Reply<()>),
    Happened(Happening),
    /// A probe's result; answered with the delay before the next one.
    Probed(ProbeResult, oneshot::Sender<Duration>),
    Recover(Found, oneshot::Sender<()>),
}

/// What is due when the process has ended.
#[derive(Debug)]
pub(crate) enum AtEnd {
    /// A stop is answered.
    Stopped(Reply<Stopped>),
    /// A kill is answered.
    Killed(Reply<()>),
    /// It is started again.
    Restart(Reply<()>),
    /// It is removed.
    Remove(RemoveRequest, Reply<()>),
}

impl AtEnd {
    /// Tells whoever waits that it will not come to that.
    pub(crate) fn fail(self, error: Error) {
        let gone = match self {
            Self::Stopped(reply) => reply.send(Err(error)).is_err(),
            Self::Killed(reply) | Self::Restart(reply) | Self::Remove(_, reply) => {
                reply.send(Err(error)).is_err()
            }
        };
        if gone {
            tracing::debug!("nobody waits for the answer any more");
        }
    }
}

/// A client that attached before the start.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) client: Client,
    pub(crate) session: oneshot::Sender<Session>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) service: Arc<Service>,
    /// The container, as it will be published.
    pub(crate) c: Container,
    pub(crate) intent: Intent,
    pub(crate) timers: Timers,
    pub(crate) backoff: Backoff,
    pub(crate) at_end: Vec<AtEnd>,
    pub(crate) early: Vec<Early>,
    /// See [`crate::index::Handle`].
    pub(crate) files: Arc<tokio::sync::RwLock<()>>,
    pub(crate) prober: Option<AbortOnDropHandle<()>>,
    /// Dropped when what recovery goes on with is over.
    pub(crate) recovering: Option<oneshot::Sender<()>>,
    /// The container is no more: the actor ends.
    pub(crate) gone: bool,
    published: watch::Sender<Arc<Container>>,
    commands: mpsc::Receiver<Command>,
}

/// The ends of a container's queue and of its published state that others hold.
pub(crate) type Ends = (mpsc::Sender<Command>, watch::Receiver<Arc<Container>>);

impl Actor {
    /// An actor that has yet to run, and how to reach it.
    pub(crate) fn new(service: Arc<Service>, container: Container, intent: Intent) -> (Self, Ends) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let (published, state) = watch::channel(Arc::new(container.clone()));
        let actor = Self {
            service,
            c: container,
            intent,
            timers: Timers::default(),
            backoff: Backoff::default(),
            at_end: Vec::new(),
            early: Vec::new(),
            files: Arc::default(),
            prober: None,
            recovering: None,
            gone: false,
            published,
            commands,
        };
        (actor, (sender, state))
    }

    /// Handles inputs until the container is removed or the daemon ends.
    pub(crate) async fn run(mut self) {
        let closing = self.service.closing.clone();
        while !self.gone {
            tokio::select! {
                () = closing.cancelled() => break,
                timer = self.timers.next() => self.due(timer).await,
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => break,
                },
            }
        }
    }

    async fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Kill => self.kill_disobedient().await,
            Timer::GiveUp => self.give_up_on_end().await,
            Timer::Restart => self.restart_by_policy().await,
            Timer::Boot => self.start_by_policy().await,
            Timer::AutoRemove => self.auto_remove().await,
        }
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Start(reply) => {
                let started = self.start().await;
                self.answer(reply, started);
            }
            Command::Stop(order, reply) => self.stop(order, reply).await,
            Command::Restart(order, reply) => self.restart(order, reply).await,
            Command::Kill(signal, reply) => self.kill(signal, reply).await,
            Command::Pause(reply) => {
                let done = self.pause().await;
                self.answer(reply, done);
            }
            Command::Unpause(reply) => {
                let done = self.unpause().await;
                self.answer(reply, done);
            }
            Command::Rename(name, reply) => {
                let done = self.rename(name).await;
                self.answer(reply, done);
            }
            Command::Connect(network, request, reply) => {
                let done = self.connect(&network, *request).await;
                self.answer(reply, done);
            }
            Command::Disconnect(network, force, reply) => {
                let done = self.disconnect(&network, force).await;
                self.answer(reply, done);
            }
            Command::Resize(size, reply) => {
                let done = self.resize(size).await;
                self.answer(reply, done);
            }
            Command::Update(request, reply) => {
                let done = self.update(*request).await;
                self.answer(reply, done);
            }
            Command::Unlink(alias, reply) => {
                let done = self.unlink(alias).await;
                self.answer(reply, done);
            }
            Command::Remove(request, reply) => self.remove(request, reply).await,
            Command::Attach(client, session, reply) => {
                let done = self.attach(client, session).await;
                self.answer(reply, done);
            }
            Command::Happened(happening) => self.happened(happening).await,
            Command::Probed(result, next) => {
                self.probed(result).await;
                if next.send(self.next_probe()).is_err() {
                    tracing::trace!("the prober was ended meanwhile");
                }
            }
            Command::Recover(found, done) => self.recover_and_tell(found, done).await,
        }
    }

    async fn recover_and_tell(&mut self, found: Found, done: oneshot::Sender<()>) {
        self.recover(found).await;
        // A removal that goes on ends when the process does: the answer goes with the actor.
        if self.intent.remove.is_some() && self.c.state.process().is_some() {
            self.recovering = Some(done);
        } else if done.send(()).is_err() {
            tracing::debug!("nobody waits for the recovery any more");
        }
    }

    async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Exited(status) => self.ended(status, None).await,
            Happening::ShimLost { reason, status } => {
                tracing::error!(container.id = %self.c.id, reason, "the shim was lost");
                self.ended(
                    status,
                    Some(format!("the container's shim was lost: {reason}")),
                )
                .await;
            }
            Happening::Oom => {
                self.c.run.oom_killed = true;
                self.save_quietly().await;
                self.event("oom").await;
            }
            // Sessions have a registry of their own; see `execs`.
            Happening::ExecExited(_) => {}
        }
    }

    /// Answers; whoever asked may have gone.
    pub(crate) fn answer<T>(&self, reply: Reply<T>, answer: Result<T, Error>) {
        if reply.send(answer).is_err() {
            tracing::debug!(container.id = %self.c.id, "nobody waits for the answer any more");
        }
    }

    /// Changes the state as a request does: refused, or saved and then told.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not allowed now; [`Error::Store`]. Nothing has changed then.
    pub(crate) async fn request(&mut self, input: Input) -> Result<(), Error> {
        let before = self.c.state;
        self.c.state = before.after(input).map_err(|_refused| {
            let state = before.as_str();
            Error::Conflict(format!("container {} is {state}", self.c.id))
        })?;
        let saved = self.save(Durability::Process).await;
        if saved.is_err() {
            self.c.state = before;
        }
        saved
    }

    /// Changes the state as a fact does: it cannot be refused.
    pub(crate) async fn note(&mut self, input: Input) {
        match self.c.state.after(input) {
            Ok(state) => self.c.state = state,
            Err(_refused) => {
                tracing::error!(container.id = %self.c.id, state = ?self.c.state, ?input,
                    "this cannot happen in this state");
            }
        }
        self.save_quietly().await;
    }

    /// Saves the container, then publishes it.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing is published then.
    pub(crate) async fn save(&mut self, durability: Durability) -> Result<(), Error> {
        let record = ContainerRecord::new(&self.c, self.intent);
        let batch = Batch::new()
            .put(self.c.id.as_str(), &record)
            .map_err(Error::Store)?;
        self.service
            .store
            .commit(batch, durability)
            .await
            .map_err(Error::Store)?;
        self.publish();
        Ok(())
    }

    /// Saves what has happened; it has happened also when it cannot be saved.
    pub(crate) async fn save_quietly(&mut self) {
        if let Err(error) = self.save(Durability::Process).await {
            let error = arca_types::chain(&error);
            tracing::error!(container.id = %self.c.id, error, "the container is not saved");
            self.publish();
        }
    }

    /// Tells those who watch.
    pub(crate) fn publish(&self) {
        let container = Arc::new(self.c.clone());
        let (name, running) = (Arc::clone(&container.name), container.state);
        self.published.send_replace(container);
        tracing::debug!(container.id = %self.c.id, %name, state = running.as_str(), "published");
    }

    /// Publishes an event about this container.
    pub(crate) async fn event(&self, action: &str) {
        self.event_with::<0>(action, []).await;
    }

    /// Publishes an event with further attributes.
    pub(crate) async fn event_with<const N: usize>(
        &self,
        action: &str,
        attributes: [(&'static str, String); N],
    ) {
        let event = event(&self.c, action).with_all(attributes);
        self.service.events.publish(event).await;
    }

    /// Whether it is being taken apart, or was.
    pub(crate) fn is_going(&self) -> bool {
        matches!(self.c.state, State::Removing | State::Dead)
    }
}

/// An event about a container: its labels, image and name.
pub(crate) fn event(container: &Container, action: &str) -> Event {
    let labels = container
        .spec
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    Event::new(Type::Container, action, container.id.as_str())
        .with_all(labels)
        .with("image", container.spec.image.clone())
        .with("name", &*container.name)
}
