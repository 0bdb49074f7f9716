//! `ContainerLogs`: reads back what was logged, and follows.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arca_logging::{Batch, Progress, ReadOptions, Reader, Render};
use bytes::Bytes;
use futures_util::Stream;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::backend;
use crate::container::Container;
use crate::requests::LogsRequest;
use crate::service::Containers;
use crate::start::blocking;
use crate::state::State;

/// Pieces that may wait for a client.
const QUEUE: usize = 4;
/// A piece is sent when it has about this many bytes.
const PIECE: usize = 128 << 10;

/// The bytes of a log, framed unless the container has a terminal. Dropping it ends the reading.
#[derive(Debug)]
pub struct LogStream {
    /// Whether the container has a terminal: the bytes are raw then.
    pub tty: bool,
    pieces: mpsc::Receiver<Result<Bytes, Error>>,
}

impl Stream for LogStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(cx)
    }
}

impl Containers {
    /// Reads the log of a container (`ContainerLogs`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when no stream is wanted; [`Error::Conflict`] when it is
    /// being removed; [`Error::Unsupported`] for drivers that cannot be read.
    pub fn logs(&self, id: &str, request: LogsRequest) -> Result<LogStream, Error> {
        if !request.stdout && !request.stderr {
            let text = "Bad parameters: you must choose at least one stream";
            return Err(Error::Invalid(text.to_owned()));
        }
        let container = self.get(id)?;
        if matches!(container.state, State::Removing | State::Dead) {
            let text = "can not get logs from container which is dead or marked for removal";
            return Err(Error::Conflict(text.to_owned()));
        }
        self.read_log(&container, &request, !container.spec.tty)
    }

    /// Reads a log, framed or not.
    pub(crate) fn read_log(
        &self,
        container: &Container,
        request: &LogsRequest,
        framed: bool,
    ) -> Result<LogStream, Error> {
        let spec = backend::kept_log(container);
        let handle = self.service().index.find(container.id.as_str())?;
        let state = handle.state.clone();
        let follow = request.follow && container.state.is_running();
        let options = ReadOptions {
            since: request.since,
            until: request.until,
            tail: request.tail,
            follow,
        };
        if !arca_logging::is_readable(&spec) {
            let text = arca_logging::Error::NoReading.to_string();
            return Err(Error::Unsupported(text));
        }
        let mut render = Render::default();
        render.stdout = request.stdout;
        render.stderr = request.stderr;
        render.timestamps = request.timestamps;
        render.details = request.details;
        render.framed = framed;
        let (sender, pieces) = mpsc::channel(QUEUE);
        let ends = container.ends.count;
        self.service().tasks.spawn({
            let closing = self.service().closing.clone();
            async move {
                let work = read(
                    spec,
                    options,
                    render,
                    Following { state, ends },
                    sender.clone(),
                );
                if let Some(Err(error)) = closing.run_until_cancelled(work).await
                    && sender.send(Err(error)).await.is_err()
                {
                    tracing::debug!("the client of a log is gone");
                }
            }
        });
        Ok(LogStream {
            tty: container.spec.tty,
            pieces,
        })
    }
}

/// Up to when a log is followed.
struct Following {
    state: watch::Receiver<Arc<Container>>,
    ends: u64,
}

impl Following {
    fn is_over(&self) -> bool {
        let container = self.state.borrow();
        container.ends.count > self.ends || !container.state.is_running()
    }

    /// Waits until the process ends.
    async fn over(&mut self) {
        let ends = self.ends;
        let ended = |container: &Arc<Container>| {
            container.ends.count > ends || !container.state.is_running()
        };
        if self.state.wait_for(ended).await.is_err() {
            tracing::debug!("the container of a log is gone");
        }
    }
}

/// What travels between the thread that reads and the task that waits.
struct Work {
    reader: Reader,
    render: Render,
    batch: Batch,
}

async fn read(
    spec: arca_runtime::LogSpec,
    options: ReadOptions,
    render: Render,
    mut following: Following,
    sender: mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let opened = blocking(move || {
        let reader = Reader::open(&spec, options).map_err(Error::Log)?;
        let notifier = reader
            .notifier()
            .map(|fd| fd.try_clone_to_owned())
            .transpose();
        let notifier = notifier.map_err(Error::file("watch", &spec.path))?;
        Ok((reader, notifier))
    });
    let (reader, notifier) = opened.await?;
    let watch = notifier.map(register).transpose()?;
    let mut work = Work {
        reader,
        render,
        batch: Batch::default(),
    };
    loop {
        // Asked before reading: what was written before the end is read then.
        let over = following.is_over();
        if over {
            work.reader.finish();
        }
        let done;
        (work, done) = pump(work, sender.clone()).await?;
        match (done, &watch) {
            (Progress::Pending, Some(watch)) => wait(watch, &mut following, &sender).await?,
            (Progress::End | Progress::Pending, _) => return Ok(()),
            (Progress::Entries, _) => {}
        }
        if sender.is_closed() {
            return Ok(());
        }
    }
}

#[expect(
    deprecated,
    reason = "the new way is unsafe for types that might close their descriptor early; this one owns it"
)]
fn register(notifier: OwnedFd) -> Result<AsyncFd<OwnedFd>, Error> {
    let registered = AsyncFd::with_interest(notifier, tokio::io::Interest::READABLE);
    registered.map_err(Error::file("watch", "the log"))
}

/// Reads all that is there, on a thread that may block.
async fn pump(
    mut work: Work,
    sender: mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(Work, Progress), Error> {
    blocking(move || {
        let mut piece = Vec::new();
        loop {
            let progress = work
                .reader
                .next_batch(&mut work.batch)
                .map_err(Error::Log)?;
            work.render.append(&work.batch, &mut piece);
            let full = piece.len() >= PIECE || progress != Progress::Entries;
            if full && !piece.is_empty() {
                let sent = sender.blocking_send(Ok(Bytes::from(std::mem::take(&mut piece))));
                if sent.is_err() {
                    return Ok((work, Progress::End));
                }
            }
            if progress != Progress::Entries {
                return Ok((work, progress));
            }
        }
    })
    .await
}

/// Waits for something to be written, for the end of the process, or for the client to go.
async fn wait(
    watch: &AsyncFd<OwnedFd>,
    following: &mut Following,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    tokio::select! {
        ready = watch.readable() => {
            let mut ready = ready.map_err(Error::file("watch", "the log"))?;
            // The reader takes the notice off the descriptor.
            ready.clear_ready();
        }
        () = following.over() => {}
        () = sender.closed() => {}
    }
    Ok(())
}
