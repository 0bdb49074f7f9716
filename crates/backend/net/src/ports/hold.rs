//! Sockets that hold ports of the host.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, Protocol as SocketProtocol, SocketFlags, SocketType, bind, ipproto, listen,
    socket_with, sockopt,
};
use tokio::task::JoinHandle;

use super::proxy;
use crate::types::{Protocol, PublishedPort};

/// How many connections may wait for the proxy.
const BACKLOG: i32 = 128;

/// A port that nobody else can bind while this exists.
#[derive(Debug)]
pub(crate) struct Held {
    /// Held, never read.
    socket: Option<OwnedFd>,
    proxy: Option<JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(task) = self.proxy.take() {
            task.abort();
        }
    }
}

impl Held {
    /// Binds the port; a proxy to `target`, if there is one, serves what the kernel does not redirect.
    pub(crate) fn new(port: &PublishedPort, target: Option<SocketAddr>) -> io::Result<Self> {
        let address = SocketAddr::new(port.host_ip, port.host_port);
        let socket = bound(port.protocol, address)?;
        let Some(target) = target else {
            return Ok(Self {
                socket: Some(socket),
                proxy: None,
            });
        };
        match port.protocol {
            Protocol::Tcp => {
                let listener = tokio::net::TcpListener::from_std(TcpListener::from(socket))?;
                let proxy = tokio::spawn(proxy::tcp(listener, target));
                Ok(Self {
                    socket: None,
                    proxy: Some(proxy),
                })
            }
            // The kernel redirects IPv4 datagrams wherever they come from.
            Protocol::Udp if address.is_ipv6() => {
                let socket = tokio::net::UdpSocket::from_std(UdpSocket::from(socket))?;
                let proxy = tokio::spawn(proxy::udp(socket, target));
                Ok(Self {
                    socket: None,
                    proxy: Some(proxy),
                })
            }
            Protocol::Udp | Protocol::Sctp => Ok(Self {
                socket: Some(socket),
                proxy: None,
            }),
        }
    }

    /// Closes the socket: the port can be bound when this returns.
    pub(crate) async fn close(mut self) {
        self.socket = None;
        if let Some(task) = self.proxy.take() {
            task.abort();
            // The task's end, in whatever way, closes its socket.
            if task.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("the proxy of a published port panicked");
            }
        }
    }

    /// Holds nothing: the port could not be bound again, and is published all the same.
    pub(crate) fn nothing() -> Self {
        Self {
            socket: None,
            proxy: None,
        }
    }

    /// Whether a socket is held, by itself or by a proxy.
    #[cfg(test)]
    pub(crate) fn is_held(&self) -> bool {
        self.socket.is_some() || self.proxy.is_some()
    }
}

/// Returns a bound socket.
fn bound(protocol: Protocol, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let (kind, number): (_, Option<SocketProtocol>) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(ipproto::SCTP)),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, number)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that ended a moment ago are no reason to refuse. A socket that listens is not
        // shared with anybody, whatever they ask for.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}
