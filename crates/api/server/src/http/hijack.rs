//! Handing a connection over to the engine.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Socket;
use super::connection::Client;
use super::io::Io;
use crate::error::ApiError;

/// A request that turns its connection into a raw stream.
#[derive(Debug)]
pub(crate) struct Hijack {
    /// `None` when the client's connection cannot be taken over.
    upgrade: Option<OnUpgrade>,
    /// The client did not ask for an upgrade.
    raw: bool,
    /// What the client asks for.
    protocol: String,
}

impl<S: Sync> FromRequestParts<S> for Hijack {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let raw = parts
            .extensions
            .get::<Client>()
            .is_some_and(|client| client.raw);
        let protocol = parts.headers.get(header::UPGRADE);
        let protocol = protocol.map(|protocol| String::from_utf8_lossy(protocol.as_bytes()));
        Ok(Self {
            upgrade: parts.extensions.remove::<OnUpgrade>(),
            raw,
            protocol: protocol.unwrap_or_default().into_owned(),
        })
    }
}

impl Hijack {
    /// The answer `101 UPGRADED`, and the connection once it was sent.
    pub(crate) fn accept(
        self,
        content_type: &'static str,
    ) -> Result<
        (
            Response,
            impl Future<Output = io::Result<Connection>> + Send + 'static,
        ),
        ApiError,
    > {
        let Some(upgrade) = self.upgrade else {
            return Err(ApiError::bad("this connection cannot be hijacked"));
        };
        let content_type = if self.raw {
            arca_wire::frame::RAW
        } else {
            content_type
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(b"UPGRADED"));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
        Ok((response, take(upgrade)))
    }
}

impl Hijack {
    /// The answer `101 Switching Protocols` to a client that asked for HTTP/2, and the connection once it
    /// was sent.
    pub(crate) fn accept_h2c(
        self,
    ) -> Result<
        (
            Response,
            impl Future<Output = io::Result<Connection>> + Send + 'static,
        ),
        ApiError,
    > {
        let upgrade = self.upgrade.filter(|_| !self.raw);
        let Some(upgrade) = upgrade else {
            return Err(ApiError::internal("no upgrade proto in request"));
        };
        if self.protocol != "h2c" {
            let text = format!("protocol {} not supported", self.protocol);
            return Err(ApiError::internal(&text));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        Ok((response, take(upgrade)))
    }
}

async fn take(upgrade: OnUpgrade) -> io::Result<Connection> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = upgraded
        .downcast::<TokioIo<Io>>()
        .map_err(|_foreign| io::Error::other("the upgraded connection is not a socket of ours"))?;
    let socket = parts.io.into_inner().into_socket();
    Ok(Connection {
        socket,
        early: parts.read_buf.into(),
    })
}

/// A connection that was taken over.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Arc<Socket>,
    /// What the client has sent already.
    early: Vec<u8>,
}

impl Connection {
    /// The connection of a socket that nothing was read from.
    pub(crate) fn of(socket: UnixStream) -> Self {
        Self {
            socket: Arc::new(Socket::Unix(socket)),
            early: Vec::new(),
        }
    }

    /// Sends everything of a stream.
    pub(crate) async fn send_all<S, E>(&self, mut pieces: S) -> io::Result<()>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        while let Some(piece) = pieces.next().await {
            self.socket.send(&piece.map_err(io::Error::other)?).await?;
        }
        Ok(())
    }

    /// Sends some bytes.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes).await
    }

    /// A descriptor of the socket, and what the client has sent already. The connection stays open until
    /// both descriptors are closed.
    pub(crate) fn parts(&mut self) -> io::Result<(OwnedFd, Vec<u8>)> {
        Ok((self.socket.descriptor()?, std::mem::take(&mut self.early)))
    }

    /// The same, with nothing of it left here.
    pub(crate) fn into_parts(mut self) -> io::Result<(OwnedFd, Vec<u8>)> {
        self.parts()
    }
}
