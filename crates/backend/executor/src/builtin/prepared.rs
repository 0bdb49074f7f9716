//! Mounts that are made before the container's process is: parts of volumes, images, and mounts that show
//! owners otherwise.
//!
//! The helper makes them as detached mounts, in the host's mount namespace and with the host's privileges; the
//! container's process only attaches them. They are told by words of the options that are arca's own:
//!
//! - `arca.subpath=PATH`: not the source itself, but `PATH` in it, which cannot lead out of it;
//! - the type `overlay` with `lowerdir+=DIRECTORY` for each layer: an image;
//! - `uidMappings` and `gidMappings` as in the OCI's specification.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use arca_sys::mount_attr::map_mount;
use oci_spec::runtime::Mount;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::foreign;
use super::mounts::filesystem;
use super::options::Options;
use super::tree::stat;
use super::users::{Maps, user_namespace, with_mapped};
use crate::error::{Context, ExecError, FailureKind};

/// The option that names a part of the source.
const SUBPATH: &str = "arca.subpath=";

/// Mounts that are made, by the place they are for.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Vec<(PathBuf, OwnedFd)>);

impl Prepared {
    /// Makes those of `mounts` that cannot be made later. The process of a container with a user namespace
    /// (`remapped`) cannot go where the sources of binds are.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub(crate) fn open(mounts: &[Mount], remapped: bool) -> Result<Self, ExecError> {
        let mut all = Vec::new();
        let mut known = Vec::new();
        for mount in mounts {
            let maps = maps_of(mount);
            let subpath = subpath_of(mount);
            let is_image = mount.typ().as_deref() == Some("overlay");
            let late = !(remapped && is_bind(mount));
            if maps.is_none() && subpath.is_none() && !is_image && late {
                continue;
            }
            let made = match &maps {
                Some(maps) if is_image => make_mapped(mount, maps, subpath),
                Some(maps) => {
                    make(mount, subpath).and_then(|made| map_owners(mount, maps, &mut known, made))
                }
                None => make(mount, subpath),
            };
            let made = made.map_err(|error| describe(mount, &error))?;
            all.push((mount.destination().clone(), made));
        }
        Ok(Self(all))
    }

    /// Returns what was made for this place, and whether it is a directory; `None` when nothing was.
    ///
    /// # Errors
    /// What dup(2) says.
    pub(super) fn take(&self, destination: &Path) -> io::Result<Option<(OwnedFd, bool)>> {
        let Some((_, made)) = self.0.iter().find(|(place, _)| place == destination) else {
            return Ok(None);
        };
        let is_dir = stat(made.as_fd())?.1 == FileType::Directory;
        Ok(Some((made.try_clone()?, is_dir)))
    }

    /// Attaches them below `dir` for a runtime that wants paths; returns the path for each place.
    ///
    /// # Errors
    /// When a place cannot be made or mounted on.
    pub(crate) fn attach_below(self, dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>, ExecError> {
        let mut all = Vec::new();
        for (number, (destination, mount)) in self.0.into_iter().enumerate() {
            let place = dir.join(format!("prepared-{number}"));
            let what = || format!("mount at {}", place.display());
            if stat(mount.as_fd()).context(what)?.1 == FileType::Directory {
                std::fs::create_dir(&place).context(what)?;
            } else {
                std::fs::write(&place, "").context(what)?;
            }
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&mount, "", CWD, &place, flags).context(what)?;
            all.push((destination, place));
        }
        Ok(all)
    }
}

/// Makes of a mount that was prepared a plain bind of `place`.
pub(crate) fn as_bind(mount: &mut Mount, place: PathBuf) {
    let options = mount.options().clone().unwrap_or_default();
    let ours = |option: &String| option.starts_with(SUBPATH) || option.starts_with("lowerdir+=");
    let mut options: Vec<String> = options.into_iter().filter(|option| !ours(option)).collect();
    if !options
        .iter()
        .any(|option| option == "bind" || option == "rbind")
    {
        options.push("rbind".to_owned());
    }
    mount.set_typ(Some("bind".to_owned()));
    mount.set_source(Some(place));
    mount.set_options(Some(options));
    mount.set_uid_mappings(None);
    mount.set_gid_mappings(None);
}

fn subpath_of(mount: &Mount) -> Option<&str> {
    let mut options = mount.options().iter().flatten();
    options.find_map(|option| option.strip_prefix(SUBPATH))
}

/// Makes a detached mount of the source, or of a part of it.
fn make(mount: &Mount, subpath: Option<&str>) -> io::Result<OwnedFd> {
    let options = mount.options().as_deref().unwrap_or_default();
    let mut options = Options::parse(mount.typ().as_deref(), options);
    options.data.retain(|option| !option.starts_with(SUBPATH));
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    match options.bind {
        Some(recursive) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let source = rustix::fs::open(source, flags, Mode::empty())?;
            let part = match subpath {
                Some(subpath) => beneath(source.as_fd(), subpath)?,
                None => source,
            };
            clone(part.as_fd(), recursive)
        }
        None => {
            let kind = mount.typ().as_deref().unwrap_or_default();
            let whole = filesystem(kind, Some(source), &options)?;
            match subpath {
                Some(subpath) => clone(beneath(whole.as_fd(), subpath)?.as_fd(), false),
                None => Ok(whole),
            }
        }
    }
}

fn clone(part: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(part, "", flags)?)
}

/// Opens a part of a directory, which no link of it can lead out of.
fn beneath(directory: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    loop {
        match openat2(directory, path, flags, Mode::empty(), resolve) {
            // The kernel could not be sure that nobody moved a directory meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::XDEV) => {
                return Err(io::Error::other(
                    "path concatenation escapes the base directory",
                ));
            }
            opened => return Ok(opened?),
        }
    }
}

fn maps_of(mount: &Mount) -> Option<Maps> {
    let (users, groups) = (mount.uid_mappings(), mount.gid_mappings());
    (users.is_some() || groups.is_some()).then(|| Maps {
        users: users.clone().unwrap_or_default(),
        groups: groups.clone().unwrap_or_default(),
    })
}

/// Is it a bind of a path of the host?
fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    let bind = Options::parse(mount.typ().as_deref(), options).bind;
    let source = mount.source().as_deref();
    bind.is_some() && source.is_some_and(|source| !foreign::is_foreign(source))
}

/// Makes an overlay whose layers have mapped owners: overlayfs itself cannot be mapped.
fn make_mapped(mount: &Mount, maps: &Maps, subpath: Option<&str>) -> io::Result<OwnedFd> {
    let options = mount.options().iter().flatten();
    let layers = options.filter_map(|option| {
        let layer = option
            .strip_prefix("lowerdir+=")
            .or_else(|| option.strip_prefix("upperdir="));
        layer.map(Path::new)
    });
    let layers: Vec<&Path> = layers.collect();
    let is_upper = |option: &&String| option.starts_with("upperdir=");
    let upper = mount.options().iter().flatten().find(is_upper);
    // Both directories of a layer that is written have to be on one mount.
    let upper = upper.and_then(|option| Path::new(option.strip_prefix("upperdir=")?).parent());
    let layers: Vec<&Path> = match upper {
        Some(above) => layers
            .into_iter()
            .filter(|layer| !layer.starts_with(above))
            .chain([above])
            .collect(),
        None => layers,
    };
    with_mapped(maps, &layers, || make(mount, subpath))
}

/// Shows the owners of `made` as `maps` say.
fn map_owners(
    mount: &Mount,
    maps: &Maps,
    known: &mut Vec<(Maps, OwnedFd)>,
    made: OwnedFd,
) -> io::Result<OwnedFd> {
    if !known.iter().any(|(other, _)| other == maps) {
        known.push((maps.clone(), user_namespace(maps)?));
    }
    let recursive = |option: &String| option == "ridmap";
    let recursive = mount.options().iter().flatten().any(recursive);
    for (_, users) in known.iter().filter(|(other, _)| other == maps) {
        map_mount(made.as_fd(), users.as_fd(), recursive)?;
    }
    Ok(made)
}

fn describe(mount: &Mount, error: &io::Error) -> ExecError {
    let destination = mount.destination().display();
    let source = mount.source().as_deref().unwrap_or(Path::new("")).display();
    let part = subpath_of(mount)
        .map(|part| format!("/{part}"))
        .unwrap_or_default();
    let what = format!("failed to prepare the mount of {source}{part} at {destination}");
    let mut failure = ExecError::os(&what, error);
    if error.kind() == io::ErrorKind::NotFound {
        failure.kind = FailureKind::NotFound;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_cannot_lead_out_of_its_source() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("volume/a/b")).unwrap();
        std::fs::write(dir.path().join("secret"), "").unwrap();
        for (name, target) in [("up", "../.."), ("abs", "/"), ("in", "b/../b")] {
            std::os::unix::fs::symlink(target, dir.path().join("volume/a").join(name)).unwrap();
        }
        let volume = std::fs::File::open(dir.path().join("volume")).unwrap();
        beneath(volume.as_fd(), "a/in").unwrap();
        for path in ["a/up", "a/up/secret", "a/abs", "..", "a/../../secret"] {
            beneath(volume.as_fd(), path).unwrap_err();
        }
    }

    #[test]
    fn a_prepared_mount_is_a_bind_for_others() {
        let mut mount: Mount = serde_json::from_str(
            r#"{"destination": "/x", "type": "overlay", "source": "overlay",
                "options": ["ro", "lowerdir+=/a", "lowerdir+=/b", "arca.subpath=etc"]}"#,
        )
        .unwrap();
        assert_eq!(subpath_of(&mount), Some("etc"));
        as_bind(&mut mount, "/place".into());
        assert_eq!(mount.options().as_deref().unwrap(), ["ro", "rbind"]);
        assert_eq!(mount.source().as_deref(), Some(Path::new("/place")));
    }
}
