//! Between threads that read and write files and the tasks that carry bytes, with bounded memory.

use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;

use arca_images::ByteStream;
use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::Error;

/// How many pieces wait to be sent.
const QUEUE: usize = 4;
/// How many pieces of a client's, of 64 KiB at most, wait to be read.
const AHEAD: usize = 16;
/// How many bytes are sent at a time.
const PIECE: usize = 256 << 10;

/// The most that a decoder of xz may take, in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// What a thread writes, as a stream.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// The end of a pipe that a thread writes to.
#[derive(Debug)]
pub(crate) struct Outlet(mpsc::Sender<Result<Bytes, Error>>);

/// A pipe of few pieces. Whoever writes waits for whoever reads.
pub(crate) fn pipe() -> (Outlet, Pieces) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (Outlet(sender), Box::pin(pieces))
}

impl Outlet {
    /// Runs `write` with a buffered writer to the pipe; a failure is the last thing that is read.
    pub(crate) fn fill<T>(
        self,
        write: impl FnOnce(io::BufWriter<&Self>) -> Result<T, Error>,
    ) -> Option<T> {
        match write(io::BufWriter::with_capacity(PIECE, &self)) {
            Ok(done) => Some(done),
            Err(error) => {
                if self.0.blocking_send(Err(error)).is_err() {
                    tracing::debug!("nobody reads the archive any more");
                }
                None
            }
        }
    }
}

impl Write for &Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or(bytes);
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream as a thread that is not a task reads it, with a few pieces read ahead.
pub(super) struct Intake {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Intake {
    /// Reads ahead on a task of `tasks`, which ends with the stream or with this.
    pub(super) fn new(mut stream: ByteStream, tasks: &TaskTracker) -> Self {
        let (sender, pieces) = mpsc::channel(AHEAD);
        tasks.spawn(async move {
            while let Some(piece) = stream.next().await {
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
        });
        Self {
            pieces,
            piece: Bytes::new(),
        }
    }

    /// Waits until there are `length` bytes, or the end; gives what there is.
    fn peek(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.piece.len() < length {
            let Some(next) = self.pieces.blocking_recv() else {
                break;
            };
            let next = next?;
            self.piece = if self.piece.is_empty() {
                next
            } else {
                [self.piece.as_ref(), next.as_ref()].concat().into()
            };
        }
        Ok(&self.piece)
    }

    /// The bytes without their compression, told by how they begin.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn decompressed(&mut self) -> Result<Box<dyn BufRead + '_>, Error> {
        let failed = |error| Error::file("read", "the archive")(error);
        match self.peek(6).map_err(failed)? {
            [0x1f, 0x8b, 0x08, ..] => {
                let decoder = flate2::bufread::MultiGzDecoder::new(self);
                Ok(Box::new(io::BufReader::with_capacity(PIECE, decoder)))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(self).map_err(failed)?;
                Ok(Box::new(io::BufReader::with_capacity(PIECE, decoder)))
            }
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
                let decoder = bzip2::bufread::MultiBzDecoder::new(self);
                Ok(Box::new(io::BufReader::with_capacity(PIECE, decoder)))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                let decoder = lzma_rust2::XzReader::new_mem_limit(self, true, XZ_MEMORY);
                Ok(Box::new(io::BufReader::with_capacity(PIECE, decoder)))
            }
            _ => Ok(Box::new(self)),
        }
    }

    /// Reads on to the end: what follows an archive is part of the request.
    pub(super) fn drain(&mut self) {
        self.piece.clear();
        while let Some(Ok(_)) = self.pieces.blocking_recv() {}
    }
}

impl BufRead for Intake {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count.min(self.piece.len()));
    }
}

impl Read for Intake {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let count = piece.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello" by bzip2 and by xz.
    const BZIP2: &[u8] = &[
        0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0x19, 0x31, 0x65, 0x3d, 0x00,
        0x00, 0x00, 0x81, 0x00, 0x02, 0x44, 0xa0, 0x00, 0x21, 0x9a, 0x68, 0x33, 0x4d, 0x07, 0x33,
        0x8b, 0xb9, 0x22, 0x9c, 0x28, 0x48, 0x0c, 0x98, 0xb2, 0x9e, 0x80,
    ];

    const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21,
        0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x04, 0x68, 0x65, 0x6c,
        0x6c, 0x6f, 0x00, 0x00, 0x00, 0x00, 0xb1, 0x37, 0xb9, 0xdb, 0xe5, 0xda, 0x1e, 0x9b, 0x00,
        0x01, 0x1d, 0x05, 0xb8, 0x2d, 0x80, 0xaf, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x04, 0x59, 0x5a,
    ];

    async fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let pieces = bytes
            .chunks(7)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let pieces: Vec<io::Result<Bytes>> = pieces.collect();
        let stream = Box::pin(futures_util::stream::iter(pieces));
        let mut intake = Intake::new(stream, &TaskTracker::new());
        tokio::task::spawn_blocking(move || {
            let mut plain = Vec::new();
            let mut reader = intake.decompressed().map_err(io::Error::other)?;
            reader.read_to_end(&mut plain).map(|_length| plain)
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn every_compression_is_undone() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"hello").unwrap();
        let zstd = zstd::encode_all(&b"hello"[..], 1).unwrap();
        for bytes in [
            b"hello".to_vec(),
            gzip.finish().unwrap(),
            zstd,
            BZIP2.to_vec(),
            XZ.to_vec(),
        ] {
            assert_eq!(read(bytes).await.unwrap(), b"hello");
        }
        read(BZIP2[..20].to_vec()).await.unwrap_err();
        read(XZ[..30].to_vec()).await.unwrap_err();
    }
}
