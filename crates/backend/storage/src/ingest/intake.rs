//! The first thread: what arrives is stored, measured and decompressed.

use std::fs::File;
use std::io::{self, BufRead, Read, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arca_types::Digest;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::publish::Candidate;
use super::unpack::{Piece, Pieces, Unpacked, unpack};
use super::{Compression, Layer, LayerSource, decoder, detect};
use crate::digest::Hasher;
use crate::error::Error;
use crate::storage::Inner;

/// What the owner of a layer says.
#[derive(Debug)]
pub(super) enum Message {
    /// Here is more.
    Data(Bytes),
    /// That was all. An end without it is none.
    End,
}

/// The size of decompressed pieces.
const PIECE: usize = 256 << 10;
/// How many of them may wait to be unpacked.
const PIECES: usize = 4;

/// Takes in one layer, from its first byte until it is registered.
pub(super) fn take_in(
    inner: &Inner,
    lease: u64,
    source: &LayerSource,
    pieces: mpsc::Receiver<Message>,
) -> Result<Layer, Error> {
    let candidate = Candidate::begin(inner, source)?;
    let mut input = Input::new(pieces, source, &candidate)?;
    let start = input
        .fill_buf()
        .map_err(|error| input_error(error, &candidate.file))?;
    let compression = match source.compression {
        Compression::Auto => detect(start)?,
        given => given,
    };
    let (sender, pieces) = sync_channel(PIECES);
    let (spare, buffers) = sync_channel(PIECES + 2);
    let pieces = Pieces { pieces, spare };
    let plain = compression == Compression::None;
    let (decoded, unpacked) = std::thread::scope(|scope| {
        let hasher = (!plain).then(|| Hasher::of(source.diff_id.as_ref().map(|id| id.digest())));
        let unpacker = scope.spawn(|| unpack(pieces, hasher, candidate.tree.as_deref()));
        let decoded = if plain {
            forward(&mut input, &sender)
        } else {
            decompress(&mut input, compression, &sender, &buffers)
        };
        drop(sender);
        (decoded, unpacker.join().unwrap_or(Err(Error::Panicked)))
    });
    let arrived = input.finish()?;
    // Content that is not what it should be explains whatever else went wrong.
    arrived.verify(source)?;
    decoded?;
    let unpacked: Unpacked = unpacked?;
    let diff_id = unpacked
        .diff_id
        .unwrap_or_else(|| arrived.digest.clone())
        .into();
    let layer = Layer {
        diff_id,
        blob: arrived.digest,
        blob_size: arrived.size,
        size: unpacked.size,
    };
    candidate.publish(inner, lease, source, layer)
}

/// Sends what arrives as it is.
fn forward(input: &mut Input<'_>, sender: &SyncSender<Piece>) -> Result<(), Error> {
    while let Some(piece) = input.next_piece()? {
        if sender.send(Piece::Plain(piece)).is_err() {
            return Ok(());
        }
    }
    // An unpacker that has gone says why itself.
    drop(sender.send(Piece::End));
    Ok(())
}

fn decompress(
    input: &mut Input<'_>,
    compression: Compression,
    sender: &SyncSender<Piece>,
    buffers: &Receiver<Vec<u8>>,
) -> Result<(), Error> {
    let mut decoder = decoder(input, compression)?;
    loop {
        let mut buffer = buffers.try_recv().unwrap_or_else(|_none| vec![0; PIECE]);
        let mut length = 0;
        loop {
            let rest = buffer.get_mut(length..).unwrap_or_default();
            match decoder.read(rest) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Decompress(error)),
            }
        }
        let piece = if length == 0 {
            Piece::End
        } else {
            Piece::Decoded(buffer, length)
        };
        // An unpacker that has gone says why itself.
        if sender.send(piece).is_err() || length == 0 {
            return Ok(());
        }
    }
}

/// What arrives, stored and measured on the way.
struct Input<'a> {
    pieces: mpsc::Receiver<Message>,
    current: Bytes,
    ended: bool,
    file: File,
    path: &'a Path,
    hasher: Hasher,
    size: u64,
    expected: Option<Digest>,
    /// More than this is not stored.
    limit: Option<u64>,
}

/// Everything that arrived.
struct Arrived {
    digest: Digest,
    size: u64,
}

impl<'a> Input<'a> {
    fn new(
        pieces: mpsc::Receiver<Message>,
        source: &LayerSource,
        candidate: &'a Candidate<'_>,
    ) -> Result<Self, Error> {
        let path = &candidate.file;
        let file = File::create_new(path).map_err(Error::io("create", path))?;
        Ok(Self {
            pieces,
            current: Bytes::new(),
            ended: false,
            file,
            path,
            hasher: Hasher::of(source.digest.as_ref()),
            size: 0,
            expected: source.digest.clone(),
            limit: source.size,
        })
    }

    /// Waits for the next piece that is not empty, unless one has been begun.
    fn fill(&mut self) -> io::Result<()> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Message::Data(piece)) => {
                    self.size += piece.len() as u64;
                    if let Some(error) = self.excess() {
                        return Err(io::Error::other(error));
                    }
                    self.hasher.update(&piece);
                    self.file.write_all(&piece)?;
                    self.current = piece;
                }
                Some(Message::End) => self.ended = true,
                None => return Err(io::Error::other(Error::Abandoned)),
            }
        }
        Ok(())
    }

    /// Has more arrived than was announced?
    fn excess(&self) -> Option<Error> {
        let limit = self.limit.filter(|limit| self.size > *limit)?;
        Some(match &self.expected {
            Some(digest) => Error::Verification(digest.clone()),
            None => Error::Size { expected: limit },
        })
    }

    fn next_piece(&mut self) -> Result<Option<Bytes>, Error> {
        self.fill().map_err(|error| input_error(error, self.path))?;
        let piece = std::mem::take(&mut self.current);
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Takes in the rest, whatever became of the beginning.
    fn finish(mut self) -> Result<Arrived, Error> {
        if let Some(error) = self.excess() {
            return Err(error);
        }
        while self.next_piece()?.is_some() {}
        Ok(Arrived {
            digest: self.hasher.digest(),
            size: self.size,
        })
    }
}

impl Arrived {
    fn verify(&self, source: &LayerSource) -> Result<(), Error> {
        let right_size = source.size.is_none_or(|size| size == self.size);
        match &source.digest {
            Some(expected) if *expected != self.digest || !right_size => {
                Err(Error::Verification(expected.clone()))
            }
            None if !right_size => Err(Error::Size {
                expected: source.size.unwrap_or(0),
            }),
            _ => Ok(()),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        drop(self.current.split_to(amount.min(self.current.len())));
    }
}

/// Gives an error its own meaning back that went through `io::Error`.
fn input_error(error: io::Error, path: &Path) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::io("write", path)(error),
    }
}
