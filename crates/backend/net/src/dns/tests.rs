//! A server in a namespace, asked as clients ask.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::message::{self, Answer, code, kind};
use super::upstream::{receive, send};
use super::*;
use crate::testing::in_namespace;

mod process;

const NETWORK: &str = "n1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names() -> Arc<Names> {
    let names = Names::default();
    let named = |name: &str, address| Named {
        names: vec![name.to_owned(), "all".to_owned()],
        addresses: vec![ip(address)],
    };
    names.set(NETWORK, "front", "e1", named("web", "10.0.0.2"));
    names.set(NETWORK, "front", "e2", named("db", "10.0.0.3"));
    Arc::new(names)
}

/// On the network, with a link to `web`.
fn config() -> DnsConfig {
    DnsConfig {
        networks: vec![NETWORK.to_owned()],
        upstreams: Vec::new(),
        links: [("shop".to_owned(), "web".to_owned())].into(),
    }
}

/// Starts a server whose upstreams are at the given addresses; returns it with its address.
fn start(upstreams: &[IpAddr], port: u16) -> (Server, SocketAddr) {
    let sockets = Sockets::bind().unwrap();
    let address = SocketAddr::new(ADDRESS.into(), sockets.ports().unwrap().0);
    let tcp = sockets.ports().unwrap().1;
    assert_ne!(tcp, 0);
    let upstreams = Upstreams::new(upstreams, port);
    let server = Server::start_with(sockets, names(), &config(), upstreams).unwrap();
    (server, address)
}

async fn ask(server: SocketAddr, name: &str, kind: u16) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(&message::ask(name, kind)).await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}

async fn addresses(server: SocketAddr, name: &str, kind: u16) -> Vec<IpAddr> {
    let response = ask(server, name, kind).await;
    assert_eq!(message::outcome(&response), Some(code::OK));
    let query = message::parse(&message::ask(name, kind)).unwrap();
    let mut found = message::addresses(&response, &query);
    found.sort();
    found
}

/// A server of the outside that answers every question with one address.
async fn outside(address: &str, answer: IpAddr) -> u16 {
    let socket = UdpSocket::bind(address).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = vec![0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let request = &buffer[..length];
            let query = message::parse(request).unwrap();
            let response = message::respond(request, &query, code::OK, &[Answer::Address(answer)]);
            socket.send_to(&response, client).await.unwrap();
        }
    });
    port
}

#[test]
fn names_of_the_network_are_answered() {
    in_namespace(async {
        let (_server, address) = start(&[], 53);
        assert_eq!(addresses(address, "web", kind::A).await, [ip("10.0.0.2")]);
        assert_eq!(
            addresses(address, "DB.front", kind::A).await,
            [ip("10.0.0.3")]
        );
        assert_eq!(addresses(address, "Shop", kind::A).await, [ip("10.0.0.2")]);
        let all = addresses(address, "all", kind::A).await;
        assert_eq!(all, [ip("10.0.0.2"), ip("10.0.0.3")]);
        // The name exists, an address of this family does not.
        assert!(addresses(address, "web", kind::AAAA).await.is_empty());
        let reverse = ask(address, "2.0.0.10.in-addr.arpa", kind::PTR).await;
        assert!(
            reverse
                .windows(10)
                .any(|bytes| bytes == b"\x03web\x05front")
        );
    });
}

#[test]
fn other_names_are_asked_elsewhere_and_the_next_server_helps() {
    in_namespace(async {
        let port = outside("127.0.0.1:0", ip("192.0.2.7")).await;
        // Nobody is at the first address: the kernel says so at once.
        let (_server, address) = start(&[ip("127.0.0.3"), ip("127.0.0.1")], port);
        assert_eq!(
            addresses(address, "example.org", kind::A).await,
            [ip("192.0.2.7")]
        );
    });
}

/// A server of the outside that counts its questions and answers them with an outcome and an address.
async fn counting(address: &str, outcome: u8) -> (u16, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind(address).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut buffer = vec![0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            counted.fetch_add(1, Ordering::Relaxed);
            let request = &buffer[..length];
            let query = message::parse(request).unwrap();
            let answers = [Answer::Address(ip("192.0.2.7"))];
            let answers = if outcome == code::OK {
                &answers[..]
            } else {
                &[]
            };
            let response = message::respond(request, &query, outcome, answers);
            socket.send_to(&response, client).await.unwrap();
        }
    });
    (port, count)
}

#[test]
fn an_answer_that_is_good_for_a_while_is_asked_for_once() {
    in_namespace(async {
        let (port, count) = counting("127.0.0.1:0", code::OK).await;
        let (_server, address) = start(&[ip("127.0.0.1")], port);
        for _ in 0..5 {
            assert_eq!(
                addresses(address, "example.org", kind::A).await,
                [ip("192.0.2.7")]
            );
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        addresses(address, "example.com", kind::A).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_server_that_fails_is_passed_over_and_its_failure_is_not_kept() {
    in_namespace(async {
        let (port, failing) = counting("127.0.0.3:0", code::SERVER).await;
        let (_, working) = counting(&format!("127.0.0.1:{port}"), code::OK).await;
        let (_server, address) = start(&[ip("127.0.0.3"), ip("127.0.0.1")], port);
        assert_eq!(
            addresses(address, "example.org", kind::A).await,
            [ip("192.0.2.7")]
        );
        assert_eq!(failing.load(Ordering::Relaxed), 1);
        assert_eq!(working.load(Ordering::Relaxed), 1);
        let (_server, address) = start(&[ip("127.0.0.3")], port);
        for _ in 0..2 {
            let response = ask(address, "example.org", kind::A).await;
            assert_eq!(message::outcome(&response), Some(code::SERVER));
        }
        assert_eq!(failing.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_silent_server_is_asked_last_afterwards() {
    in_namespace(async {
        let silent = UdpSocket::bind("127.0.0.3:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let (_, working) = counting(&format!("127.0.0.1:{port}"), code::OK).await;
        let (_server, address) = start(&[ip("127.0.0.3"), ip("127.0.0.1")], port);
        addresses(address, "one.example", kind::A).await;
        let begin = std::time::Instant::now();
        for name in ["two.example", "three.example"] {
            addresses(address, name, kind::A).await;
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(1));
        assert_eq!(working.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_flood_of_one_sandbox_does_not_slow_another() {
    in_namespace(async {
        // A server that never answers: every question of the flood waits for as long as it may.
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let (_flooded, victim) = start(&[ip("127.0.0.1")], port);
        let (_other, address) = start(&[], port);
        let end = Arc::new(AtomicUsize::new(0));
        let ends = Arc::clone(&end);
        let flood = tokio::spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(victim).await.unwrap();
            let mut number = 0_u32;
            while ends.load(Ordering::Relaxed) == 0 {
                number += 1;
                let request = message::ask(&format!("n{number}.example"), kind::A);
                let _lost = socket.send(&request).await;
                if number.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
            number
        });
        let mut slowest = std::time::Duration::ZERO;
        for _ in 0..100 {
            let begin = std::time::Instant::now();
            assert_eq!(addresses(address, "web", kind::A).await, [ip("10.0.0.2")]);
            slowest = slowest.max(begin.elapsed());
        }
        end.store(1, Ordering::Relaxed);
        let sent = flood.await.unwrap();
        assert!(sent > 1000, "{sent}");
        assert!(
            slowest < std::time::Duration::from_millis(500),
            "{slowest:?}"
        );
    });
}

#[test]
fn without_a_server_outside_the_failure_is_told() {
    in_namespace(async {
        let (_server, address) = start(&[], 53);
        let response = ask(address, "example.org", kind::A).await;
        assert_eq!(message::outcome(&response), Some(code::SERVER));
    });
}

#[test]
fn questions_by_tcp_are_answered_and_forwarded_by_tcp() {
    in_namespace(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = receive(&mut stream).await.unwrap();
            let query = message::parse(&request).unwrap();
            let many = vec![Answer::Address(ip("192.0.2.7")); 100];
            let response = message::respond(&request, &query, code::OK, &many);
            send(&mut stream, &response).await.unwrap();
        });
        let sockets = Sockets::bind().unwrap();
        let address = SocketAddr::new(ADDRESS.into(), sockets.ports().unwrap().1);
        let upstreams = Upstreams::new(&[ip("127.0.0.1")], port);
        let _server = Server::start_with(sockets, names(), &config(), upstreams).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        for (name, count) in [("web", 1), ("example.org", 100)] {
            let request = message::ask(name, kind::A);
            send(&mut stream, &request).await.unwrap();
            let response = receive(&mut stream).await.unwrap();
            let query = message::parse(&request).unwrap();
            assert_eq!(message::addresses(&response, &query).len(), count);
        }
    });
}

/// Bytes that are the same in every run.
fn noise(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.to_le_bytes()[3]
}

#[test]
fn whatever_comes_is_answered_or_dropped_and_never_a_panic() {
    let rounds = std::env::var("ARCA_TEST_ROUNDS").map_or(1, |text| text.parse().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..rounds * 20_000 {
        let mut bytes = message::ask("web.front.example", kind::A);
        for _ in 0..noise(&mut state) % 8 {
            let at = usize::from(noise(&mut state)) % bytes.len();
            bytes[at] = noise(&mut state);
        }
        bytes.truncate(usize::from(noise(&mut state)) % (bytes.len() + 1));
        if let Some(answer) = survives(&bytes) {
            assert_eq!(message::id(&answer), message::id(&bytes));
        }
    }
}
