//! Noticing that a container wants more memory than it may have: the kernel has killed a process of it, or, where that
//! is disabled, holds one up.

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

    /// Looks whether there was a kill since the last look, or there will be none (cgroup-v1/memory.txt, "OOM Control").
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
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(key, _)| *key == name)?;
            found.1.trim().parse::<u64>().ok()
        };
        let count = value("oom_kill").unwrap_or(0);
        let more = count > self.seen;
        self.seen = self.seen.max(count);
        more || (value("oom_kill_disable") == Some(1) && value("under_oom") == Some(1))
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

    #[test]
    fn without_the_killer_a_process_is_held_up() {
        let root = tempfile::tempdir().unwrap();
        let (notifier, counter) = (
            rustix::event::eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
            root.path().join("memory.oom_control"),
        );
        let mut watch = OomWatch {
            notifier,
            counter: counter.clone(),
            seen: 0,
        };
        for (disabled, under, told) in [(0, 1, false), (1, 0, false), (1, 1, true)] {
            let text = format!("oom_kill_disable {disabled}\nunder_oom {under}\noom_kill 0\n");
            std::fs::write(&counter, text).unwrap();
            assert_eq!(watch.look(), told, "{disabled} {under}");
        }
    }
}
