//! A registry behind a bad network: what goes wrong with each request, a seed says. Requests are counted,
//! and the answers to those for layers can be held back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::engine::Engine;
use crate::registry::Registry;

/// Heads of requests and answers are smaller than this.
const HEAD_LIMIT: usize = 64 * 1024;

/// What is smaller than this is no layer.
const HELD_SIZE: u64 = 8 * 1024;

/// How a client begins that wants TLS: it is told in plain text that there is none.
const TLS_HANDSHAKE: u8 = 0x16;

/// A proxy in front of a registry, in the engine's network namespace; ended when dropped.
#[derive(Debug)]
pub struct Chaos {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    random: AtomicU64,
    calm: AtomicBool,
    ended: AtomicBool,
    faults: AtomicU64,
    /// The first lines of all requests.
    requests: Mutex<Vec<String>>,
    held: Mutex<bool>,
    released: Condvar,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    /// Answered with this status.
    Refused(u16),
    /// The connection ends before there is an answer.
    Dropped,
    /// The connection ends after so many bytes of the answer's body.
    Cut(u64),
    /// This byte of the answer's body is another one.
    Corrupted(u64),
    /// The connection ends after so many bytes of the request's body.
    UploadCut(u64),
    Delayed,
}

impl Chaos {
    /// Starts a proxy in front of `registry`. The same seed and requests give the same faults.
    pub fn start(engine: &Engine, registry: &Registry, seed: u64) -> Self {
        let listener = engine.in_netns(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            upstream: registry.address().to_owned(),
            random: AtomicU64::new(seed),
            calm: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            faults: AtomicU64::new(0),
            requests: Mutex::default(),
            held: Mutex::new(false),
            released: Condvar::new(),
        });
        let netns = engine
            .netns()
            .map(|netns| std::fs::File::open(netns.path()).unwrap());
        let inner = Arc::clone(&shared);
        std::thread::spawn(move || {
            let shared = inner;
            {
                if let Some(netns) = netns {
                    let network = Some(LinkNameSpaceType::Network);
                    move_into_link_name_space(netns.as_fd(), network).unwrap();
                }
                for client in listener.incoming().flatten() {
                    if shared.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // Threads are in the namespace of the one that makes them.
                    std::thread::spawn(move || shared.serve(client));
                }
            }
        });
        Self { address, shared }
    }

    /// The name of an image in the registry, as it is behind the proxy.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// From now on nothing goes wrong, or again.
    pub fn set_calm(&self, calm: bool) {
        self.shared.calm.store(calm, Ordering::SeqCst);
    }

    /// How much has gone wrong so far.
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }

    /// The requests since this was asked last: method and path.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }

    /// From now on layers come by half only, until this is taken back.
    pub fn hold(&self, hold: bool) {
        *self.shared.held.lock().unwrap() = hold;
        self.shared.released.notify_all();
    }
}

impl Drop for Chaos {
    /// The thread ends with its next connection, or with the test.
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.hold(false);
    }
}

impl Shared {
    fn random(&self) -> u64 {
        let step = |state: u64| {
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1)
        };
        let before = self
            .random
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
                Some(step(state))
            })
            .unwrap_or_else(|state| state);
        step(before) >> 33
    }

    fn fate(&self) -> Fate {
        if self.calm.load(Ordering::SeqCst) {
            return Fate::Passed;
        }
        let place = self.random() % 20_000;
        let fate = match self.random() % 20 {
            0 => Fate::Refused(429),
            1 => Fate::Refused(500),
            2 => Fate::Dropped,
            3 => Fate::Cut(place),
            4 => Fate::Corrupted(place % 2_000),
            5 => Fate::UploadCut(place),
            6 => Fate::Delayed,
            _ => return Fate::Passed,
        };
        self.faults.fetch_add(1, Ordering::SeqCst);
        fate
    }

    /// Passes one request on. Whatever breaks here is one more fault.
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let (head, rest) = read_head(&mut client)?;
        let request = head.lines().next().unwrap_or_default();
        let request = request.trim_end_matches(" HTTP/1.1").to_owned();
        let is_blob = request.starts_with("GET ") && request.contains("/blobs/");
        self.requests.lock().unwrap().push(request);
        let fate = self.fate();
        match fate {
            Fate::Refused(status) => {
                let text = format!(
                    "HTTP/1.1 {status} X\r\nRetry-After: 0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                );
                return client.write_all(text.as_bytes()).ok();
            }
            Fate::Dropped => return None,
            Fate::Delayed => pause(),
            _ => {}
        }
        let mut server = TcpStream::connect(&self.upstream).ok()?;
        server.write_all(closing(&head).as_bytes()).ok()?;
        server.write_all(rest.get_ref()).ok()?;
        let upload = {
            let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
            let limit = match fate {
                Fate::UploadCut(place) => place,
                _ => u64::MAX,
            };
            std::thread::spawn(move || {
                let passed = std::io::copy(&mut (&mut from).take(limit), &mut to);
                if passed.is_ok_and(|passed| passed == limit) {
                    drop(from.shutdown(Shutdown::Both));
                    drop(to.shutdown(Shutdown::Both));
                }
            })
        };
        let answered = if is_blob && fate == Fate::Passed {
            self.blob(&mut server, &mut client)
        } else {
            answer(&mut server, &mut client, fate)
        };
        drop(client.shutdown(Shutdown::Both));
        drop(server.shutdown(Shutdown::Both));
        drop(upload.join());
        answered
    }

    /// Passes a blob on: a layer by half, while they are held.
    fn blob(&self, server: &mut TcpStream, client: &mut TcpStream) -> Option<()> {
        let (head, body) = read_head(server)?;
        client.write_all(closing(&head).as_bytes()).ok()?;
        let size = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let named = name.eq_ignore_ascii_case("content-length");
            named.then(|| value.parse::<u64>().ok()).flatten()
        });
        let mut body = body.chain(server);
        if let Some(size) = size.filter(|size| *size >= HELD_SIZE) {
            std::io::copy(&mut (&mut body).take(size / 2), client).ok()?;
            let held = self.held.lock().unwrap();
            drop(self.released.wait_while(held, |held| *held).unwrap());
        }
        std::io::copy(&mut body, client).ok()?;
        Some(())
    }
}

fn answer(server: &mut TcpStream, client: &mut TcpStream, fate: Fate) -> Option<()> {
    let (head, body) = read_head(server)?;
    client.write_all(closing(&head).as_bytes()).ok()?;
    let mut body = body.chain(server);
    match fate {
        Fate::Cut(place) => {
            std::io::copy(&mut body.take(place), client).ok()?;
        }
        Fate::Corrupted(place) => {
            std::io::copy(&mut (&mut body).take(place), client).ok()?;
            let mut byte = [0];
            if body.read(&mut byte).ok()? == 1 {
                client.write_all(&[byte[0] ^ 0x20]).ok()?;
            }
            std::io::copy(&mut body, client).ok()?;
        }
        _ => {
            std::io::copy(&mut body, client).ok()?;
        }
    }
    Some(())
}

/// Reads up to the end of a head; returns it, and what came of the body.
fn read_head(stream: &mut TcpStream) -> Option<(String, std::io::Cursor<Vec<u8>>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(at + 4);
            let head = String::from_utf8(bytes).ok()?;
            return Some((head, std::io::Cursor::new(body)));
        }
        let read = stream.read(&mut buffer).ok()?;
        if read == 0 || bytes.len() > HEAD_LIMIT {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        if bytes[0] == TLS_HANDSHAKE {
            drop(stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"));
            return None;
        }
    }
}

/// The head with `Connection: close`: one request for each connection.
fn closing(head: &str) -> String {
    let lines = head.trim_end().split("\r\n");
    let kept: Vec<&str> = lines
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a slow network is what is wanted"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}
