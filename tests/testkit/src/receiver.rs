//! Receivers of logs: small, but faithful to syslog, GELF, Fluentd's forward protocol and the journal's.
//! A receiver can be killed, which loses what it has not read, and started again at its address.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::engine::Engine;
use crate::protocols::{Chunks, Decoder};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Each message a line, or with its length before it.
    Syslog,
    /// JSON: compressed datagrams, or ended by NUL.
    Gelf,
    /// Fluentd's forward protocol.
    Fluentd,
    /// The journal's fields.
    Journal,
}

/// Over what.
#[derive(Debug, Clone)]
pub enum Over {
    /// UDP on a free port.
    Udp,
    /// TCP on a free port.
    Tcp,
    /// TLS on a free port, with this certificate and key.
    Tls(PathBuf, PathBuf),
    /// A stream socket.
    Unix(PathBuf),
    /// A datagram socket.
    Datagram(PathBuf),
}

#[derive(Debug, Default)]
struct Received {
    records: Mutex<Vec<Value>>,
    came: Condvar,
}

/// A receiver.
#[derive(Debug)]
pub struct Receiver {
    protocol: Protocol,
    over: Over,
    address: String,
    received: Arc<Received>,
    life: Option<Life>,
}

/// What lives from a start to a kill.
#[derive(Debug)]
struct Life {
    alive: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<OwnedFd>>>,
    listener: JoinHandle<()>,
}

impl Receiver {
    /// Starts to listen where `engine` can reach it.
    pub fn start(engine: &Engine, protocol: Protocol, over: Over) -> Self {
        let address = match &over {
            Over::Unix(path) | Over::Datagram(path) => path.display().to_string(),
            Over::Udp | Over::Tcp | Over::Tls(..) => engine.free_address(),
        };
        let mut receiver = Self {
            protocol,
            over,
            address,
            received: Arc::default(),
            life: None,
        };
        receiver.start_again(engine);
        receiver
    }

    /// Host and port, or the path.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Listens at the same address again.
    pub fn start_again(&mut self, engine: &Engine) {
        self.kill();
        let peer = Peer {
            protocol: self.protocol,
            received: Arc::clone(&self.received),
            alive: Arc::new(AtomicBool::new(true)),
            sockets: Arc::default(),
        };
        let (alive, sockets) = (Arc::clone(&peer.alive), Arc::clone(&peer.sockets));
        let listener = match &self.over {
            Over::Udp => {
                let socket = engine.in_netns(|| UdpSocket::bind(&self.address).unwrap());
                rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 << 20).unwrap();
                peer.keep(&socket);
                std::thread::spawn(move || peer.datagrams(|buffer| socket.recv(buffer)))
            }
            Over::Datagram(path) => {
                drop(std::fs::remove_file(path));
                let socket = UnixDatagram::bind(path).unwrap();
                peer.keep(&socket);
                std::thread::spawn(move || peer.datagrams(|buffer| socket.recv(buffer)))
            }
            Over::Tcp => {
                let listener = engine.in_netns(|| TcpListener::bind(&self.address).unwrap());
                peer.keep(&listener);
                let accept = move || listener.accept().map(|(stream, _)| stream);
                std::thread::spawn(move || peer.accept(accept, |stream: TcpStream| stream))
            }
            Over::Tls(certificate, key) => {
                let listener = engine.in_netns(|| TcpListener::bind(&self.address).unwrap());
                peer.keep(&listener);
                let config = tls(certificate, key);
                let accept = move || listener.accept().map(|(stream, _)| stream);
                std::thread::spawn(move || {
                    peer.accept(accept, move |stream: TcpStream| {
                        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                        StreamOwned::new(connection, stream)
                    });
                })
            }
            Over::Unix(path) => {
                drop(std::fs::remove_file(path));
                let listener = UnixListener::bind(path).unwrap();
                peer.keep(&listener);
                let accept = move || listener.accept().map(|(stream, _)| stream);
                std::thread::spawn(move || peer.accept(accept, |stream: UnixStream| stream))
            }
        };
        self.life = Some(Life {
            alive,
            sockets,
            listener,
        });
    }

    /// Ends as by SIGKILL: what was sent and not read is lost.
    pub fn kill(&mut self) {
        let Some(life) = self.life.take() else {
            return;
        };
        life.alive.store(false, Ordering::SeqCst);
        for socket in life.sockets.lock().unwrap().drain(..) {
            // Says that it is not connected, and wakes the reader nevertheless.
            rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).ok();
        }
        life.listener.join().unwrap();
        if let Over::Unix(path) | Over::Datagram(path) = &self.over {
            drop(std::fs::remove_file(path));
        }
    }

    /// What came so far.
    pub fn records(&self) -> Vec<Value> {
        self.received.records.lock().unwrap().clone()
    }

    /// Waits up to 30 seconds until what came satisfies, and returns it.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&self, what: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut records = self.received.records.lock().unwrap();
        loop {
            if enough(&records) {
                return records.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let last = records.len().saturating_sub(3);
            assert!(
                !left.is_zero(),
                "waited in vain: {what}; {} records came, the last: {:#?}",
                records.len(),
                &records[last..]
            );
            records = self.received.came.wait_timeout(records, left).unwrap().0;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The side of the threads.
#[derive(Clone)]
struct Peer {
    protocol: Protocol,
    received: Arc<Received>,
    alive: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<OwnedFd>>>,
}

impl Peer {
    /// Has a socket shut down by a kill.
    fn keep(&self, socket: &impl AsFd) {
        let copy = socket.as_fd().try_clone_to_owned().unwrap();
        self.sockets.lock().unwrap().push(copy);
        if !self.is_alive() {
            rustix::net::shutdown(socket, rustix::net::Shutdown::Both).ok();
        }
    }

    fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    fn record(&self, record: Value) {
        if self.is_alive() {
            self.received.records.lock().unwrap().push(record);
            self.received.came.notify_all();
        }
    }

    fn datagrams(self, recv: impl Fn(&mut [u8]) -> io::Result<usize>) {
        let mut buffer = vec![0; 1 << 20];
        let mut chunks = Chunks::default();
        while let Ok(count) = recv(&mut buffer) {
            if !self.is_alive() {
                break;
            }
            if let Some(message) = chunks.join(self.protocol, &buffer[..count]) {
                let mut decoder = Decoder::datagrams(self.protocol);
                for (record, _) in decoder.feed(&message) {
                    self.record(record);
                }
            }
        }
    }

    fn accept<S, T>(self, accept: impl Fn() -> io::Result<S>, wrap: impl Fn(S) -> T)
    where
        S: AsFd,
        T: Read + Write + Send + 'static,
    {
        let mut readers = Vec::new();
        while let Ok(stream) = accept() {
            self.keep(&stream);
            let stream = wrap(stream);
            let peer = self.clone();
            readers.push(std::thread::spawn(move || peer.stream(stream)));
        }
        for reader in readers {
            reader.join().unwrap();
        }
    }

    fn stream(&self, mut stream: impl Read + Write) {
        let mut buffer = vec![0; 64 << 10];
        let mut decoder = Decoder::stream(self.protocol);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if !self.is_alive() {
                return;
            }
            for (record, answer) in decoder.feed(&buffer[..count]) {
                self.record(record);
                if stream
                    .write_all(&answer)
                    .and_then(|()| stream.flush())
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}

fn tls(certificate: &Path, key: &Path) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(certificate)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}
