//! The bytes of a layer, read or compressed while they are sent.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arca_registry::Descriptor;
use arca_registry::media_type;
use arca_types::Digest;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::progress::{Detail, Progress, ProgressSink};

/// Bytes that are read at a time.
const PORTION: usize = 256 * 1024;
/// Portions that wait for the registry.
const WAITING: usize = 4;
/// The least time between two lines about the bytes of one layer.
const PERIOD: Duration = Duration::from_millis(100);

type Portions = mpsc::Receiver<io::Result<Bytes>>;

/// A file's bytes as they are. `read` counts them.
pub(super) fn plain(file: File, read: Arc<AtomicU64>) -> Portions {
    let (sender, portions) = mpsc::channel(WAITING);
    // Ends with its channel: when the upload is over.
    let _reader = tokio::task::spawn_blocking(move || {
        let mut output = Output(sender.clone());
        if let Err(error) = copy(file, &mut output, &read) {
            fail(&sender, error);
        }
    });
    portions
}

/// A file's bytes, compressed by gzip. `read` counts those of the file. The descriptor of what was made
/// comes when all of it has been taken.
pub(super) fn compressed(
    file: File,
    read: Arc<AtomicU64>,
) -> (Portions, oneshot::Receiver<Descriptor>) {
    let (sender, portions) = mpsc::channel(WAITING);
    let (made, descriptor) = oneshot::channel();
    let _compressor =
        tokio::task::spawn_blocking(
            move || match compress(file, Output(sender.clone()), &read) {
                Ok(descriptor) => drop(made.send(descriptor)),
                Err(error) => fail(&sender, error),
            },
        );
    (portions, descriptor)
}

fn fail(sender: &mpsc::Sender<io::Result<Bytes>>, error: io::Error) {
    if sender.blocking_send(Err(error)).is_err() {
        tracing::debug!("an upload was given up");
    }
}

fn compress(file: File, output: Output, read: &AtomicU64) -> io::Result<Descriptor> {
    let hashed = Hashed {
        output: io::BufWriter::with_capacity(PORTION, output),
        hasher: Sha256::new(),
        size: 0,
    };
    let mut encoder = GzEncoder::new(hashed, Compression::default());
    copy(file, &mut encoder, read)?;
    let mut hashed = encoder.finish()?;
    hashed.output.flush()?;
    let digest = Digest::sha256(&hashed.hasher.finalize().into());
    Ok(Descriptor::new(
        media_type::OCI_LAYER_GZIP,
        digest,
        hashed.size,
    ))
}

fn copy(mut file: File, output: &mut impl Write, read: &AtomicU64) -> io::Result<()> {
    let mut portion = vec![0; PORTION];
    loop {
        let count = file.read(&mut portion)?;
        let Some(bytes) = portion.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        output.write_all(bytes)?;
        read.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Whoever sends takes what is written.
struct Output(mpsc::Sender<io::Result<Bytes>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let portion = Bytes::copy_from_slice(bytes);
        match self.0.blocking_send(Ok(portion)) {
            Ok(()) => Ok(bytes.len()),
            Err(_given_up) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Hashed {
    output: io::BufWriter<Output>,
    hasher: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// What tells how far one layer is.
pub(super) struct Meter {
    pub(super) id: String,
    pub(super) total: u64,
    pub(super) read: Arc<AtomicU64>,
    pub(super) sink: ProgressSink,
}

impl Meter {
    pub(super) fn line(&self) -> Progress {
        let detail = Detail {
            current: self.read.load(Ordering::Relaxed),
            total: self.total,
        };
        Progress::step(&self.id, "Pushing", Some(detail))
    }

    /// The portions, with a line now and then. A client that does not keep up misses lines; it does not
    /// hold the upload up.
    pub(super) fn watch(
        self,
        mut portions: Portions,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let mut due = Instant::now();
        futures_util::stream::poll_fn(move |context| {
            let next = portions.poll_recv(context);
            let now = Instant::now();
            if next.is_ready() && now >= due {
                due = now + PERIOD;
                if self.sink.try_send(self.line()).is_err() {
                    tracing::trace!("a line of progress was left out");
                }
            }
            next
        })
    }
}
