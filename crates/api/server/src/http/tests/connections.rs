//! Connections that are handed over, streamed on and ended.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use bytes::Bytes;

use super::{Rig, blocking, read_head, read_until_end};

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

/// Another request is served.
fn goes_on(client: &mut UnixStream) {
    client
        .write_all(b"OPTIONS /x HTTP/1.1\r\nHost: d\r\n\r\n")
        .unwrap();
    assert!(read_head(client).starts_with("HTTP/1.1 200"));
}

/// A refusal that comes before the body, and ends the connection.
fn is_refused_for_good(client: &mut UnixStream) {
    let head = read_head(client);
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(head.contains("Connection: close\r\n"), "{head}");
}

#[tokio::test]
async fn a_connection_goes_on_when_a_body_that_nobody_wanted_comes_late() {
    let rig = Rig::new();
    let mut client = rig.connect();
    client
        .write_all(b"POST /refused HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\n")
        .unwrap();
    rig.refused.notified().await;
    blocking(move || {
        client.write_all(b"late").unwrap();
        assert!(read_head(&mut client).starts_with("HTTP/1.1 403"));
        goes_on(&mut client);
    })
    .await;
}

#[tokio::test]
async fn a_connection_goes_on_when_a_stream_gives_its_body_up() {
    let rig = Rig::new();
    let mut client = rig.connect();
    client
        .write_all(b"POST /given-up HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\n")
        .unwrap();
    rig.refused.notified().await;
    blocking(move || {
        let head = read_head(&mut client);
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        client.write_all(b"late").unwrap();
        let mut told = [0; 12];
        client.read_exact(&mut told).unwrap();
        assert_eq!(&told, b"2\r\nno\r\n0\r\n\r\n");
        goes_on(&mut client);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_a_long_body_blocks_is_said_to_close() {
    let rig = Rig::new();
    let mut chunked = b"Transfer-Encoding: chunked\r\n\r\n493e0\r\n".to_vec();
    chunked.extend_from_slice(&[0; 300_000]);
    for rest in [b"Content-Length: 300000\r\n\r\n".to_vec(), chunked] {
        let mut client = rig.connect();
        blocking(move || {
            client
                .write_all(b"POST /refused HTTP/1.1\r\nHost: d\r\n")
                .unwrap();
            client.write_all(&rest).unwrap();
            is_refused_for_good(&mut client);
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_not_asked_for_in_vain() {
    let rig = Rig::new();
    let mut client = rig.connect();
    blocking(move || {
        client
            .write_all(b"POST /refused HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .unwrap();
        is_refused_for_good(&mut client);
    })
    .await;
}
