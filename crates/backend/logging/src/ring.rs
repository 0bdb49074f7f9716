//! `mode=non-blocking`: entries wait in memory for a thread that writes them, and are dropped when too
//! many do. Whoever logs never waits for the disk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::rotation::{self, LogFile};

/// What the thread does.
#[derive(Debug)]
enum Work {
    /// Whole entries.
    Append(Vec<u8>),
    Rotate,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Bytes of the entries that wait or are being written.
    bytes: usize,
    /// Bytes that are being written, perhaps none.
    busy: Option<usize>,
    closing: bool,
    error: Option<io::Error>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory, and the thread.
#[derive(Debug)]
pub(crate) struct Ring {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The most bytes that wait (`max-buffer-size`).
    most: usize,
    /// The size of the file when everything is written, and at which size it is rotated.
    size: u64,
    limit: Option<u64>,
}

impl Ring {
    /// Starts a thread that writes a file.
    pub(crate) fn start(file: LogFile, most: usize) -> io::Result<Self> {
        let (size, limit) = file.size();
        let mut writer = FileWriter {
            file,
            compressing: None,
        };
        let mut ring = Self::run(most, move |work| writer.work(work))?;
        (ring.size, ring.limit) = (size, limit);
        Ok(ring)
    }

    fn run(
        most: usize,
        mut work: impl FnMut(Work) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 << 10)
            .spawn(move || {
                while let Some(next) = for_thread.next() {
                    let outcome = work(next);
                    for_thread.done(outcome);
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
            most,
            size: 0,
            limit: None,
        })
    }

    /// Would the file be full with `pending` more bytes in it?
    pub(crate) fn is_full(&self, pending: usize) -> bool {
        let size = self
            .size
            .saturating_add(u64::try_from(pending).unwrap_or(u64::MAX));
        self.limit.is_some_and(|limit| size >= limit)
    }

    /// Has whole entries written later; they are dropped when too much waits.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.bytes == 0 || state.bytes + bytes.len() <= self.most {
            state.bytes += bytes.len();
            state.waiting.push_back(Work::Append(bytes.to_vec()));
            self.size += u64::try_from(bytes.len()).unwrap_or_default();
            self.shared.changed.notify_all();
        }
        state.error.take().map_or(Ok(()), Err)
    }

    /// Has a new file started after what waits.
    pub(crate) fn rotate(&mut self) {
        self.size = 0;
        self.shared.lock().waiting.push_back(Work::Rotate);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        let mut state = self.shared.lock();
        while state.busy.is_some() || !state.waiting.is_empty() {
            state = self.shared.wait(state);
        }
        state.error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked writes no more.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// What is to be done next; `None` at the end.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                state.busy = Some(match &work {
                    Work::Append(bytes) => bytes.len(),
                    Work::Rotate => 0,
                });
                return Some(work);
            }
            if state.closing {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn done(&self, outcome: io::Result<()>) {
        let mut state = self.lock();
        let written = state.busy.take().unwrap_or_default();
        state.bytes = state.bytes.saturating_sub(written);
        if let Err(error) = outcome {
            state.error = Some(error);
        }
        self.changed.notify_all();
    }
}

/// The thread's side: the file, and the thread that compresses what was rotated.
struct FileWriter {
    file: LogFile,
    compressing: Option<JoinHandle<bool>>,
}

impl FileWriter {
    fn work(&mut self, work: Work) -> io::Result<()> {
        match work {
            Work::Append(bytes) => self.file.append(&bytes)?,
            Work::Rotate => self.file.rotate()?,
        }
        if self
            .compressing
            .as_ref()
            .is_some_and(JoinHandle::is_finished)
        {
            self.compressed()?;
        }
        if self.compressing.is_none()
            && let Some(job) = self.file.take_compression()?
        {
            let compress = move || rotation::compress(&job.input, &job.output).is_ok();
            self.compressing = Some(std::thread::spawn(compress));
        }
        Ok(())
    }

    fn compressed(&mut self) -> io::Result<()> {
        match self.compressing.take() {
            Some(thread) => self.file.compression_done(thread.join().unwrap_or(false)),
            None => Ok(()),
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // What could not be put in its place stays as it was.
        drop(self.compressed());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_nobody_waits() {
        let (go, may_go) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&written);
        let mut ring = Ring::run(10, move |work| {
            begun.send(()).unwrap();
            may_go.recv().unwrap();
            if let Work::Append(bytes) = work {
                out.lock().unwrap().extend(bytes);
            }
            Ok(())
        })
        .unwrap();
        // The disk hangs with the first entry; one more fits.
        ring.append(b"larger than that\n").unwrap();
        has_begun.recv().unwrap();
        ring.append(b"dropped\n").unwrap();
        go.send(()).unwrap();
        ring.drain().unwrap();
        ring.append(b"b\n").unwrap();
        has_begun.recv().unwrap();
        ring.append(b"c\n").unwrap();
        ring.append(b"dropped again\n").unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        ring.drain().unwrap();
        let written = written.lock().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&written),
            "larger than that\nb\nc\n"
        );
    }

    #[test]
    fn an_error_is_told_by_the_next_call() {
        let mut ring = Ring::run(10, |_| Err(io::Error::other("full"))).unwrap();
        ring.append(b"a").unwrap();
        assert!(ring.drain().is_err());
        assert!(ring.drain().is_ok());
    }
}
