//! Real bytes through real sockets.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Client;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

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
        let state = std::sync::Mutex::new(Some((waiting, OnDrop(dropped))));
        let state = std::sync::Arc::new(state);
        let endless = async move |client: super::Client| {
            let state = state.lock().unwrap().take().unwrap();
            let pieces = stream::unfold(state, |(mut waiting, guard)| async {
                let piece = waiting.recv().await?;
                Some((Ok::<_, std::io::Error>(piece), (waiting, guard)))
            });
            chunks(client, "application/json", pieces)
        };
        let router = Router::new()
            .route("/named", post(named))
            .route("/images/{name}/json", get(image))
            .route("/containers/{id}/attach", post(echo))
            .route("/exec/{id}/start", post(echo))
            .route("/endless", get(endless))
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

#[tokio::test]
async fn a_starting_engine_answers_pings_and_lets_the_rest_wait() {
    let rig = Rig::starting();
    let mut early = rig.connect();
    let early = blocking(move || {
        early
            .write_all(b"GET /images/a/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            .unwrap();
        early
    })
    .await;
    let pong = rig
        .ask("GET /v1.51/_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(pong.starts_with("HTTP/1.1 200 OK\r\n") && pong.ends_with("\r\n\r\nOK"));
    early.set_nonblocking(true).unwrap();
    let mut early = early;
    assert!(early.read(&mut [0]).is_err(), "no answer yet");
    rig.server.open_router(rig.router.clone());
    early.set_nonblocking(false).unwrap();
    let answer = blocking(move || read_until_end(&mut early)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn every_reply_has_the_headers() {
    let rig = Rig::new();
    let answer = rig
        .ask("GET /nosuch HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    for header in [
        "Api-Version: 1.51",
        "Docker-Experimental: false",
        "Ostype: linux",
        "Server: Docker/1.2.3 (linux)",
        "Content-Type: application/json",
        "Content-Length: 29",
    ] {
        assert!(
            answer.contains(&format!("{header}\r\n")),
            "{header} in {answer}"
        );
    }
    assert!(answer.ends_with("\r\n\r\n{\"message\":\"page not found\"}\n"));
}

#[tokio::test]
async fn versions_out_of_range_are_refused_in_dockerds_words() {
    let rig = Rig::new();
    let old = rig
        .ask("GET /v1.23/x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        old.starts_with("HTTP/1.1 400") && old.contains("Content-Type: text/plain; charset=utf-8")
    );
    assert!(old.ends_with(
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your \
         client to a newer version\n"
    ));
    let new = rig
        .ask("GET /v1.52/x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(new.ends_with(
        "{\"message\":\"client version 1.52 is too new. Maximum supported API version is 1.51\"}\n"
    ));
}

#[tokio::test]
async fn other_methods_are_no_pages_and_options_is_always_fine() {
    let rig = Rig::new();
    for request in [
        "PUT /named HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        "HEAD /images/a/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
    ] {
        assert!(
            rig.ask(request).await.starts_with("HTTP/1.1 404"),
            "{request}"
        );
    }
    let options = rig
        .ask("OPTIONS /v1.40/any HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(options.starts_with("HTTP/1.1 200 OK"));
    let moved = rig
        .ask("GET /a//b?c HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(moved.starts_with("HTTP/1.1 301") && moved.contains("Location: /a/b?c\r\n"));
}

#[tokio::test]
async fn names_of_images_may_contain_slashes() {
    let rig = Rig::new();
    for path in [
        "/v1.44/images/r:5000/a%2Fb:c/json?x=1",
        "/images/r:5000/a/b:c/json?x=1",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
        let answer = rig.ask(Box::leak(request.into_boxed_str())).await;
        assert!(answer.ends_with("r:5000/a/b:c 1"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_are_checked_as_dockerd_checks_them() {
    let rig = Rig::new();
    for (head, body, expected) in [
        (
            "Content-Type: application/json",
            r#"{"name":"x"}"#,
            "\"x\"\n",
        ),
        (
            "Content-Type: application/json; charset=utf-8",
            r#"{"NAME":"x"}"#,
            "\"x\"\n",
        ),
        ("X: y", "", "\"\"\n"),
        (
            "Content-Type: text/plain",
            "{}",
            "unsupported Content-Type header (text/plain): must be 'application/json'\"}\n",
        ),
        (
            "Content-Type: application/json",
            "{",
            "invalid JSON: unexpected EOF\"}\n",
        ),
        (
            "Content-Type: application/json",
            " ",
            "invalid JSON: got EOF while reading request body\"}\n",
        ),
        (
            "Content-Type: application/json",
            "{}{}",
            "\"unexpected content after JSON\"}\n",
        ),
        (
            "Content-Type: application/json",
            r#"{"Name":5}"#,
            "invalid JSON: json: cannot unmarshal number into Go struct field .Name of type string\"}\n",
        ),
    ] {
        let length = body.len();
        let request = format!(
            "POST /named HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = rig.ask(Box::leak(request.into_boxed_str())).await;
        assert!(answer.ends_with(expected), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_continue() {
    let rig = Rig::new();
    let mut client = rig.connect();
    blocking(move || {
        client
            .write_all(b"POST /named HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n")
            .unwrap();
        assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(br#"{"Name":"x"}"#).unwrap();
        assert!(read_head(&mut client).starts_with("HTTP/1.1 200 OK"));
    })
    .await;
}

#[tokio::test]
async fn a_hijacked_connection_is_handed_over_with_what_came_early() {
    let rig = Rig::new();
    let mut client = rig.connect();
    blocking(move || {
        client
            .write_all(b"POST /v1.51/exec/a/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}early")
            .unwrap();
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
        assert!(head.contains("Content-Type: application/vnd.docker.multiplexed-stream\r\n"));
        client.write_all(b" late ").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_until_end(&mut client), "early late bye");
    })
    .await;
}

#[tokio::test]
async fn clients_of_old_hijack_without_an_upgrade_even_on_a_used_connection() {
    let rig = Rig::new();
    let mut client = rig.connect();
    blocking(move || {
        client
            .write_all(b"GET /nosuch HTTP/1.1\r\nHost: d\r\n\r\n")
            .unwrap();
        assert!(read_head(&mut client).starts_with("HTTP/1.1 404"));
        let mut body = [0; 29];
        client.read_exact(&mut body).unwrap();

        client
            .write_all(b"POST /v1.24/containers/a/attach?stream=1 HTTP/1.1\r\nHost: d\r\n\r\n")
            .unwrap();
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("Content-Type: application/vnd.docker.raw-stream\r\n"),
            "{head}"
        );
        assert!(!head.to_lowercase().contains("upgrade") && !head.contains("Transfer-Encoding"));
        client.write_all(b"in ").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_until_end(&mut client), "in bye");
    })
    .await;
}

#[tokio::test]
async fn streams_send_their_head_at_once_and_every_piece_as_it_comes() {
    let rig = Rig::new();
    let mut client = rig.connect();
    let pieces = rig.pieces.clone();
    client
        .write_all(b"GET /endless HTTP/1.1\r\nHost: d\r\n\r\n")
        .unwrap();
    let mut client = blocking(move || {
        let head = read_head(&mut client);
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        client
    })
    .await;
    pieces.send(Bytes::from_static(b"one")).await.unwrap();
    blocking(move || {
        let mut chunk = [0; 8];
        client.read_exact(&mut chunk).unwrap();
        assert_eq!(&chunk, b"3\r\none\r\n");
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_given_up_when_its_client_is_gone() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    blocking(move || {
        client
            .write_all(b"GET /endless HTTP/1.1\r\nHost: d\r\n\r\n")
            .unwrap();
        read_head(&mut client);
        drop(client);
    })
    .await;
    rig.given_up.wait_for(|given_up| *given_up).await.unwrap();
}

#[tokio::test]
async fn stopping_ends_streams_and_idle_connections() {
    let mut rig = Rig::new();
    let mut streaming = rig.connect();
    let mut idle = rig.connect();
    let idle = blocking(move || {
        streaming
            .write_all(b"GET /endless HTTP/1.1\r\nHost: d\r\n\r\n")
            .unwrap();
        read_head(&mut streaming);
        idle.write_all(b"OPTIONS /x HTTP/1.1\r\nHost: d\r\n\r\n")
            .unwrap();
        read_head(&mut idle);
        (streaming, idle)
    })
    .await;
    rig.server.stop().await;
    rig.given_up.wait_for(|given_up| *given_up).await.unwrap();
    let (mut streaming, mut idle) = idle;
    blocking(move || {
        assert_eq!(read_until_end(&mut streaming), "0\r\n\r\n");
        assert_eq!(read_until_end(&mut idle), "");
    })
    .await;
}
