//! The second thread: the diff ID, and the layer's directory.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::mpsc::Receiver;

use arca_archive::{ExtractOptions, Whiteouts, extract, open_root};
use arca_types::Digest;
use bytes::Bytes;

use crate::digest::Hasher;
use crate::error::Error;

/// What the first thread sends.
#[derive(Debug)]
pub(super) enum Piece {
    /// Part of the archive.
    Data(Bytes),
    /// That was all. An end without it is none.
    End,
}

/// What came of an archive.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// Its digest, if it was asked for.
    pub(super) diff_id: Option<Digest>,
    /// The bytes in its files; 0 when it was not unpacked.
    pub(super) size: u64,
}

/// Unpacks into the directory `tree`, or only takes the digest when there is none.
pub(super) fn unpack(
    pieces: Receiver<Piece>,
    hasher: Option<Hasher>,
    tree: Option<&Path>,
) -> Result<Unpacked, Error> {
    let mut archive = Archive {
        pieces,
        current: Bytes::new(),
        ended: false,
        hasher,
    };
    let mut size = 0;
    if let Some(tree) = tree {
        let root = open_root(tree).map_err(Error::io("open", tree))?;
        let options = ExtractOptions {
            whiteouts: Whiteouts::Overlay,
            ..ExtractOptions::default()
        };
        size = extract(&mut archive, &root, &options)
            .map_err(Error::Layer)?
            .bytes;
    }
    // What is behind the end of the archive counts for its digest all the same.
    archive.drain().map_err(Error::Decompress)?;
    Ok(Unpacked {
        diff_id: archive.hasher.map(Hasher::digest),
        size,
    })
}

/// The archive as it comes out of decompression.
struct Archive {
    pieces: Receiver<Piece>,
    current: Bytes,
    ended: bool,
    hasher: Option<Hasher>,
}

impl Archive {
    fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Archive {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.recv() {
                Ok(Piece::Data(piece)) => {
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&piece);
                    }
                    self.current = piece;
                }
                Ok(Piece::End) => self.ended = true,
                Err(_gone) => return Err(io::Error::other(Error::Abandoned)),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        drop(self.current.split_to(amount.min(self.current.len())));
    }
}
