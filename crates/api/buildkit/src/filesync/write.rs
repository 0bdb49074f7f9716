//! Writing what a sender tells of. Everything is below a directory of ours, and no link is followed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use arca_archive::{open_in_root, remove_tree};
use arca_build::Error;
use bollard_buildkit_proto::fsutil::types::Stat;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::list::List;
use super::mode;

/// A file whose contents are on their way.
#[derive(Debug)]
struct Coming {
    path: Vec<u8>,
    stat: Stat,
    file: Option<File>,
}

/// The receiving directory.
#[derive(Debug)]
pub(super) struct Writer {
    root: OwnedFd,
    compare: bool,
    coming: HashMap<u32, Coming>,
    /// Further names of files: the new one, and the one that is there.
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where the contents of a file go before they are complete: a name that no sender can tell of, since it
/// is not UTF-8.
fn temporary(number: u32) -> Vec<u8> {
    let mut name = b".\xffarriving-".to_vec();
    name.extend(number.to_string().bytes());
    name
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (b"", path),
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn times(modified: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: modified.div_euclid(1_000_000_000),
        tv_nsec: modified.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.uid)), Some(Gid::from_raw(stat.gid)))
}

impl Writer {
    pub(super) fn open(root: &Path, compare: bool) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(root, flags, Mode::empty());
        Ok(Self {
            root: opened.map_err(Error::errno("open", root))?,
            compare,
            coming: HashMap::new(),
            links: Vec::new(),
        })
    }

    /// Is everything here that was asked for?
    pub(super) fn is_complete(&self) -> bool {
        self.coming.is_empty()
    }

    /// Makes a file, or says that its contents are needed.
    pub(super) fn entry(&mut self, path: &[u8], stat: &Stat, number: u32) -> Result<bool, Error> {
        let mode = mode::from_go(stat.mode).unwrap_or_default();
        let (above, name) = split(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent =
            open_in_root(&self.root, above, flags).map_err(Error::errno("open", shown(above)))?;
        if FileType::from_raw_mode(mode) == FileType::RegularFile {
            if !stat.linkname.is_empty() {
                let target = stat.linkname.trim_start_matches('/').as_bytes().to_vec();
                self.links.push((path.to_vec(), target));
                return Ok(false);
            }
            if self.compare && is_same(parent.as_fd(), name, stat, mode) {
                return Ok(false);
            }
            let coming = Coming {
                path: path.to_vec(),
                stat: stat.clone(),
                file: None,
            };
            self.coming.insert(number, coming);
            if stat.size == 0 {
                self.data(number, &[])?;
                return Ok(false);
            }
            return Ok(true);
        }
        special(parent.as_fd(), name, stat, mode).map_err(Error::errno("make", shown(path)))?;
        Ok(false)
    }

    /// Takes contents; none are the end of the file.
    pub(super) fn data(&mut self, number: u32, data: &[u8]) -> Result<(), Error> {
        let unknown = || Error::Invalid(format!("contents of file {number}, not asked for"));
        let coming = self.coming.get_mut(&number).ok_or_else(unknown)?;
        let name = temporary(number);
        let file = match &mut coming.file {
            Some(file) => file,
            none => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
                let opened = rustix::fs::openat(
                    &self.root,
                    name.as_slice(),
                    flags | OFlags::CLOEXEC,
                    Mode::RUSR | Mode::WUSR,
                );
                let opened = opened.map_err(Error::errno("make", shown(&coming.path)))?;
                none.insert(File::from(opened))
            }
        };
        if !data.is_empty() {
            return file
                .write_all(data)
                .map_err(Error::file("write", shown(&coming.path)));
        }
        complete(self.root.as_fd(), file, &name, &coming.path, &coming.stat)
            .map_err(Error::errno("write", shown(&coming.path)))?;
        self.coming.remove(&number);
        Ok(())
    }

    /// Makes links, removes what was not told of, and sets the times of directories.
    pub(super) fn finish(self, list: &List) -> Result<(), Error> {
        for (path, target) in &self.links {
            if !list.has(target) {
                return Err(Error::Invalid(format!(
                    "a link to what is not there: {:?}",
                    shown(target)
                )));
            }
            self.link(path, target)
                .map_err(Error::errno("link", shown(path)))?;
        }
        self.sweep(list)?;
        for (path, modified) in list.directories() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = open_in_root(&self.root, path, flags);
            directory
                .and_then(|directory| rustix::fs::futimens(directory, &times(modified)))
                .map_err(Error::errno("set the time of", shown(path)))?;
        }
        Ok(())
    }

    fn link(&self, path: &[u8], target: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let ((above, name), (from, old)) = (split(path), split(target));
        let parent = open_in_root(&self.root, above, flags)?;
        let source = open_in_root(&self.root, from, flags)?;
        clear(parent.as_fd(), name)?;
        rustix::fs::linkat(&source, old, &parent, name, AtFlags::empty())
    }

    fn sweep(&self, list: &List) -> Result<(), Error> {
        let mut waiting = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let failed = || Error::errno("read", shown(&path));
            let directory = open_in_root(&self.root, &path, flags).map_err(failed())?;
            for entry in Dir::read_from(&directory).map_err(failed())? {
                let entry = entry.map_err(failed())?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let below = match path.as_slice() {
                    b"" => name.to_vec(),
                    path => [path, name].join(&b'/'),
                };
                if !list.has(&below) {
                    remove_tree(&directory, name).map_err(Error::errno("remove", shown(&below)))?;
                } else if entry.file_type() == FileType::Directory {
                    waiting.push(below);
                }
            }
        }
        Ok(())
    }
}

/// Is there a file that looks the same?
fn is_same(parent: BorrowedFd<'_>, name: &[u8], stat: &Stat, mode: u32) -> bool {
    let Ok(found) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return false;
    };
    let seconds = found.st_mtime.saturating_mul(1_000_000_000);
    let nanoseconds = i64::try_from(found.st_mtime_nsec).unwrap_or(0);
    found.st_mode == mode
        && found.st_nlink == 1
        && found.st_size == stat.size
        && seconds.saturating_add(nanoseconds) == stat.mod_time
        && (found.st_uid, found.st_gid) == (stat.uid, stat.gid)
}

/// Removes what is there.
fn clear(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match remove_tree(parent, name) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Makes what has no contents.
fn special(parent: BorrowedFd<'_>, name: &[u8], stat: &Stat, mode: u32) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(mode);
    let bits = Mode::from_raw_mode(mode & 0o7777);
    let (uid, gid) = owner(stat);
    if kind == FileType::Directory {
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {}
            Ok(_) => {
                clear(parent, name)?;
                rustix::fs::mkdirat(parent, name, bits)?;
            }
            Err(Errno::NOENT) => rustix::fs::mkdirat(parent, name, bits)?,
            Err(error) => return Err(error),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = open_in_root(parent, name, flags | OFlags::NOFOLLOW)?;
        rustix::fs::fchown(&opened, uid, gid)?;
        return rustix::fs::fchmod(&opened, bits);
    }
    clear(parent, name)?;
    if kind == FileType::Symlink {
        rustix::fs::symlinkat(stat.linkname.as_str(), parent, name)?;
    } else {
        let number = |number: i64| u32::try_from(number).unwrap_or(0);
        let device = rustix::fs::makedev(number(stat.devmajor), number(stat.devminor));
        rustix::fs::mknodat(parent, name, kind, bits, device)?;
    }
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    let times = times(stat.mod_time);
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Gives a file that is complete its attributes and its name.
fn complete(
    root: BorrowedFd<'_>,
    file: &File,
    temporary: &[u8],
    path: &[u8],
    stat: &Stat,
) -> Result<(), Errno> {
    let mode = mode::from_go(stat.mode).unwrap_or_default();
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(file, uid, gid)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?;
    for (name, value) in &stat.xattrs {
        // Not every file system takes every attribute; the client's files are no images.
        match rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    rustix::fs::futimens(file, &times(stat.mod_time))?;
    let (above, name) = split(path);
    let parent = open_in_root(root, above, OFlags::PATH | OFlags::DIRECTORY)?;
    match rustix::fs::renameat(root, temporary, &parent, name) {
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            clear(parent.as_fd(), name)?;
            rustix::fs::renameat(root, temporary, &parent, name)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: i64, modified: i64) -> Stat {
        Stat {
            path: path.to_owned(),
            mode: 0o640,
            size,
            mod_time: modified,
            ..Stat::default()
        }
    }

    fn directory(path: &str) -> Stat {
        Stat {
            path: path.to_owned(),
            mode: 1 << 31 | 0o750,
            mod_time: 5_000_000_001,
            ..Stat::default()
        }
    }

    /// Transfers files; returns the paths that were asked for.
    fn transfer(root: &Path, stats: &[Stat]) -> Vec<String> {
        let mut writer = Writer::open(root, true).unwrap();
        let mut list = List::default();
        let mut asked = Vec::new();
        for (number, stat) in (0..).zip(stats) {
            let path = list.add(stat).unwrap();
            if writer.entry(&path, stat, number).unwrap() {
                asked.push(stat.path.clone());
                writer.data(number, b"12345").unwrap();
                writer.data(number, b"").unwrap();
            }
        }
        assert!(writer.is_complete());
        writer.finish(&list).unwrap();
        asked
    }

    #[test]
    fn only_what_differs_travels_and_what_is_gone_goes() {
        let root = tempfile::tempdir().unwrap();
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let own = |mut stat: Stat| {
            (stat.uid, stat.gid) = (uid, gid);
            stat
        };
        let first = [
            own(directory("d")),
            own(file("d/a", 5, 7)),
            own(file("d/b", 5, 7)),
            own(file("empty", 0, 7)),
        ];
        assert_eq!(transfer(root.path(), &first), ["d/a", "d/b"]);
        assert_eq!(std::fs::read(root.path().join("d/a")).unwrap(), b"12345");
        assert!(root.path().join("empty").exists());
        assert_eq!(transfer(root.path(), &first), [""; 0]);
        let second = [own(directory("d")), own(file("d/a", 5, 8))];
        assert_eq!(transfer(root.path(), &second), ["d/a"]);
        assert!(!root.path().join("d/b").exists());
        assert!(!root.path().join("empty").exists());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn kinds_replace_each_other_and_links_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let link = Stat {
            path: "x".to_owned(),
            mode: 1 << 27 | 0o777,
            linkname: outside.path().to_str().unwrap().to_owned(),
            ..Stat::default()
        };
        transfer(root.path(), &[link]);
        assert!(root.path().join("x").is_symlink());
        transfer(root.path(), &[directory("x"), file("x/y", 5, 1)]);
        assert_eq!(std::fs::read(root.path().join("x/y")).unwrap(), b"12345");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        transfer(root.path(), &[file("x", 5, 1)]);
        assert!(root.path().join("x").is_file());
    }

    #[test]
    fn contents_that_nobody_asked_for_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(root.path(), true).unwrap();
        assert!(writer.data(3, b"x").is_err());
    }
}
