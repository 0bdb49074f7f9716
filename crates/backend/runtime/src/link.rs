//! The connection to one shim: a task that owns the socket, and handles through which it is asked.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arca_shim_proto::{
    AttachEnd, Channel, ChannelError, Event as ShimEvent, Frame, FrameKind, Request, Response,
};
use arca_types::ContainerId;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;

/// How the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is there.
    Connected,
    /// It is closed.
    Closed,
}

/// A handle of the connection to one shim.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    id: ContainerId,
    asks: mpsc::Sender<Ask>,
    sessions: Arc<AtomicU64>,
    standing: watch::Receiver<Standing>,
}

#[derive(Debug)]
struct Ask {
    request: Request,
    descriptors: Vec<OwnedFd>,
    sessions: Vec<(u64, oneshot::Sender<AttachEnd>)>,
    answer: oneshot::Sender<Response>,
}

/// A request on its way, with the clients that it hands over.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) request: Request,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) sessions: Vec<(u64, oneshot::Sender<AttachEnd>)>,
}

impl From<Request> for Outgoing {
    fn from(request: Request) -> Self {
        Self {
            request,
            descriptors: Vec::new(),
            sessions: Vec::new(),
        }
    }
}

impl Link {
    /// Takes over a connected socket. Events come out of the receiver, which closes with the
    /// connection; the returned future is the task to be spawned.
    pub(crate) fn new(
        id: ContainerId,
        socket: OwnedFd,
    ) -> std::io::Result<(
        Self,
        mpsc::Receiver<ShimEvent>,
        impl Future<Output = ()> + Send,
    )> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe; a channel owns its descriptor and always names the same"
        )]
        let channel = AsyncFd::new(Channel::new(socket)?)?;
        let (asks, asked) = mpsc::channel(64);
        let (events, told) = mpsc::channel(256);
        let (stands, standing) = watch::channel(Standing::Connected);
        let connection = Connection {
            id: id.clone(),
            channel,
            asked,
            events,
            pending: HashMap::new(),
            sessions: HashMap::new(),
            number: 0,
        };
        let task = async move {
            connection.run().await;
            stands.send_replace(Standing::Closed);
        };
        let link = Self {
            id,
            asks,
            sessions: Arc::new(AtomicU64::new(1)),
            standing,
        };
        Ok((link, told, task))
    }

    /// A number for a new session.
    pub(crate) fn session_number(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Is the connection there?
    pub(crate) fn is_connected(&self) -> bool {
        *self.standing.borrow() == Standing::Connected
    }

    /// Asks, and waits for the answer until `deadline` has passed.
    pub(crate) async fn ask(
        &self,
        what: &'static str,
        deadline: Duration,
        outgoing: impl Into<Outgoing>,
    ) -> Result<Response, Error> {
        let outgoing = outgoing.into();
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            request: outgoing.request,
            descriptors: outgoing.descriptors,
            sessions: outgoing.sessions,
            answer,
        };
        let lost = || Error::ShimLost {
            id: self.id.clone(),
            reason: format!("the connection closed before it answered to {what}"),
        };
        let exchange = async {
            self.asks.send(ask).await.map_err(|_closed| lost())?;
            answered.await.map_err(|_closed| lost())
        };
        let response = tokio::time::timeout(deadline, exchange)
            .await
            .map_err(|_elapsed| Error::Deadline {
                id: self.id.clone(),
                what,
            })??;
        match response {
            Response::Failed(failure) => Err(Error::Refused(failure)),
            response => Ok(response),
        }
    }

    /// Says something whose answer does not matter, unless there is too much to be said already.
    pub(crate) fn notify(&self, request: Request) {
        let (answer, _) = oneshot::channel();
        let ask = Ask {
            request,
            descriptors: Vec::new(),
            sessions: Vec::new(),
            answer,
        };
        if self.asks.try_send(ask).is_err() {
            tracing::debug!(container.id = %self.id, "a shim was not notified");
        }
    }

    /// Asks for something that is just done or not.
    pub(crate) async fn order(
        &self,
        what: &'static str,
        deadline: Duration,
        outgoing: impl Into<Outgoing>,
    ) -> Result<(), Error> {
        match self.ask(what, deadline, outgoing).await? {
            Response::Done => Ok(()),
            _ => Err(Error::Answer {
                id: self.id.clone(),
                what,
            }),
        }
    }
}

/// The task's side.
struct Connection {
    id: ContainerId,
    channel: AsyncFd<Channel>,
    asked: mpsc::Receiver<Ask>,
    events: mpsc::Sender<ShimEvent>,
    pending: HashMap<u64, oneshot::Sender<Response>>,
    sessions: HashMap<u64, oneshot::Sender<AttachEnd>>,
    number: u64,
}

enum Wake {
    Ask(Option<Ask>),
    Ready(std::io::Result<()>),
}

impl Connection {
    async fn run(mut self) {
        let end = self.serve().await;
        if let Err(error) = end {
            tracing::debug!(container.id = %self.id, %error, "connection to shim ended");
        }
    }

    /// Carries requests and answers until either side is gone.
    async fn serve(&mut self) -> Result<(), ChannelError> {
        loop {
            match self.wait().await {
                Wake::Ask(None) => return Ok(()),
                Wake::Ask(Some(ask)) => {
                    self.send(ask);
                    self.channel.get_mut().flush()?;
                }
                Wake::Ready(result) => {
                    result.map_err(ChannelError::Socket)?;
                    self.channel.get_mut().flush()?;
                    self.channel.get_mut().fill()?;
                    while let Some((frame, _)) = self.channel.get_mut().next_frame()? {
                        self.receive(&frame).await;
                    }
                    if self.channel.get_ref().is_closed() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for a request to send or for the socket. Readiness is cleared here, before the socket
    /// is used, so that nothing that comes meanwhile is overlooked.
    async fn wait(&mut self) -> Wake {
        let interest = if self.channel.get_ref().wants_write() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        tokio::select! {
            ask = self.asked.recv() => Wake::Ask(ask),
            ready = self.channel.ready(interest) => Wake::Ready(ready.map(|mut guard| guard.clear_ready())),
        }
    }

    fn send(&mut self, ask: Ask) {
        self.number += 1;
        let frame = match Frame::encode(FrameKind::Request, self.number, &ask.request) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(container.id = %self.id, %error, "cannot encode a request");
                return;
            }
        };
        if let Err(error) = self.channel.get_mut().push(&frame, ask.descriptors) {
            tracing::error!(container.id = %self.id, %error, "cannot send a request");
            return;
        }
        self.pending.retain(|_, waiting| !waiting.is_closed());
        self.pending.insert(self.number, ask.answer);
        self.sessions.extend(ask.sessions);
    }

    async fn receive(&mut self, frame: &Frame) {
        match frame.kind {
            FrameKind::Response => self.answer(frame),
            FrameKind::Event => match frame.decode::<ShimEvent>() {
                Ok(ShimEvent::AttachEnded { session, end }) => {
                    // Nobody may be interested any more.
                    let told = self
                        .sessions
                        .remove(&session)
                        .map(|waiting| waiting.send(end));
                    tracing::trace!(container.id = %self.id, session, ?told, "session ended");
                }
                Ok(event) => {
                    if self.events.send(event).await.is_err() {
                        tracing::debug!(container.id = %self.id, "nobody listens to a shim");
                    }
                }
                Err(error) => {
                    tracing::debug!(container.id = %self.id, %error, "unknown event of a shim");
                }
            },
            FrameKind::Request | FrameKind::Unknown(_) => {}
        }
    }

    fn answer(&mut self, frame: &Frame) {
        let Some(waiting) = self.pending.remove(&frame.number) else {
            return;
        };
        match frame.decode() {
            // Who asked may have given up.
            Ok(response) => drop(waiting.send(response)),
            Err(error) => {
                tracing::warn!(container.id = %self.id, %error, "unknown answer of a shim");
            }
        }
    }
}
