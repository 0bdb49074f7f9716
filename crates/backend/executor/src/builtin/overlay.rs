//! The root filesystem as a detached mount: nobody sees it until the container attaches it in a
//! mount namespace of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use arca_shim_proto::Rootfs;
use arca_sys::mount_attr::{change_mount, map_mount};
use arca_sys::process::{Namespace, join_namespace, unshare};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, open_tree,
};

use super::options::{PRIVATE, propagate};
use super::users::{Maps, user_namespace, with_mapped};
use crate::error::{Context, ExecError};

/// A value of fsconfig(2) has at most this many bytes.
const LONGEST_VALUE: usize = 255;

/// Makes the mount that `rootfs` describes, private and detached, with mapped owners if there are `maps`.
pub(crate) fn detached(rootfs: &Rootfs, maps: Option<&Maps>) -> Result<OwnedFd, ExecError> {
    mounted(rootfs, maps).context(|| match rootfs {
        Rootfs::Directory(dir) => format!("failed to bind the root filesystem {}", dir.display()),
        Rootfs::Overlay { .. } => "failed to mount the overlay root filesystem".to_owned(),
    })
}

/// As [`detached`], with the kernel's word alone for what fails.
pub(super) fn mounted(rootfs: &Rootfs, maps: Option<&Maps>) -> io::Result<OwnedFd> {
    match rootfs {
        Rootfs::Directory(dir) => {
            let tree = bind(dir)?;
            if let Some(maps) = maps {
                map_mount(tree.as_fd(), user_namespace(maps)?.as_fd(), false)?;
            }
            Ok(tree)
        }
        Rootfs::Overlay {
            lower,
            upper,
            work,
            options,
        } => {
            let overlay = Overlay {
                lower,
                upper,
                work,
                options,
            };
            let Some(maps) = maps else {
                return overlay.mount();
            };
            // The upper and the work directory have to be on one mount.
            let written = upper.parent().unwrap_or(upper);
            let mut layers: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
            layers.push(written);
            with_mapped(maps, &layers, || overlay.mount())
        }
    }
}

fn bind(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(rustix::fs::CWD, dir, flags)?;
    change_mount(tree.as_fd(), propagate(PRIVATE), true)?;
    Ok(tree)
}

struct Overlay<'a> {
    lower: &'a [PathBuf],
    upper: &'a Path,
    work: &'a Path,
    options: &'a [String],
}

impl Overlay<'_> {
    fn mount(&self) -> io::Result<OwnedFd> {
        match self.by_descriptor() {
            // Before Linux 6.8 layers cannot be added one by one.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.by_options()
            }
            result => result,
        }
    }

    /// The mount API of Linux 6.8: any number of layers, of any length of path.
    fn by_descriptor(&self) -> io::Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // What mountinfo shows: without it "none", and tools look for "overlay".
        fsconfig_set_string(&context, "source", "overlay")?;
        let mut long = Vec::new();
        for layer in self.lower {
            set_path(context.as_fd(), "lowerdir+", layer, &mut long)?;
        }
        set_path(context.as_fd(), "upperdir", self.upper, &mut long)?;
        set_path(context.as_fd(), "workdir", self.work, &mut long)?;
        for option in self.options {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, option.as_str())?,
            }
        }
        fsconfig_create(&context)?;
        Ok(fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?)
    }

    /// mount(2) with one page of options: paths are made short by being relative to a directory
    /// that all layers are below. In a mount namespace of its own for as long as that takes: the
    /// container's one must be made from the host's, for mounts to propagate.
    fn by_options(&self) -> io::Result<OwnedFd> {
        let home = File::open("/proc/thread-self/ns/mnt")?;
        unshare(Namespace::Mount)?;
        let mounted = self.mount_alone();
        join_namespace(home.as_fd(), Namespace::Mount)?;
        mounted
    }

    fn mount_alone(&self) -> io::Result<OwnedFd> {
        let recursive = rustix::mount::MountPropagationFlags::PRIVATE
            | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", recursive)?;
        let base = common_parent(self.lower);
        rustix::process::chdir(&base)?;
        let lower: Vec<String> = self
            .lower
            .iter()
            .map(|layer| escape(layer.strip_prefix(&base).unwrap_or(layer)))
            .collect();
        let mut data = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            escape(self.upper),
            escape(self.work)
        );
        for option in self.options {
            data.push(',');
            data.push_str(option);
        }
        let data = std::ffi::CString::new(data).map_err(|_nul| io::ErrorKind::InvalidInput)?;
        // The upper directory is hidden by the mount in this namespace only.
        mount(
            "overlay",
            self.upper,
            "overlay",
            MountFlags::empty(),
            data.as_c_str(),
        )?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(rustix::fs::CWD, self.upper, flags)?;
        Ok(tree)
    }
}

/// Sets a path, by way of a descriptor (kept in `open`) if it is too long for a value.
fn set_path(
    context: BorrowedFd<'_>,
    key: &str,
    path: &Path,
    long: &mut Vec<OwnedFd>,
) -> io::Result<()> {
    if path.as_os_str().len() <= LONGEST_VALUE {
        return Ok(fsconfig_set_string(context, key, path)?);
    }
    let dir = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    fsconfig_set_string(context, key, format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    long.push(dir);
    Ok(())
}

fn common_parent(paths: &[PathBuf]) -> PathBuf {
    let mut parents = paths.iter().filter_map(|path| path.parent());
    let Some(mut common) = parents.next() else {
        return PathBuf::from("/");
    };
    for parent in parents {
        while !parent.starts_with(common) {
            common = common.parent().unwrap_or(Path::new("/"));
        }
    }
    common.to_path_buf()
}

/// Escapes what separates layers and options.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for letter in path.to_string_lossy().chars() {
        if matches!(letter, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Opens the namespace behind a path of the configuration.
pub(super) fn open_namespace(path: &Path) -> Result<OwnedFd, ExecError> {
    File::open(path)
        .map(OwnedFd::from)
        .context(|| format!("lstat {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_from_the_directory_they_share() {
        let paths = ["/a/b/1", "/a/b/2", "/a/c/3"].map(PathBuf::from);
        assert_eq!(common_parent(&paths), Path::new("/a"));
        assert_eq!(common_parent(&paths[..2]), Path::new("/a/b"));
        assert_eq!(escape(Path::new("a:b,c\\d")), "a\\:b\\,c\\\\d");
    }

    #[test]
    fn both_ways_make_the_same_overlay_of_128_layers() {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<PathBuf> = (0..128)
            .map(|n| dir.path().join(format!("layers/{n}")))
            .collect();
        for (n, layer) in lower.iter().enumerate() {
            std::fs::create_dir_all(layer).unwrap();
            std::fs::write(layer.join("top"), n.to_string()).unwrap();
            std::fs::write(layer.join(format!("of-{n}")), "").unwrap();
        }
        let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        let check = |old: bool| {
            let (lower, upper, work) = (lower.clone(), upper.clone(), work.clone());
            // A new mount namespace has a working directory of its own.
            let thread = std::thread::spawn(move || {
                unshare(Namespace::Mount).unwrap();
                let (lower, upper, work) = (&lower, &upper, &work);
                let overlay = Overlay {
                    lower,
                    upper,
                    work,
                    options: &[],
                };
                let mount = if old {
                    overlay.by_options()
                } else {
                    overlay.by_descriptor()
                }?;
                let read = |name: &str| {
                    let fd = rustix::fs::openat(&mount, name, OFlags::RDONLY, Mode::empty());
                    io::read_to_string(File::from(fd.unwrap())).unwrap()
                };
                Ok::<_, io::Error>((read("top"), read("of-127")))
            });
            thread.join().unwrap()
        };
        assert_eq!(check(true).unwrap().0, "0");
        match check(false) {
            Ok((top, _)) => assert_eq!(top, "0"),
            // Before Linux 6.8.
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::INVAL.raw_os_error())),
        }
    }
}
