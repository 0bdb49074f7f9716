//! Looking at trees, as front ends and gateway clients do.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, OwnedFd};

use arca_archive::open_in_root;
use rustix::fs::{AtFlags, FileType, OFlags, Stat, major, minor};

use super::Job;
use crate::Error;
use crate::fs::{digest, glob, path};
use crate::graph::Edge;
use crate::solve::blocking;
use crate::tree::FileStat;

/// The most bytes that are read of a file.
const LIMIT: u64 = 64 << 20;

impl Job {
    /// Reads a file of a tree, following symbolic links inside of it; `None` is an empty tree. `range` is
    /// where to begin and how many bytes to read.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when it is no regular file.
    pub async fn read_file(
        &self,
        edge: Option<&Edge>,
        at: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Vec<u8>, Error> {
        let root = self.root(edge).await?;
        let at = at.to_owned();
        blocking(move || {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let opened = open_in_root(&root, at.as_bytes(), flags);
            let opened = opened.map_err(|error| not_found(error, "open", &at))?;
            let stat = rustix::fs::fstat(&opened).map_err(Error::errno("stat", &at))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Error::Invalid(format!("{at} is not a regular file")));
            }
            let mut file = std::fs::File::from(opened);
            let (offset, length) = range.unwrap_or((0, LIMIT));
            file.seek(SeekFrom::Start(offset))
                .map_err(Error::file("read", &at))?;
            let mut data = Vec::new();
            file.take(length.min(LIMIT))
                .read_to_end(&mut data)
                .map_err(Error::file("read", &at))?;
            Ok(data)
        })
        .await
    }

    /// What a path of a tree is; a link's own at its end.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn stat_file(&self, edge: Option<&Edge>, at: &str) -> Result<FileStat, Error> {
        let root = self.root(edge).await?;
        let at = at.to_owned();
        blocking(move || {
            let found = path::resolve(root.as_fd(), at.as_bytes(), false)
                .map_err(Error::errno("stat", &at))?;
            let stat = digest::stat_of(root.as_fd(), &found)?
                .ok_or_else(|| Error::NotFound(format!("lstat {at}: no such file or directory")))?;
            file_stat(&root, &found, &at, &stat)
        })
        .await
    }

    /// What is in a directory of a tree, in the order of names; only what matches `pattern`, unless it is
    /// empty.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn read_dir(
        &self,
        edge: Option<&Edge>,
        at: &str,
        pattern: &str,
    ) -> Result<Vec<FileStat>, Error> {
        let root = self.root(edge).await?;
        let (at, pattern) = (at.to_owned(), pattern.to_owned());
        blocking(move || {
            let base = path::resolve(root.as_fd(), at.as_bytes(), true)
                .map_err(Error::errno("open", &at))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = open_in_root(&root, &base, flags);
            let directory = directory.map_err(|error| not_found(error, "open", &at))?;
            let entries =
                rustix::fs::Dir::read_from(&directory).map_err(Error::errno("read", &at))?;
            let mut found = Vec::new();
            for entry in entries {
                let entry = entry.map_err(Error::errno("read", &at))?;
                let name = entry.file_name().to_bytes();
                let wanted = pattern.is_empty() || glob::matches(pattern.as_bytes(), name);
                if matches!(name, b"." | b"..") || !wanted {
                    continue;
                }
                let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Error::errno("stat", &at))?;
                let shown = String::from_utf8_lossy(name).into_owned();
                found.push(file_stat(&root, &path::join(&base, name), &shown, &stat)?);
            }
            found.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        })
        .await
    }

    async fn root(&self, edge: Option<&Edge>) -> Result<OwnedFd, Error> {
        let storage = self.0.service.storage();
        match edge {
            Some(edge) => self.evaluate(edge).await?.open(storage).await,
            None => storage.open_layers(&[]).await.map_err(Error::Storage),
        }
    }
}

fn not_found(error: rustix::io::Errno, what: &str, at: &str) -> Error {
    match error {
        rustix::io::Errno::NOENT => {
            Error::NotFound(format!("{what} {at}: no such file or directory"))
        }
        error => Error::File {
            what: "open",
            path: at.into(),
            cause: error.into(),
        },
    }
}

fn file_stat(root: &OwnedFd, at: &[u8], shown: &str, stat: &Stat) -> Result<FileStat, Error> {
    let link = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let (above, name) = path::split(at);
        let target = path::open_dir(root.as_fd(), above)
            .and_then(|parent| rustix::fs::readlinkat(&parent, name, Vec::new()))
            .map_err(Error::errno("readlink", shown))?;
        target.to_string_lossy().into_owned()
    } else {
        String::new()
    };
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(FileStat {
        path: shown.to_owned(),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stat
            .st_mtime
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds),
        link,
        device_major: major(stat.st_rdev),
        device_minor: minor(stat.st_rdev),
    })
}
