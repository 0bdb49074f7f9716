//! Archives that came compressed.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::tarstream::{ByteStream, Source};

/// Bytes that are decompressed at a time.
const PORTION: usize = 128 * 1024;
/// Portions that wait between two stages.
const WAITING: usize = 4;

/// The most that a decoder of xz may take, in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// How bytes are compressed, by what they begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

/// Tells the compression from the first bytes.
pub(crate) fn detect(first: &[u8]) -> Result<Compression, Error> {
    match first {
        [0x1f, 0x8b, 0x08, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Ok(Compression::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Compression::Xz),
        _ => Ok(Compression::None),
    }
}

/// Makes the plain bytes of a stream that may be compressed.
pub(crate) async fn plain(stream: ByteStream) -> Result<Source, Error> {
    let mut source = Source::new(stream);
    let first = source.peek(6).await?;
    let compression = detect(&first)?;
    let stream = source.into_stream();
    if compression == Compression::None {
        return Ok(Source::new(stream));
    }
    let (input, compressed) = mpsc::channel(WAITING);
    let (output, mut plain) = mpsc::channel(WAITING);
    let feeding = feed(stream, input);
    let decoding = tokio::task::spawn_blocking(move || decode(compression, compressed, &output));
    let mut feeding = Box::pin(feeding);
    let mut decoding = Some(decoding);
    let mut fed = false;
    let stream = futures_util::stream::poll_fn(move |context| {
        use std::future::Future as _;
        use std::task::Poll;
        if !fed && feeding.as_mut().poll(context).is_ready() {
            fed = true;
        }
        match plain.poll_recv(context) {
            Poll::Ready(None) => {
                // The decoder has ended: it sent its error as its last item.
                drop(decoding.take());
                Poll::Ready(None)
            }
            other => other,
        }
    });
    Ok(Source::new(Box::pin(stream)))
}

/// Hands the compressed bytes to the decoder, as long as it takes them.
async fn feed(mut stream: ByteStream, input: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(chunk) = stream.next().await {
        if input.send(chunk).await.is_err() {
            break;
        }
    }
}

fn decode(
    compression: Compression,
    compressed: mpsc::Receiver<io::Result<Bytes>>,
    output: &mpsc::Sender<io::Result<Bytes>>,
) {
    let reader = Compressed {
        compressed,
        current: Bytes::new(),
    };
    let outcome = match compression {
        Compression::Zstd => {
            zstd::stream::read::Decoder::new(reader).and_then(|decoder| pump(decoder, output))
        }
        Compression::Bzip2 => pump(bzip2::read::MultiBzDecoder::new(reader), output),
        Compression::Xz => {
            let decoder = lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY);
            pump(decoder, output)
        }
        Compression::Gzip | Compression::None => pump(MultiGzDecoder::new(reader), output),
    };
    if let Err(error) = outcome
        && output.blocking_send(Err(error)).is_err()
    {
        tracing::trace!("nobody waits for the archive any more");
    }
}

fn pump(mut reader: impl Read, output: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    loop {
        let mut portion = vec![0; PORTION];
        let mut length = 0;
        while let Some(free) = portion.get_mut(length..).filter(|free| !free.is_empty()) {
            match reader.read(free)? {
                0 => break,
                read => length += read,
            }
        }
        if length == 0 {
            return Ok(());
        }
        portion.truncate(length);
        if output.blocking_send(Ok(Bytes::from(portion))).is_err() {
            return Ok(());
        }
    }
}

/// The compressed bytes as a reader, for a thread that may block.
struct Compressed {
    compressed: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Compressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.compressed.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        if let Some(target) = buffer.get_mut(..length) {
            self.current.copy_to_slice(target);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::tarstream::tests::stream;

    async fn all(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut source = plain(stream(bytes)).await?;
        let mut found = Vec::new();
        while let Some(chunk) = source.next(usize::MAX).await? {
            found.extend_from_slice(&chunk);
        }
        Ok(found)
    }

    #[tokio::test]
    async fn each_compression_is_undone() {
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        let zstd = zstd::encode_all(content.as_slice(), 1).unwrap();
        for compressed in [content.clone(), gzip.finish().unwrap(), zstd] {
            assert!(all(compressed).await.unwrap() == content);
        }
    }

    #[tokio::test]
    async fn a_cut_stream_is_an_error() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 100_000]).unwrap();
        let mut bytes = gzip.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        assert!(matches!(all(bytes).await, Err(Error::Read(_))));
        assert!(matches!(
            all(b"BZh91AY".to_vec()).await,
            Err(Error::Read(_))
        ));
    }
}
