//! Real bytes through real sockets.

mod connections;
mod requests;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as Client;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, watch};

use super::{Hijack, JsonBody, Query, Server, ServerConfig, Socket, chunks, json, not_found_page};
use crate::error::ApiError;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    name: String,
}

async fn named(JsonBody(body): JsonBody<Body>) -> Response {
    json(StatusCode::OK, &body.name)
}

async fn image(Path(name): Path<String>, query: Query) -> String {
    format!("{name} {}", query.text("x"))
}

/// Answers what it was sent, then `bye`, when the client has closed its side.
async fn echo(hijack: Hijack, JsonBody(_): JsonBody<Body>) -> Result<Response, ApiError> {
    let (response, connection) = hijack.accept("application/vnd.docker.multiplexed-stream")?;
    tokio::spawn(async move {
        let (socket, mut early) = connection.await.unwrap().into_parts().unwrap();
        let mut socket = Client::from(socket);
        socket.set_nonblocking(false).unwrap();
        tokio::task::spawn_blocking(move || {
            socket.read_to_end(&mut early).unwrap();
            socket.write_all(&early).unwrap();
            socket.write_all(b"bye").unwrap();
        })
        .await
        .unwrap();
    });
    Ok(response)
}

/// What the tests watch and drive.
struct Rig {
    server: Server,
    /// What the server is to serve once its engine is there.
    router: Router,
    /// Tells when the endless stream was given up.
    given_up: watch::Receiver<bool>,
    /// Sends a piece of the endless stream.
    pieces: mpsc::Sender<Bytes>,
    /// Tells when a request was refused.
    refused: Arc<Notify>,
}

struct OnDrop(watch::Sender<bool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Rig {
    /// One whose engine is still being opened.
    fn starting() -> Self {
        let (dropped, given_up) = watch::channel(false);
        let (pieces, waiting) = mpsc::channel(1);
        let state = Arc::new(Mutex::new(Some((waiting, OnDrop(dropped)))));
        let refused = Arc::<Notify>::default();
        let refuse = {
            let refused = Arc::clone(&refused);
            async move || {
                refused.notify_one();
                StatusCode::FORBIDDEN
            }
        };
        let give_up = {
            let refused = Arc::clone(&refused);
            async move |client: super::Client, body: axum::body::Body| {
                let state = Some((refused, body));
                let told = stream::unfold(state, async |state| {
                    let (refused, _body) = state?;
                    refused.notify_one();
                    Some((Ok::<_, std::io::Error>(Bytes::from_static(b"no")), None))
                });
                chunks(client, "application/json", told)
            }
        };
        let endless = async move |client: super::Client| {
            let state = state.lock().unwrap().take().unwrap();
            let pieces = stream::unfold(state, |(mut waiting, guard)| async {
                let piece = waiting.recv().await?;
                Some((Ok::<_, std::io::Error>(piece), (waiting, guard)))
            });
            chunks(client, "application/json", pieces)
        };
        let router = Router::new()
            .route(
                "/named",
                post(named).route_layer(axum::middleware::from_fn(crate::compat::served)),
            )
            .route("/images/{name}/json", get(image))
            .route("/containers/{id}/attach", post(echo))
            .route("/exec/{id}/start", post(echo))
            .route("/endless", get(endless))
            .route("/refused", post(refuse))
            .route("/given-up", post(give_up))
            .fallback(async || not_found_page())
            .method_not_allowed_fallback(async || not_found_page());
        let config = ServerConfig {
            version: "1.2.3".to_owned(),
            experimental: false,
        };
        Self {
            server: Server::new(&config),
            router,
            given_up,
            pieces,
            refused,
        }
    }

    /// One whose engine is there.
    fn new() -> Self {
        let rig = Self::starting();
        rig.server.open_router(rig.router.clone());
        rig
    }

    fn connect(&self) -> Client {
        let (ours, theirs) = Client::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
        tokio::spawn(self.server.clone().connection(Socket::Unix(theirs)));
        ours.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        ours
    }

    /// Sends a request on a connection of its own and returns the whole answer.
    async fn ask(&self, request: &'static str) -> String {
        let mut client = self.connect();
        blocking(move || {
            client.write_all(request.as_bytes()).unwrap();
            read_until_end(&mut client)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn read_until_end(client: &mut Client) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn read_head(client: &mut Client) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
