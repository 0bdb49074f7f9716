//! Accepting connections and serving them, until told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arca_engine::Engine;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dispatch::Dispatch;
use super::io::Io;
use super::raw::Rewriter;
use super::{Listener, Socket};
use crate::App;

/// A client has so long to send the head of a request (as dockerd's).
const HEADER_DEADLINE: Duration = Duration::from_secs(300);
/// Requests in flight have so long to end when the daemon stops.
const GRACE: Duration = Duration::from_secs(5);
/// After a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the server says about itself.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The version in the header `Server`.
    pub version: String,
    /// `Docker-Experimental`.
    pub experimental: bool,
}

/// The API, ready to serve any number of listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    dispatch: Dispatch,
    connections: TaskTracker,
    sessions: TaskTracker,
    closing: CancellationToken,
}

impl Server {
    /// A server whose engine is still being opened: `/_ping` is answered, every other request waits for
    /// [`Server::open`].
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            dispatch: Dispatch::new(crate::system::early(), config),
            connections: TaskTracker::new(),
            sessions: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// The engine is there: every request is served.
    pub fn open(&self, engine: Engine) {
        let app = App::new(engine, self.sessions.clone(), self.closing.clone());
        self.open_router(crate::routes::router().with_state(app));
    }

    /// Serves any router.
    pub(crate) fn open_router(&self, router: Router) {
        self.dispatch.open(router);
    }

    /// Serves the clients of `listener` until [`Server::stop`].
    pub async fn serve(&self, listener: Listener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Ok(socket) => {
                    self.connections.spawn(self.clone().connection(socket));
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one client.
    pub async fn connection(self, socket: Socket) {
        let socket = Arc::new(socket);
        let rewriter = Arc::new(Rewriter::default());
        let service =
            self.dispatch
                .for_client(Arc::clone(&socket), Arc::clone(&rewriter), &self.closing);
        let connection = http1::Builder::new()
            .half_close(true)
            // as dockerd's are, for clients that compare them as text
            .title_case_headers(true)
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .serve_connection(
                TokioIo::new(Io::new(socket, rewriter)),
                TowerToHyperService::new(service),
            )
            .with_upgrades();
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(error = %arca_types::chain(&error), "connection ended");
        }
    }

    /// Waits for a request, and then until none has come for `pause`.
    pub async fn quiet(&self, pause: Duration) {
        self.dispatch.quiet(pause).await;
    }

    /// Stops accepting, ends streams that would go on for ever, lets other requests finish (for five
    /// seconds at most) and gives up what is left. Sessions that a shim carries go on without us.
    pub async fn stop(&self) {
        self.closing.cancel();
        self.connections.close();
        if tokio::time::timeout(GRACE, self.connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connections.len(),
                "requests did not end in time"
            );
        }
        self.sessions.close();
    }
}

/// Errors of `accept(2)` that concern only the client that was to be accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
