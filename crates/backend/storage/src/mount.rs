//! Mounts that are nowhere: an overlay as a descriptor.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use arca_archive::open_root;
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};

use crate::error::Error;
use crate::paths::Paths;

/// What a merged view consists of.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    /// The topmost first.
    pub(crate) lower: Vec<PathBuf>,
    /// The writable directory and the work directory; without, the view cannot be written to.
    pub(crate) upper: Option<(PathBuf, PathBuf)>,
}

/// Options that keep what containers write readable without this very stack of layers.
pub(crate) const OPTIONS: [(&str, &str); 3] = [
    ("index", "off"),
    ("redirect_dir", "off"),
    ("metacopy", "off"),
];

/// Without this, the end of a mount waits until the whole file system of its upper directory is synced.
/// It also turns `fsync` within the mount into nothing, which is right for a view that arcad opens, and
/// wrong for the mount that a container runs on.
const VOLATILE: &str = "volatile";

/// Removes the mark by which overlayfs refuses a work directory that was used by a volatile mount: it
/// stands for "do not trust after a crash of the machine", which is true of every mount without `fsync`.
pub(crate) fn forget_volatile(work: &Path) {
    let removed = open_root(&work.join("work"))
        .and_then(|inner| arca_archive::remove_tree(inner, b"incompat"));
    match removed {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => {
            tracing::warn!(%error, path = %work.display(), "a volatile mount left its mark");
        }
    }
}

impl Overlay {
    /// Mounts the view, at no place; it goes with the descriptor. No device, program or set-user-ID bit
    /// is effective in it.
    pub(crate) fn open(&self) -> Result<OwnedFd, Error> {
        let opened = self.open_either_way();
        if let Some((_, work)) = &self.upper {
            forget_volatile(work);
        }
        opened
    }

    fn open_either_way(&self) -> Result<OwnedFd, Error> {
        match self.open_detached() {
            // Before Linux 6.7 each lower directory cannot be given on its own.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => self.open_in_namespace(),
            opened => opened.map_err(Error::mount("failed to mount")),
        }
    }

    fn open_detached(&self) -> Result<OwnedFd, rustix::io::Errno> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        for lower in &self.lower {
            fsconfig_set_string(context, "lowerdir+", lower)?;
        }
        if let Some((upper, work)) = &self.upper {
            fsconfig_set_string(context, "upperdir", upper)?;
            fsconfig_set_string(context, "workdir", work)?;
            fsconfig_set_flag(context, VOLATILE)?;
        }
        for (key, value) in OPTIONS {
            fsconfig_set_string(context, key, value)?;
        }
        fsconfig_create(context)?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes())
    }

    /// The old way: a thread with mounts of its own mounts the view there and takes it along.
    pub(crate) fn open_in_namespace(&self) -> Result<OwnedFd, Error> {
        let spawned = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("storage-mount".to_owned())
                .spawn_scoped(scope, || self.mount_apart());
            thread.map(|thread| thread.join().unwrap_or(Err(Error::Panicked)))
        });
        spawned.map_err(Error::mount("failed to start a thread to mount"))?
    }

    fn mount_apart(&self) -> Result<OwnedFd, Error> {
        let step = |action| Error::mount::<rustix::io::Errno>(action);
        let base = self
            .lower
            .last()
            .and_then(|lower| lower.parent())
            .unwrap_or(Path::new("/"));
        arca_sys::process::unshare(arca_sys::process::Namespace::Mount)
            .map_err(Error::mount("failed to leave the mount namespace"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).map_err(step("failed to seclude mounts"))?;
        // Options are limited to a page: names are short when they are relative. The directory is this
        // thread's own since it has left the namespace.
        rustix::process::chdir(base).map_err(step("failed to enter the layers"))?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let flags = if self.upper.is_some() {
            flags
        } else {
            flags | MountFlags::RDONLY
        };
        let options = std::ffi::CString::new(self.options(base))
            .map_err(Error::mount("failed to name the layers"))?;
        // On top of the layers themselves: the paths in the options have been resolved by then.
        rustix::mount::mount("overlay", ".", "overlay", flags, options.as_c_str())
            .map_err(step("failed to mount"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let opened = open_tree(CWD, base, flags).map_err(step("failed to open"));
        rustix::mount::unmount(base, UnmountFlags::DETACH).map_err(step("failed to unmount"))?;
        opened
    }

    /// The options of mount(2).
    fn options(&self, base: &Path) -> Vec<u8> {
        let short = |path: &Path| {
            let path = path.strip_prefix(base).unwrap_or(path);
            path.as_os_str().as_encoded_bytes().to_vec()
        };
        let lower: Vec<Vec<u8>> = self.lower.iter().map(|path| short(path)).collect();
        let mut options = [b"lowerdir=".as_slice(), &lower.join(&b':')].concat();
        if let Some((upper, work)) = &self.upper {
            let upper = [b",upperdir=".as_slice(), &short(upper)].concat();
            options.extend([upper, [b",workdir=".as_slice(), &short(work)].concat()].concat());
            options.extend([b",", VOLATILE.as_bytes()].concat());
        }
        for (key, value) in OPTIONS {
            options.extend(format!(",{key}={value}").into_bytes());
        }
        options
    }

    fn attributes(&self) -> MountAttrFlags {
        let safe = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        if self.upper.is_some() {
            safe
        } else {
            safe | MountAttrFlags::MOUNT_ATTR_RDONLY
        }
    }
}

/// Can the file system that storage is on carry overlays?
pub(crate) fn overlay_works(paths: &Paths) -> bool {
    let probe = paths.tmp().join("probe");
    let works = try_overlay(paths, &probe);
    let removed = std::fs::remove_dir_all(&probe);
    if let Err(error) = &works {
        let error = arca_types::chain(error);
        tracing::warn!(%error, "overlay mounts do not work");
    }
    works.is_ok() && removed.is_ok()
}

fn try_overlay(paths: &Paths, probe: &Path) -> Result<(), Error> {
    let (upper, work) = (probe.join("upper"), probe.join("work"));
    for directory in [&upper, &work] {
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    }
    // What layers need is looked for as well: whiteouts and their attributes.
    let opaque = c"trusted.overlay.opaque";
    rustix::fs::setxattr(&upper, opaque, b"y", rustix::fs::XattrFlags::empty())
        .map_err(Error::io("mark", &upper))?;
    let overlay = Overlay {
        lower: vec![paths.init()],
        upper: Some((upper, work)),
    };
    overlay.open().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way that older kernels need, with as many layers as an image may have.
    #[test]
    fn a_view_can_be_mounted_apart() {
        let dir = tempfile::tempdir().unwrap();
        let layers = dir.path().join("layers");
        let lower: Vec<PathBuf> = (100..228)
            .map(|number| layers.join(number.to_string()))
            .collect();
        for layer in &lower {
            std::fs::create_dir_all(layer).unwrap();
        }
        std::fs::write(lower[0].join("top"), "t").unwrap();
        std::fs::write(lower[127].join("bottom"), "b").unwrap();
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        for upper in [
            None,
            Some((dir.path().join("upper"), dir.path().join("work"))),
        ] {
            for path in upper.iter().flat_map(|(upper, work)| [upper, work]) {
                std::fs::create_dir_all(path).unwrap();
            }
            let writable = upper.is_some();
            let view = Overlay {
                lower: lower.clone(),
                upper,
            }
            .open_in_namespace()
            .unwrap();
            for name in ["top", "bottom"] {
                rustix::fs::statat(&view, name, rustix::fs::AtFlags::empty()).unwrap();
            }
            let mode = rustix::fs::Mode::RWXU;
            assert_eq!(rustix::fs::mkdirat(&view, "new", mode).is_ok(), writable);
        }
        assert_eq!(
            std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
            before
        );
    }
}
