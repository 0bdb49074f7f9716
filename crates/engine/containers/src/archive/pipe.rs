//! Between threads that read and write files and the tasks that carry bytes, with bounded memory.

use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;

use arca_images::ByteStream;
use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::Error;

/// How many pieces wait to be sent.
const QUEUE: usize = 4;
/// How many bytes are sent at a time.
const PIECE: usize = 256 << 10;

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

/// A stream as a thread that is not a task reads it.
pub(super) struct Intake {
    runtime: Handle,
    stream: ByteStream,
    piece: Bytes,
}

impl Intake {
    /// Must be called within a tokio runtime.
    pub(super) fn new(stream: ByteStream) -> Self {
        Self {
            runtime: Handle::current(),
            stream,
            piece: Bytes::new(),
        }
    }

    /// Waits until there are `length` bytes, or the end; gives what there is.
    fn peek(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.piece.len() < length {
            let Some(next) = self.runtime.block_on(self.stream.next()) else {
                break;
            };
            let joined = [self.piece.as_ref(), next?.as_ref()].concat();
            self.piece = joined.into();
        }
        Ok(&self.piece)
    }

    /// The bytes without their compression, told by how they begin.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a compression that is not known; [`Error::File`].
    pub(super) fn decompressed(&mut self) -> Result<Box<dyn BufRead + '_>, Error> {
        let failed = |error| Error::file("read", "the archive")(error);
        let refused = |kind| {
            let text = format!("archives compressed by {kind} are not supported");
            Err(Error::Invalid(text))
        };
        match self.peek(6).map_err(failed)? {
            [0x1f, 0x8b, 0x08, ..] => {
                let decoder = flate2::bufread::MultiGzDecoder::new(self);
                Ok(Box::new(io::BufReader::with_capacity(PIECE, decoder)))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(self).map_err(failed)?;
                Ok(Box::new(io::BufReader::with_capacity(PIECE, decoder)))
            }
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => refused("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => refused("xz"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refused("xz"),
            _ => Ok(Box::new(self)),
        }
    }

    /// Reads on to the end: what follows an archive is part of the request.
    pub(super) fn drain(&mut self) {
        self.piece.clear();
        while let Some(Ok(_)) = self.runtime.block_on(self.stream.next()) {}
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
