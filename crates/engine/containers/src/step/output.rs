//! The way of a step's output: framed as Docker does, over a socket that the shim writes to.

use std::os::fd::OwnedFd;

use arca_runtime::{AttachSpec, Client};
use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::StepOutput;
use crate::Error;

/// Both ends of the connection that output comes by.
pub(super) fn client() -> Result<(Client, UnixStream), Error> {
    let failed = |error| Error::Failed(format!("cannot make a socket: {error}"));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let reader = UnixStream::from_std(ours).map_err(failed)?;
    let client = Client {
        spec: AttachSpec {
            stdout: true,
            stderr: true,
            framed: true,
            ..AttachSpec::default()
        },
        socket: OwnedFd::from(theirs),
    };
    Ok((client, reader))
}

/// Takes the frames of an attached client apart and hands them on until there are no more.
pub async fn read_frames(mut reader: UnixStream, output: mpsc::Sender<StepOutput>) {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        while let Some(piece) = frame(&mut buffer) {
            if output.send(piece).await.is_err() {
                tracing::trace!("nobody reads the output of a step");
            }
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Takes a whole frame off the beginning: stream, three zeros, length, data.
fn frame(buffer: &mut BytesMut) -> Option<StepOutput> {
    let header: [u8; 8] = buffer.get(..8)?.try_into().ok()?;
    let [stream, _, _, _, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if buffer.len() < 8 + length {
        return None;
    }
    buffer.advance(8);
    Some(StepOutput {
        stream,
        data: buffer.split_to(length).freeze(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart_wherever_they_are_cut() {
        let bytes = [
            &[1, 0, 0, 0, 0, 0, 0, 3][..],
            b"out",
            &[2, 0, 0, 0, 0, 0, 0, 1],
            b"e",
        ]
        .concat();
        for cut in 0..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let mut buffer = BytesMut::from(first);
            let mut got: Vec<StepOutput> = std::iter::from_fn(|| frame(&mut buffer)).collect();
            buffer.extend_from_slice(second);
            got.extend(std::iter::from_fn(|| frame(&mut buffer)));
            let got: Vec<(u8, &[u8])> = got.iter().map(|o| (o.stream, &o.data[..])).collect();
            assert_eq!(got, [(1, &b"out"[..]), (2, &b"e"[..])], "{cut}");
        }
    }
}
