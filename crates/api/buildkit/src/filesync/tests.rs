//! A sender that is faster than the receiver.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::session;

/// As many small packets as the window of a stream lets through while nobody reads, nearly.
const PACKETS: u32 = 14_000;

/// A packet as gRPC frames it: the least there is.
fn framed(packet: &Packet) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(packet.encoded_len()).unwrap());
    packet.encode(&mut frame).unwrap();
    frame.freeze()
}

/// Answers every request with as many packets as its path says, each in an HTTP/2 frame of its own, and tells
/// when the last one was taken.
async fn serve(connection: UnixStream, sent: Arc<Notify>) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let count = if request.uri().path() == METHOD {
            PACKETS
        } else {
            0
        };
        let sent = Arc::clone(&sent);
        let packets =
            (0..count).map(|number| framed(&packet(PacketType::PacketReq, number, Vec::new())));
        let end = std::iter::from_fn(move || {
            sent.notify_one();
            None
        });
        let frames = packets
            .chain(end)
            .map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let response = http::Response::builder().header("content-type", "application/grpc");
        async move { response.body(body) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(connection), service);
    drop(connection.await);
}

const METHOD: &str = "/test/Packets";

#[tokio::test]
async fn a_receiver_may_be_slow() {
    let (here, there) = UnixStream::pair().unwrap();
    let sent = Arc::new(Notify::new());
    tokio::spawn(serve(there, Arc::clone(&sent)));
    let (channel, _ended) = session::channel(here).await.unwrap();
    let stream = |method| {
        let (_asks, outgoing) = mpsc::channel(1);
        open(channel.clone(), method, MetadataMap::new(), outgoing)
    };
    let mut incoming = stream(METHOD).await.unwrap();
    sent.notified().await;
    // What is answered later has overtaken nothing.
    let mut later = stream("/test/Later").await.unwrap();
    drop(later.message().await);
    for number in 0..PACKETS {
        let packet = incoming.message().await.unwrap().unwrap();
        assert_eq!(packet.id, number);
    }
}
