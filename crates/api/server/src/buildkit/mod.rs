//! `/grpc` and `/session`: the connections that BuildKit's services are served on.

mod grpc;
mod session;

use std::io;

use tokio::net::UnixStream;

use crate::http::Connection;
use crate::routes::{Support::*, routes};

routes! {
    POST "/session" "Session" session::session, Full;
    POST "/grpc" "" grpc::grpc, Full;
}

/// A connection that was taken over as a stream, and what was read of it already. A TCP socket is one as
/// well: only reading and writing is asked of it.
fn stream(connection: Connection) -> io::Result<(UnixStream, Vec<u8>)> {
    let (socket, early) = connection.into_parts()?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok((UnixStream::from_std(socket)?, early))
}
