//! The file that is written, and what becomes of it when it is full.
//!
//! Rotating renames and never waits. Compressing takes long, so somebody else does it, between two
//! descriptors: the names may shift meanwhile, and the outcome is put in its place by the one who
//! shifts them.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use crate::files::{compressed, remove_file, rename, rotated, with_suffix};
use crate::limits::Limits;

/// A rotated file to be compressed, by [`compress`].
#[derive(Debug)]
pub struct Compression {
    /// What to read.
    pub input: File,
    /// What to write.
    pub output: File,
}

/// Copies a log file, compressed.
///
/// # Errors
/// What reading and writing say.
pub fn compress(mut input: &File, output: &File) -> io::Result<()> {
    let mut encoder = GzEncoder::new(output, flate2::Compression::new(4));
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = input.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        encoder.write_all(bytes)?;
    }
    encoder.finish()?;
    // The time of the last entry, by which readers skip a file.
    output.set_modified(input.metadata()?.modified()?)
}

/// The current file of a log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limits: Limits,
    /// Numbers of rotated files that are to be compressed, the newest first.
    waiting: VecDeque<usize>,
    /// The number of the file that is being compressed; `None` inside when it was removed meanwhile.
    active: Option<Option<usize>>,
}

const MODE: u32 = 0o640;

impl LogFile {
    /// Opens the file for appending. `mend` makes what a crash has left at its end harmless, and
    /// returns the size to go on from.
    pub(crate) fn open(
        path: &Path,
        limits: Limits,
        mend: fn(&mut File) -> io::Result<u64>,
    ) -> io::Result<Self> {
        let mut file = open(path)?;
        let size = mend(&mut file)?;
        remove_file(&temporary(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            limits,
            waiting: VecDeque::new(),
            active: None,
        })
    }

    /// Its size, and at which size it is rotated.
    pub(crate) fn size(&self) -> (u64, Option<u64>) {
        (self.size, self.limits.max_size)
    }

    /// Would the file be full with `pending` more bytes in it?
    pub(crate) fn is_full(&self, pending: usize) -> bool {
        let size = self
            .size
            .saturating_add(u64::try_from(pending).unwrap_or(u64::MAX));
        self.limits.max_size.is_some_and(|limit| size >= limit)
    }

    /// Appends bytes. What could not be written is lost.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += u64::try_from(bytes.len()).unwrap_or(0);
        self.file.write_all(bytes)
    }

    /// Starts a new file, and shifts the old ones by one.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        let last = self.limits.max_files.saturating_sub(1);
        if last == 0 {
            remove_file(&self.path)?;
        } else {
            remove_file(&rotated(&self.path, last))?;
            remove_file(&compressed(&self.path, last))?;
            for index in (1..last).rev() {
                rename(&rotated(&self.path, index), &rotated(&self.path, index + 1))?;
                rename(
                    &compressed(&self.path, index),
                    &compressed(&self.path, index + 1),
                )?;
            }
            rename(&self.path, &rotated(&self.path, 1))?;
            self.shift(last);
        }
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn shift(&mut self, last: usize) {
        let moved = |index: usize| Some(index + 1).filter(|index| *index <= last);
        self.active = self.active.map(|index| index.and_then(moved));
        if self.limits.compress {
            self.waiting = self
                .waiting
                .iter()
                .filter_map(|index| moved(*index))
                .collect();
            self.waiting.push_front(1);
        }
    }

    /// The next file to be compressed, unless one is just being compressed.
    pub(crate) fn take_compression(&mut self) -> io::Result<Option<Compression>> {
        if self.active.is_some() {
            return Ok(None);
        }
        // The oldest is dropped first, so the newest is compressed first.
        let Some(index) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let input = File::open(rotated(&self.path, index))?;
        let output = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(temporary(&self.path))?;
        self.active = Some(Some(index));
        Ok(Some(Compression { input, output }))
    }

    /// Puts the outcome of a compression in its place, or drops it.
    pub(crate) fn compression_done(&mut self, success: bool) -> io::Result<()> {
        match self.active.take().flatten() {
            Some(index) if success => {
                rename(&temporary(&self.path), &compressed(&self.path, index))?;
                remove_file(&rotated(&self.path, index))
            }
            _ => remove_file(&temporary(&self.path)),
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    with_suffix(path, ".gz.tmp")
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}

/// Ends a line that a crash has torn.
pub(crate) fn mend_lines(file: &mut File) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    if size == 0 {
        return Ok(0);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(size);
    }
    file.write_all(b"\n")?;
    Ok(size + 1)
}

/// Cuts off a record that a crash has torn.
pub(crate) fn mend_records(file: &mut File) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    let good = crate::tail::whole_records(file, size)?;
    if good < size {
        file.set_len(good)?;
    }
    Ok(good)
}
