//! Hijacking without an upgrade.
//!
//! Docker's first clients send a plain `POST …/attach` or `POST /exec/…/start` and then use the
//! connection as a raw stream after a `200`. hyper hands a connection over only after an upgrade, so
//! such a request gets the headers of one on its way in, and the answer becomes a plain `200` on its
//! way out. Heads are looked at only between requests, never inside a body.

use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::ReadBuf;

const UPGRADE: &[u8] = b"Connection: Upgrade\r\nUpgrade: tcp\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

/// The state of one connection, shared between its byte stream and its requests.
#[derive(Debug, Default)]
pub(super) struct Rewriter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A request is being served: what comes in is its body.
    busy: bool,
    /// The request that came in last was made an upgrade here.
    rewritten: bool,
    /// Read from the socket and not given to hyper yet.
    unread: BytesMut,
    /// To be written before anything else.
    unsent: Bytes,
}

impl Rewriter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is served from now on, until [`Rewriter::idle`]. Tells whether it was rewritten.
    pub(super) fn request(&self) -> bool {
        let mut state = self.state();
        state.busy = true;
        state.rewritten
    }

    /// The request and its answer are over.
    pub(super) fn idle(&self) {
        self.state().busy = false;
    }

    /// Hands out what did not fit into the buffer before.
    pub(super) fn give(&self, buffer: &mut ReadBuf<'_>) -> bool {
        let mut state = self.state();
        if state.unread.is_empty() {
            return false;
        }
        let length = state.unread.len().min(buffer.remaining());
        buffer.put_slice(&state.unread.split_to(length));
        true
    }

    /// Looks at what was read into `buffer` behind `before`.
    pub(super) fn incoming(&self, buffer: &mut ReadBuf<'_>, before: usize) {
        let mut state = self.state();
        if state.busy {
            return;
        }
        let Some(read) = buffer.filled().get(before..) else {
            return;
        };
        state.rewritten = false;
        let Some(at) = plain_hijack(read) else { return };
        let mut bytes = BytesMut::with_capacity(read.len() + UPGRADE.len());
        let (head, rest) = read.split_at(at);
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(UPGRADE);
        bytes.extend_from_slice(rest);
        state.rewritten = true;
        buffer.set_filled(before);
        let length = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes.split_to(length));
        state.unread = bytes;
    }

    /// Takes the head of an answer whose request was rewritten.
    pub(super) fn outgoing(&self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let mut state = self.state();
        let first = slices.iter().find(|slice| !slice.is_empty())?;
        if !state.rewritten || !first.starts_with(SWITCHING) {
            return None;
        }
        state.rewritten = false;
        let end = first.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let (head, rest) = first.split_at(end);
        let mut bytes = BytesMut::with_capacity(first.len());
        bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let line = line.trim_ascii_end();
            let lower = line.to_ascii_lowercase();
            if line.is_empty()
                || lower.starts_with(b"connection:")
                || lower.starts_with(b"upgrade:")
            {
                continue;
            }
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(rest);
        state.unsent = bytes.freeze();
        Some(first.len())
    }

    /// What has to be written first.
    pub(super) fn to_send(&self) -> Option<Bytes> {
        let state = self.state();
        (!state.unsent.is_empty()).then(|| state.unsent.clone())
    }

    /// So much of it was written.
    pub(super) fn sent(&self, length: usize) {
        let mut state = self.state();
        let length = length.min(state.unsent.len());
        state.unsent.advance(length);
    }
}

/// Where to put the headers of an upgrade, when `bytes` begins with the head of a hijacking request
/// that has none.
fn plain_hijack(bytes: &[u8]) -> Option<usize> {
    let target = bytes.strip_prefix(b"POST ")?;
    let target = target.get(..target.iter().position(|byte| *byte == b' ')?)?;
    let path = target.split(|byte| *byte == b'?').next()?;
    let hijacks = (path.ends_with(b"/attach") && contains(path, b"/containers/"))
        || (path.ends_with(b"/start") && contains(path, b"/exec/"));
    if !hijacks {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = bytes.get(..end)?.to_ascii_lowercase();
    if contains(&head, b"\r\nupgrade:") {
        return None;
    }
    // behind the request line
    bytes
        .windows(2)
        .position(|window| window == b"\r\n")
        .map(|line| line + 2)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(rewriter: &Rewriter, bytes: &[u8]) -> Vec<u8> {
        let mut storage = [0; 512];
        let mut buffer = ReadBuf::new(&mut storage);
        buffer.put_slice(bytes);
        rewriter.incoming(&mut buffer, 0);
        buffer.filled().to_vec()
    }

    #[test]
    fn a_plain_attach_becomes_an_upgrade_and_its_answer_a_plain_200() {
        let rewriter = Rewriter::default();
        let got = through(
            &rewriter,
            b"POST /v1.24/containers/a/attach?stdin=1 HTTP/1.1\r\nHost: d\r\n\r\nin",
        );
        let expected = "POST /v1.24/containers/a/attach?stdin=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nHost: d\r\n\r\nin";
        assert_eq!(String::from_utf8(got).unwrap(), expected);
        assert!(rewriter.request());

        let answer = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: x\r\nconnection: Upgrade\r\nupgrade: tcp\r\n\r\n";
        assert_eq!(
            rewriter.outgoing(&[IoSlice::new(answer)]),
            Some(answer.len())
        );
        assert_eq!(
            &rewriter.to_send().unwrap()[..],
            b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n"
        );
        rewriter.sent(10);
        rewriter.sent(500);
        assert_eq!(rewriter.to_send(), None);
    }

    #[test]
    fn upgrades_other_paths_and_bodies_are_left_alone() {
        let rewriter = Rewriter::default();
        for head in [
            "POST /containers/a/attach HTTP/1.1\r\nUpgrade: tcp\r\n\r\n",
            "POST /containers/a/start HTTP/1.1\r\n\r\n",
            "GET /exec/a/start HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(through(&rewriter, head.as_bytes()), head.as_bytes());
        }
        assert!(!rewriter.request());
        let body = b"POST /exec/a/start HTTP/1.1\r\n\r\n";
        assert_eq!(
            through(&rewriter, body),
            body,
            "a body that looks like a request"
        );
    }

    #[test]
    fn what_does_not_fit_is_given_later() {
        let rewriter = Rewriter::default();
        let head = b"POST /exec/a/start HTTP/1.1\r\n\r\n";
        let mut storage = [0; 40];
        let mut buffer = ReadBuf::new(&mut storage);
        buffer.put_slice(head);
        rewriter.incoming(&mut buffer, 0);
        let mut all = buffer.filled().to_vec();
        loop {
            let mut storage = [0; 7];
            let mut buffer = ReadBuf::new(&mut storage);
            if !rewriter.give(&mut buffer) {
                break;
            }
            all.extend_from_slice(buffer.filled());
        }
        assert_eq!(all.len(), head.len() + UPGRADE.len());
    }
}
