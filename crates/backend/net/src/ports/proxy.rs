//! Carries what the kernel cannot redirect.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a connection to the target may take.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a UDP client may be silent before it is forgotten.
const SILENCE: Duration = Duration::from_secs(90);
/// The most UDP clients at a time.
const CLIENTS: usize = 1024;
/// The longest datagram.
const DATAGRAM: usize = 65_535;
/// After a failure that may last, such as no free descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts connections and carries each to `target`, until the future is dropped.
pub(crate) async fn tcp(listener: TcpListener, target: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client, target));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection to a published port");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr) {
    let connected = timeout(CONNECT, TcpStream::connect(target)).await;
    let Ok(Ok(mut server)) = connected else {
        tracing::debug!(%target, "a published port's target does not answer");
        return;
    };
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!(%error, %target, "a connection to a published port broke");
    }
}

/// Receives datagrams and carries them to `target` and the answers back, until the future is dropped.
///
/// Each client gets a socket of its own, so that answers find their way.
pub(crate) async fn udp(socket: UdpSocket, target: SocketAddr) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut returns: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, client)) = received else {
                    tokio::time::sleep(BREATH).await;
                    continue;
                };
                let upstream = match clients.get(&client) {
                    Some(upstream) => Arc::clone(upstream),
                    None if clients.len() >= CLIENTS => continue,
                    None => {
                        let Ok(upstream) = connect(target).await else { continue };
                        let upstream = Arc::new(upstream);
                        clients.insert(client, Arc::clone(&upstream));
                        returns.spawn(give_back(Arc::clone(&socket), Arc::clone(&upstream), client));
                        upstream
                    }
                };
                if let Err(error) = upstream.send(buffer.get(..length).unwrap_or_default()).await {
                    tracing::debug!(%error, %target, "a datagram to a published port is lost");
                }
            }
            Some(Ok(client)) = returns.join_next() => {
                clients.remove(&client);
            }
        }
    }
}

async fn connect(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = crate::host::any(target.ip());
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}

/// Carries answers to a client until it has been silent for long enough.
async fn give_back(
    socket: Arc<UdpSocket>,
    upstream: Arc<UdpSocket>,
    client: SocketAddr,
) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM];
    let mut until = Instant::now() + SILENCE;
    while let Ok(received) = timeout_at(until, upstream.recv(&mut buffer)).await {
        // A refusal by the target is told once and does not end the flow.
        let Ok(length) = received else { continue };
        if socket
            .send_to(buffer.get(..length).unwrap_or_default(), client)
            .await
            .is_err()
        {
            break;
        }
        until = Instant::now() + SILENCE;
    }
    client
}
