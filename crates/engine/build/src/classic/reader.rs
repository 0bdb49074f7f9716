//! A stream of bytes as something to read, on a thread that may block.

use std::io::{self, Read};

use arca_images::ByteStream;
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

/// The reading end.
#[derive(Debug)]
pub(super) struct StreamReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

/// Both ends: what is to be read, and the work of handing it over.
pub(super) fn reader(mut stream: ByteStream) -> (StreamReader, impl Future<Output = ()> + Send) {
    let (sender, pieces) = mpsc::channel(16);
    let feeding = async move {
        while let Some(piece) = stream.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    let reader = StreamReader {
        pieces,
        current: Bytes::new(),
    };
    (reader, feeding)
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current
            .split_to(length)
            .copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}
