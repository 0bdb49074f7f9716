//! Where clients come in.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use super::Socket;

/// A bound socket that clients connect to. Who may reach it is decided by whoever bound it.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// TCP, meant for loopback.
    Tcp(TcpListener),
}

impl Listener {
    /// Waits for the next client.
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(socket, _)| Socket::Unix(socket)),
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept().await?;
                // small frames of interactive sessions must not wait for more
                socket.set_nodelay(true)?;
                Ok(Socket::Tcp(socket))
            }
        }
    }
}
