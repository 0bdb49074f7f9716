//! Clients that serve files, secrets, agents and credentials to their builds.

mod attachable;
mod body;
mod content;
mod export;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arca_build::Error;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::service::SessionHeaders;

pub(crate) use body::Body;

/// How long a build waits for its session: clients open both at the same time.
const ARRIVAL: Duration = Duration::from_secs(5);

/// How many bytes of a stream may wait for their reader.
pub(crate) const WINDOW: u32 = 256 << 10;
/// And of all streams of a connection. `h2` gives a connection up as hostile when its frames, each counted as
/// 256 bytes at least, are half as much more than that; files are told of in frames of ten bytes and more,
/// as many as a window has room for. It takes this many bytes to allow that for some seventy streams.
pub(crate) const WINDOWS: u32 = 1 << 30;

/// The sessions that are open, by ID.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Arc<Mutex<HashMap<String, Arc<Session>>>>,
    arrived: Notify,
}

/// Closes a session when it goes.
#[derive(Debug)]
pub(crate) struct Opened {
    open: Arc<Mutex<HashMap<String, Arc<Session>>>>,
    session: Arc<Session>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.session.closed.cancel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Not one that has taken its place.
        if open
            .get(&self.session.id)
            .is_some_and(|other| Arc::ptr_eq(other, &self.session))
        {
            open.remove(&self.session.id);
        }
    }
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a session at hand as long as the answer is kept.
    pub(crate) fn add(&self, session: &Arc<Session>) -> Opened {
        self.open().insert(session.id.clone(), Arc::clone(session));
        self.arrived.notify_waiters();
        Opened {
            open: Arc::clone(&self.open),
            session: Arc::clone(session),
        }
    }

    /// The session of that ID; waits a little for one that is about to be opened.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<Session>, Status> {
        let deadline = tokio::time::Instant::now() + ARRIVAL;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(session) = self.open().get(id) {
                return Ok(Arc::clone(session));
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Err(Status::not_found(format!("no active session for {id}")));
            }
        }
    }
}

/// A client.
pub(crate) struct Session {
    id: String,
    shared_key: String,
    methods: HashSet<String>,
    channel: Channel,
    /// Cancelled when the connection is gone.
    closed: CancellationToken,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

/// Reports when a connection is dropped.
struct Watched<C> {
    connection: C,
    _ended: tokio_util::sync::DropGuard,
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// Becomes the HTTP/2 client of a connection. The token is cancelled when it is gone.
///
/// # Errors
/// When the other side does not speak HTTP/2.
pub(crate) async fn channel<C>(
    connection: C,
) -> Result<(Channel, CancellationToken), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let closed = CancellationToken::new();
    let watched = Watched {
        connection,
        _ended: closed.clone().drop_guard(),
    };
    let mut once = Some(TokioIo::new(watched));
    let connector = tower::service_fn(move |_: http::Uri| {
        let taken = once.take();
        async move { taken.ok_or_else(|| std::io::Error::other("the session was closed")) }
    });
    let endpoint = Endpoint::from_static("http://localhost")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS);
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok((channel, closed))
}

impl Session {
    /// Becomes the client of a connection. The token is cancelled when it is gone.
    ///
    /// # Errors
    /// When the other side does not speak HTTP/2.
    pub(crate) async fn connect<C>(
        headers: SessionHeaders,
        connection: C,
    ) -> Result<(Arc<Self>, CancellationToken), tonic::transport::Error>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (channel, closed) = channel(connection).await?;
        let methods = headers.methods.into_iter();
        let session = Arc::new(Self {
            id: headers.id,
            shared_key: headers.shared_key,
            methods: methods.map(|method| method.to_ascii_lowercase()).collect(),
            channel,
            closed: closed.clone(),
        });
        Ok((session, closed))
    }

    /// Does the client serve this method? It says so when it opens the session.
    fn serves(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// Waits for an answer, as long as the client is there.
    async fn ask<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Error> {
        tokio::select! {
            answer = call => answer.map_err(|status| crate::error::of_client(what, &status)),
            () = self.closed.cancelled() => {
                Err(Error::Failed(format!("{what}: the client has gone")))
            }
        }
    }
}

/// A connection with what was read of it already in front.
pub(crate) fn with_early(
    early: Vec<u8>,
    connection: UnixStream,
) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let (reader, writer) = connection.into_split();
    tokio::io::join(Cursor::new(early).chain(reader), writer)
}
