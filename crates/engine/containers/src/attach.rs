//! `ContainerAttach`: a client takes part in the standard streams, from before the start if it likes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use arca_runtime::{AttachEnd, AttachSpec, Client, Session};
use tokio::sync::oneshot;

use crate::Error;
use crate::actor::{Actor, Command, Early};
use crate::arriving::Arrival;
use crate::index::Handle;
use crate::keys;
use crate::logs::LogStream;
use crate::requests::{AttachRequest, LogsRequest};
use crate::service::Containers;
use crate::state::State;

/// An attach that is allowed, and waits for the client's connection.
#[derive(Debug)]
pub struct Attachment {
    /// Whether the container has a terminal: its output is not framed then.
    pub tty: bool,
    /// What was logged before, to be sent first, when that was asked for.
    pub replay: Option<LogStream>,
    /// Whether there is something to follow: without it the attach ends with the replay.
    pub stream: bool,
    containers: Containers,
    handle: Arc<Handle>,
    spec: AttachSpec,
    arrival: Arrival,
}

impl Containers {
    /// Prepares to attach a client; what can be refused is refused here (`ContainerAttach`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for a paused or restarting container;
    /// [`Error::Invalid`] for keys that are not understood.
    pub async fn attach(&self, id: &str, request: AttachRequest) -> Result<Attachment, Error> {
        let detach_keys = keys::parse(request.detach_keys.as_deref())?;
        let handle = self.service().index.find(id)?;
        let container = handle.snapshot();
        match container.state {
            State::Paused(_) => {
                let text = format!("container {id} is paused, unpause the container before attach");
                return Err(Error::Conflict(text));
            }
            State::Restarting => {
                let text =
                    format!("container {id} is restarting, wait until the container is running");
                return Err(Error::Conflict(text));
            }
            _ => {}
        }
        let tty = container.spec.tty;
        let framed = request.framed.unwrap_or(!tty);
        let replay = if request.logs {
            let request = LogsRequest {
                stdout: request.streams.stdout,
                stderr: request.streams.stderr,
                ..LogsRequest::default()
            };
            Some(self.read_log(&container, &request, framed)?)
        } else {
            None
        };
        let spec = AttachSpec {
            stdin: request.streams.stdin && container.spec.open_stdin,
            stdout: request.streams.stdout,
            stderr: request.streams.stderr,
            detach_keys: if tty { detach_keys } else { Vec::new() },
            framed,
            early: Vec::new(),
        };
        let stream = request.stream;
        Ok(Attachment {
            tty,
            replay,
            stream,
            containers: self.clone(),
            arrival: handle.arriving.expect(),
            handle,
            spec,
        })
    }
}

impl Attachment {
    /// Hands the client's connection over and waits for the session to end. `early` is what the client
    /// has sent already.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the container is gone; [`Error::Runtime`] when it cannot be attached to.
    /// The connection is closed then.
    pub async fn connect(self, socket: OwnedFd, early: Vec<u8>) -> Result<(), Error> {
        let (sender, session) = oneshot::channel();
        let client = Client {
            spec: AttachSpec { early, ..self.spec },
            socket,
        };
        self.containers
            .ask(&self.handle, |reply| Command::Attach(client, sender, reply))
            .await?;
        drop(self.arrival);
        // A container that is removed before it was started has no session.
        let Ok(session) = session.await else {
            return Ok(());
        };
        if session.ended().await == AttachEnd::Detached {
            let container = self.handle.snapshot();
            let event = crate::actor::event(&container, "detach");
            self.containers.service().events.publish(event).await;
        }
        Ok(())
    }
}

impl Actor {
    /// Hands a client to the shim; before the start it waits for one.
    pub(crate) async fn attach(
        &mut self,
        client: Client,
        session: oneshot::Sender<Session>,
    ) -> Result<(), Error> {
        self.event("attach").await;
        if self.c.state.process().is_none() {
            if self.is_going() {
                return Err(Error::NotFound(self.c.id.to_string()));
            }
            self.early.push(Early { client, session });
            return Ok(());
        }
        match self.service.runtime.attach(&self.c.id, None, client).await {
            Ok(ended) => {
                if session.send(ended).is_err() {
                    tracing::debug!(container.id = %self.c.id, "the client is gone already");
                }
                Ok(())
            }
            // It has ended just now: so has the session.
            Err(arca_runtime::Error::NotRunning(_)) => Ok(()),
            Err(error) => Err(Error::Runtime(error)),
        }
    }
}
