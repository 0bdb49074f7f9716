//! Noticing that the kernel has killed a process of the container for want of memory.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use arca_shim_proto::CgroupPaths;
use rustix::event::EventfdFlags;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// A watch on the memory controller of a container.
#[derive(Debug)]
pub(crate) struct OomWatch {
    notifier: OwnedFd,
    /// The file that counts the kills.
    counter: PathBuf,
    seen: u64,
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notifier.as_fd()
    }
}

impl OomWatch {
    /// Watches the memory controller, if the container has one.
    pub(crate) fn new(cgroups: &CgroupPaths) -> io::Result<Option<Self>> {
        if let Some(directory) = cgroups.get("memory") {
            return Self::version_1(directory).map(Some);
        }
        match cgroups
            .get("")
            .map(|directory| directory.join("memory.events"))
        {
            Some(counter) if counter.exists() => Self::version_2(counter).map(Some),
            _ => Ok(None),
        }
    }

    /// An eventfd that is told of each (cgroup-v1/memory.txt, "OOM Control").
    fn version_1(directory: &Path) -> io::Result<Self> {
        let counter = directory.join("memory.oom_control");
        let notifier = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = std::fs::File::open(&counter)?;
        let order = format!("{} {}", notifier.as_raw_fd(), control.as_raw_fd());
        std::fs::write(directory.join("cgroup.event_control"), order)?;
        Ok(Self {
            notifier,
            counter,
            seen: 0,
        })
    }

    /// `memory.events` changes (cgroup-v2, "Memory Interface Files").
    fn version_2(counter: PathBuf) -> io::Result<Self> {
        let notifier = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&notifier, &counter, WatchFlags::MODIFY)?;
        Ok(Self {
            notifier,
            counter,
            seen: 0,
        })
    }

    /// Looks whether there was a kill since the last look.
    pub(crate) fn look(&mut self) -> bool {
        let mut space = [MaybeUninit::<u8>::uninit(); 4096];
        // Whatever was noticed: the counter says what it was.
        drop(
            rustix::io::read(&self.notifier, &mut space)
                .map(|_| ())
                .map_err(io::Error::from),
        );
        // Without the file the cgroup is gone, and so is everything in it.
        let text = std::fs::read_to_string(&self.counter).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let count = count
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0);
        let more = count > self.seen;
        self.seen = self.seen.max(count);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_version_2() {
        let root = tempfile::tempdir().unwrap();
        let counter = root.path().join("memory.events");
        std::fs::write(&counter, "oom 0\noom_kill 0\n").unwrap();
        let cgroups = [(String::new(), root.path().to_owned())].into();
        let mut watch = OomWatch::new(&cgroups).unwrap().unwrap();
        assert!(!watch.look());
        std::fs::write(&counter, "oom 1\noom_kill 1\n").unwrap();
        let mut watched = [rustix::event::PollFd::new(
            &watch,
            rustix::event::PollFlags::IN,
        )];
        assert_eq!(rustix::event::poll(&mut watched, None), Ok(1));
        assert!(watch.look());
        assert!(!watch.look());
    }
}
