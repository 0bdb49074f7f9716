//! The second thread: the diff ID, and the layer's directory.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

use arca_archive::{ExtractOptions, Whiteouts, extract, open_root, tree_size};
use arca_types::Digest;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

use crate::digest::Hasher;
use crate::error::Error;

/// What the first thread sends.
#[derive(Debug)]
pub(super) enum Piece {
    /// Part of the archive, as it arrived.
    Plain(Bytes),
    /// Part of the archive: the first bytes of a buffer that is given back.
    Decoded(Vec<u8>, usize),
    /// That was all. An end without it is none.
    End,
}

impl Piece {
    fn data(&self) -> &[u8] {
        match self {
            Self::Plain(data) => data,
            Self::Decoded(buffer, length) => buffer.get(..*length).unwrap_or_default(),
            Self::End => &[],
        }
    }
}

/// The two ends of the second thread.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) pieces: Receiver<Piece>,
    /// Where buffers are given back to.
    pub(super) spare: SyncSender<Vec<u8>>,
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
    pieces: Pieces,
    hasher: Option<Hasher>,
    tree: Option<&Path>,
) -> Result<Unpacked, Error> {
    let mut archive = Archive {
        pieces,
        current: Piece::Plain(Bytes::new()),
        used: 0,
        hasher,
    };
    let mut size = 0;
    if let Some(tree) = tree {
        let root = open_root(tree).map_err(Error::io("open", tree))?;
        let options = ExtractOptions {
            whiteouts: Whiteouts::Overlay,
            ..ExtractOptions::default()
        };
        let done = extract(&mut archive, &root, &options).map_err(Error::Layer)?;
        size = match done.replaced {
            true => measure(tree)?,
            false => done.bytes,
        };
    }
    // What is behind the end of the archive counts for its digest all the same.
    archive.drain().map_err(Error::Decompress)?;
    Ok(Unpacked {
        diff_id: archive.hasher.map(Hasher::digest),
        size,
    })
}

fn measure(tree: &Path) -> Result<u64, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = || Error::io("measure", tree);
    let opened = rustix::fs::open(tree, flags, Mode::empty()).map_err(failed())?;
    tree_size(opened).map_err(failed())
}

/// The archive as it comes out of decompression.
struct Archive {
    pieces: Pieces,
    current: Piece,
    /// How much of the current piece has been read.
    used: usize,
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
        while self.used == self.current.data().len() && !matches!(self.current, Piece::End) {
            let next = self.pieces.pieces.recv();
            let next = next.map_err(|_gone| io::Error::other(Error::Abandoned))?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(next.data());
            }
            self.used = 0;
            if let Piece::Decoded(buffer, _) = std::mem::replace(&mut self.current, next) {
                // With enough of them at hand, this one is not needed.
                drop(self.pieces.spare.try_send(buffer));
            }
        }
        Ok(self.current.data().get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.used = (self.used + amount).min(self.current.data().len());
    }
}
