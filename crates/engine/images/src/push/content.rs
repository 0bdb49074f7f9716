//! The bytes of a layer, read while they are sent.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::compress::{Output, Portions, copy, fail};
use crate::progress::{Detail, Progress, ProgressSink};

/// Portions that wait for the registry.
const WAITING: usize = 4;
/// The least time between two lines about the bytes of one layer.
const PERIOD: Duration = Duration::from_millis(100);

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
