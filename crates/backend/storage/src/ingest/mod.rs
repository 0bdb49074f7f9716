//! Taking in a layer: storing, verifying, decompressing and unpacking it while it arrives.
//!
//! Two threads share the work of one layer. The first stores what arrives, takes its digest and
//! decompresses it; the second takes the diff ID and unpacks. Bounded queues keep either from running
//! ahead, so that memory stays the same whatever the size.

mod intake;
mod publish;
mod unpack;

pub(crate) use publish::Candidate;

use std::io::{BufRead, Read};

use arca_types::{DiffId, Digest};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::lease::Lease;
use crate::storage::Storage;
use intake::Message;

/// How many pieces may wait to be stored.
const QUEUE: usize = 8;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// As its first bytes tell.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// With gzip; several members may follow each other.
    Gzip,
    /// With zstd.
    Zstd,
}

/// What is known of a layer before it arrives.
#[derive(Debug, Clone, Default)]
pub struct LayerSource {
    /// The digest it has to have as it arrives.
    pub digest: Option<Digest>,
    /// The bytes that have to arrive.
    pub size: Option<u64>,
    /// The digest its uncompressed archive has to have.
    pub diff_id: Option<DiffId>,
    /// How it is compressed.
    pub compression: Compression,
}

/// A layer that has been taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of its uncompressed archive.
    pub diff_id: DiffId,
    /// The digest of what arrived.
    pub blob: Digest,
    /// The bytes that arrived.
    pub blob_size: u64,
    /// The bytes in its files.
    pub size: u64,
}

/// A layer that is being taken in. Dropping it before [`finish`](Self::finish) has returned leaves
/// nothing behind.
#[derive(Debug)]
pub struct LayerIngest {
    input: Option<mpsc::Sender<Message>>,
    work: Option<JoinHandle<Result<Layer, Error>>>,
    received: u64,
}

impl Storage {
    /// Begins to take in a layer, which `lease` is to hold. Must be called within a tokio runtime.
    #[must_use]
    pub fn ingest_layer(&self, lease: &Lease, source: LayerSource) -> LayerIngest {
        lease.hold(source.digest.as_ref(), source.diff_id.as_ref());
        let (input, pieces) = mpsc::channel(QUEUE);
        let inner = self.inner.clone();
        let holder = lease.number();
        let work =
            tokio::task::spawn_blocking(move || intake::take_in(&inner, holder, &source, pieces));
        LayerIngest {
            input: Some(input),
            work: Some(work),
            received: 0,
        }
    }
}

impl LayerIngest {
    /// Hands over the next piece; waits while earlier ones are being worked on.
    ///
    /// # Errors
    /// What has gone wrong with an earlier piece. The layer has failed then.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        let Some(input) = &self.input else {
            return Err(Error::Abandoned);
        };
        let size = piece.len() as u64;
        if input.send(Message::Data(piece)).await.is_err() {
            self.input = None;
            return Err(self.outcome().await.err().unwrap_or(Error::Abandoned));
        }
        self.received += size;
        Ok(())
    }

    /// The bytes handed over so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Says that nothing follows; waits until the layer is verified, unpacked and registered.
    ///
    /// # Errors
    /// [`Error::Verification`] when what arrived is not what was expected, [`Error::DiffId`] when its
    /// archive is not, [`Error::Decompress`] or [`Error::Layer`] when it cannot be unpacked.
    pub async fn finish(mut self) -> Result<Layer, Error> {
        if let Some(input) = self.input.take() {
            // Whoever does not take it has failed, and says why.
            drop(input.send(Message::End).await);
        }
        self.outcome().await
    }

    async fn outcome(&mut self) -> Result<Layer, Error> {
        match self.work.take() {
            Some(work) => work.await.unwrap_or(Err(Error::Panicked)),
            None => Err(Error::Abandoned),
        }
    }
}

/// Decompresses `input`.
pub(crate) fn decoder<'a>(
    mut input: impl BufRead + Send + 'a,
    compression: Compression,
) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let compression = match compression {
        Compression::Auto => detect(input.fill_buf().map_err(Error::Decompress)?)?,
        given => given,
    };
    Ok(match compression {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input);
            Box::new(decoder.map_err(Error::Decompress)?)
        }
        Compression::Auto | Compression::None => Box::new(input),
    })
}

/// Tells the compression by the first bytes.
fn detect(start: &[u8]) -> Result<Compression, Error> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        // A frame, or one to be skipped in front of it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [b'B', b'Z', b'h', ..] => Err(Error::Compression("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression("xz")),
        _ => Ok(Compression::None),
    }
}
