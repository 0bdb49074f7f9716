//! What a handler may know about the connection that its request came by.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::Socket;
use crate::error::ApiError;

/// The client of a request. Answers that may take long end when it is [`gone`](Client::gone).
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(super) socket: Arc<Socket>,
    pub(super) closing: CancellationToken,
    /// Hijacks without an upgrade.
    pub(super) raw: bool,
}

impl Client {
    /// Waits until the client has closed the connection, or the daemon is to end.
    pub(crate) async fn gone(&self) {
        tokio::select! {
            () = self.socket.closed() => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// Runs `work` until it is done, or gives it up with the client.
    pub(crate) async fn unless_gone<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            result = work => Some(result),
            () = self.gone() => None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal("no connection"))
    }
}
