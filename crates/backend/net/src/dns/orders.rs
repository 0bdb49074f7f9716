//! What arcad tells the process that answers: one JSON message after the other on a stream socket, each
//! with its length before it (4 bytes, little-endian), and descriptors beside the length.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DnsConfig, Named};

/// The version of these messages. A process that speaks another one ends when it hears so. `Take` and its
/// answers are the same in all versions since 2.
pub(crate) const VERSION: u32 = 2;
/// No version: whoever hears it ends.
pub(crate) const NO_VERSION: u32 = 0;
/// The name of the socket in the engine's directory of run-time files.
pub(crate) const SOCKET: &str = "dns.sock";
/// The longest message, bytes.
const LONGEST: usize = 64 << 20;
/// The sockets of one sandbox: UDP and TCP.
const DESCRIPTORS: usize = 2;

/// Everything that is known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Everything {
    /// [`VERSION`] of who says it.
    pub(crate) version: u32,
    /// The names.
    pub(crate) names: Vec<Entry>,
    /// The sandboxes with a server.
    pub(crate) sandboxes: BTreeMap<String, DnsConfig>,
}

/// The names of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) network: String,
    pub(crate) network_name: String,
    pub(crate) endpoint: String,
    pub(crate) named: Named,
}

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Forget what was said before. Answered.
    Everything(Everything),
    /// Answer on the two sockets that come along. Answered.
    Serve(String, DnsConfig),
    /// The sandbox is on other networks now. Answered.
    Configure(String, DnsConfig),
    /// Stop to answer. Answered.
    End(String),
    /// Give the sandbox's sockets to the next process, and answer what was asked already. Answered, with the
    /// two sockets.
    Take(String),
    /// An endpoint has these names.
    Name(Entry),
    /// An endpoint, by network and ID, has none.
    Forget(String, String),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is done.
    Done,
    /// It is done, but for these sandboxes: their sockets are not here.
    Lacks(Vec<String>),
    /// It speaks another version, and ends.
    OtherVersion,
    /// It failed.
    Failed(String),
}

/// Writes a message, with descriptors beside it.
pub(crate) fn write<T: Serialize>(
    stream: &mut UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    // Four bytes go at once, or not at all.
    sendmsg(
        &*stream,
        &[IoSlice::new(&length.to_le_bytes())],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    stream.write_all(&body)
}

/// Reads a message with its descriptors; `None` when the other side has closed.
pub(crate) fn read<T: DeserializeOwned>(
    stream: &mut UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut length)];
    let received = recvmsg(&*stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    match received.bytes {
        0 => return Ok(None),
        4 => {}
        got => stream.read_exact(length.get_mut(got..).unwrap_or_default())?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let message = serde_json::from_slice(&body).map_err(io::Error::other)?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_message_comes_with_its_descriptors() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let dns = DnsConfig {
            networks: vec!["n".to_owned()],
            upstreams: Vec::new(),
            links: BTreeMap::new(),
        };
        let order = Order::Serve("s".to_owned(), dns.clone());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        write(&mut one, &order, &[socket.as_fd(), socket.as_fd()]).unwrap();
        write(&mut one, &Reply::Done, &[]).unwrap();
        drop(one);
        let (got, descriptors) = read::<Order>(&mut other).unwrap().unwrap();
        assert!(matches!(got, Order::Serve(name, config) if name == "s" && config == dns));
        assert_eq!(descriptors.len(), 2);
        let (reply, none) = read::<Reply>(&mut other).unwrap().unwrap();
        assert_eq!((reply, none.len()), (Reply::Done, 0));
        assert!(read::<Reply>(&mut other).unwrap().is_none());
    }
}
