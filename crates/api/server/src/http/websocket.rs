//! Attaching by WebSocket: the engine gets one end of a socket pair, the messages go through the other.

use std::io;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::hijack::Connection;

/// How many bytes of output one message holds at most.
const MESSAGE: usize = 32 << 10;
/// A client has so long to close after us.
const GOODBYE: Duration = Duration::from_secs(2);

/// The engine's end, and what carries messages for it until either side ends. Output is text or binary.
pub(crate) fn bridge(
    socket: WebSocket,
    text: bool,
) -> io::Result<(Connection, impl Future<Output = io::Result<()>>)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((Connection::of(theirs), carry(socket, ours, text)))
}

/// A client that closes has gone: it cannot close one direction alone.
async fn carry(mut socket: WebSocket, stream: UnixStream, text: bool) -> io::Result<()> {
    let (mut output, mut input) = stream.into_split();
    loop {
        let mut buffer = BytesMut::with_capacity(MESSAGE);
        tokio::select! {
            read = output.read_buf(&mut buffer) => match read? {
                0 => break,
                _ if text => {
                    let text = String::from_utf8_lossy(&buffer).into_owned();
                    socket.send(Message::Text(text.into())).await.map_err(io::Error::other)?;
                }
                _ => socket.send(Message::Binary(buffer.freeze())).await.map_err(io::Error::other)?,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(bytes))) => input.write_all(&bytes).await?,
                Some(Ok(Message::Text(text))) => input.write_all(text.as_bytes()).await?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    finish(socket).await;
    Ok(())
}

/// Says goodbye, or takes the client's: its answer is sent while the next message is waited for.
async fn finish(mut socket: WebSocket) {
    if let Err(error) = socket.send(Message::Close(None)).await {
        tracing::trace!(%error, "the client of a websocket closes it");
    }
    let rest = async { while let Some(Ok(_)) = socket.recv().await {} };
    if tokio::time::timeout(GOODBYE, rest).await.is_err() {
        tracing::debug!("the client of a websocket has not closed it");
    }
}
