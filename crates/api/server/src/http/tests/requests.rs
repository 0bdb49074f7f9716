//! Requests and their checks: versions, methods, names, bodies.

use std::io::{Read as _, Write as _};

use super::{Rig, blocking, read_head, read_until_end};

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
        .ask("POST /v1.23/named HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        old.starts_with("HTTP/1.1 400") && old.contains("Content-Type: text/plain; charset=utf-8")
    );
    assert!(old.ends_with(
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your \
         client to a newer version\n"
    ));
    let new = rig
        .ask("POST /v1.52/named HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(new.ends_with(
        "{\"message\":\"client version 1.52 is too new. Maximum supported API version is 1.51\"}\n"
    ));
    let nowhere = rig
        .ask("GET /v1.52/x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .await;
    assert!(nowhere.starts_with("HTTP/1.1 404"));
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
