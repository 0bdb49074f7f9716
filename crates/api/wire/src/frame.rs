//! The framing of attached streams: an 8-byte header (stream, three zeros, big-endian length) before
//! each piece of output of a container without a TTY.

use bytes::{BufMut, Bytes, BytesMut};

/// `application/vnd.docker.raw-stream`: bytes as they are, of a TTY.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// `application/vnd.docker.multiplexed-stream`: frames; announced from version 1.42 on.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// An error of the engine itself, as text.
    System = 3,
}

/// The header of a frame of `length` bytes.
pub fn header(stream: Stream, length: u32) -> [u8; 8] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// Appends `payload` as one frame, or as several when it is longer than a frame can be.
pub fn put(buffer: &mut BytesMut, stream: Stream, payload: &[u8]) {
    for piece in payload.chunks(usize::try_from(i32::MAX).unwrap_or(usize::MAX)) {
        buffer.put_slice(&header(
            stream,
            u32::try_from(piece.len()).unwrap_or(u32::MAX),
        ));
        buffer.put_slice(piece);
    }
}

/// `payload` as frames.
pub fn frame(stream: Stream, payload: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(payload.len() + 8);
    put(&mut buffer, stream, payload);
    buffer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_stream_and_its_length() {
        assert_eq!(
            &frame(Stream::Stderr, b"abc")[..],
            b"\x02\0\0\0\0\0\0\x03abc"
        );
        assert!(frame(Stream::Stdout, b"").is_empty());
    }
}
