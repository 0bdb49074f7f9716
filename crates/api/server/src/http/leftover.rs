//! What a handler leaves unread of a request's body.
//!
//! The next request of a connection comes behind this one's body. hyper reads what of it happens to have come and
//! otherwise closes the connection when the answer is sent, which a client that is slower with its body learns from
//! its next request. As Go's server does, the rest is read before the answer ends; where there is too much of it, the
//! answer says that the connection will be closed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

/// More than this is not worth another request on the connection (as Go's `maxPostHandlerReadBytes`).
const LIMIT: u64 = 256 << 10;
/// A client has so long to send it.
const DEADLINE: Duration = Duration::from_secs(5);

/// A request's body that hands over what is left of it when it is dropped.
struct Reading {
    body: Option<Incoming>,
    /// The client sends it only when it is asked to.
    expects: bool,
    left: Option<oneshot::Sender<Left>>,
}

struct Left {
    body: Incoming,
    expects: bool,
}

/// The other end of a body that a handler has.
pub(super) struct Leftover(oneshot::Receiver<Left>);

/// The body for the handler, and what tells its rest later; nothing where the body is empty.
pub(super) fn watch(headers: &HeaderMap, incoming: Incoming) -> (Body, Option<Leftover>) {
    if incoming.is_end_stream() {
        return (Body::new(incoming), None);
    }
    let (sender, receiver) = oneshot::channel();
    let body = Reading {
        body: Some(incoming),
        expects: headers.contains_key(header::EXPECT),
        left: Some(sender),
    };
    (Body::new(body), Some(Leftover(receiver)))
}

impl Leftover {
    /// The answer that leaves the connection ready for the next request, or says that it will be closed.
    pub(super) async fn settle(mut self, mut response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        match self.0.try_recv() {
            Ok(left) => {
                if !left.read().await {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            }
            Err(oneshot::error::TryRecvError::Closed) => response,
            // The answer is told while the body is read.
            Err(oneshot::error::TryRecvError::Empty) => response.map(|body| {
                let rest = stream::once(self.read()).filter_map(async |()| None);
                Body::from_stream(body.into_data_stream().chain(rest))
            }),
        }
    }

    async fn read(mut self) {
        if let Ok(left) = self.0.try_recv() {
            left.read().await;
        }
    }
}

impl Left {
    /// Reads all of it, if that is not too much.
    async fn read(mut self) -> bool {
        let known = self.body.size_hint().lower();
        if self.expects || known > LIMIT {
            return false;
        }
        let reading = async {
            let mut length: u64 = 0;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else { return false };
                length += frame.data_ref().map_or(0, |data| data.len() as u64);
                if length > LIMIT {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DEADLINE, reading)
            .await
            .unwrap_or(false)
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.expects = false;
        let Some(body) = self.body.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let (Some(body), Some(left)) = (self.body.take(), self.left.take())
            && !body.is_end_stream()
        {
            let expects = self.expects;
            // The connection is gone when nobody waits for it.
            drop(left.send(Left { body, expects }));
        }
    }
}
