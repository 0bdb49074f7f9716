//! A container's files as its processes see them: with volumes, binds and the files of its network.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use arca_archive::{open_in_root, open_root};
use arca_sys::mount_attr::{MountChange, change_mount, map_mount};
use arca_types::IdMaps;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree,
};

use super::root::{Root, Users, apart, failed};
use crate::Error;
use crate::container::Container;
use crate::model::{MountPoint, MountType};
use crate::mounting::has_mapped_owners;
use crate::service::Service;
use crate::users;

/// What a view is made of.
#[derive(Debug)]
pub(crate) struct View {
    root: Root,
    points: Vec<Point>,
    /// A directory of the host that the view covers in its own namespace.
    place: PathBuf,
    readonly: bool,
    /// The user namespace that owners are of, if it is not the initial one.
    users: Option<Users>,
    /// The IDs of the user namespace that the container would run in now.
    ids: Option<IdMaps>,
    /// Volumes that are mounted for as long as the view is.
    _held: Vec<arca_volumes::Held>,
}

/// Something that is mounted in the container.
#[derive(Debug)]
struct Point {
    source: PathBuf,
    /// An image, mounted nowhere, instead of a path.
    image: Option<OwnedFd>,
    /// The part of a volume or image that is mounted; it is resolved inside of it.
    beneath: String,
    destination: String,
    rw: bool,
    recursive: bool,
    make_source: bool,
    /// Whether owners are mapped as in the container.
    mapped: bool,
}

impl Service {
    /// Prepares a view of a container.
    ///
    /// # Errors
    /// [`Error::Storage`]; [`Error::Conflict`] for a container that is being removed.
    pub(crate) async fn view(&self, container: &Container) -> Result<View, Error> {
        let mut root = self.root_of(container).await?;
        let config = self.config();
        let users = root.take_users();
        let users = users.map(|users| users.for_files(&config)).transpose()?;
        let (mut points, mut held) = (Vec::new(), Vec::new());
        for mount in container.mounts.iter() {
            match self.point(mount, &mut held).await? {
                Some(point) => points.push(point),
                None => tracing::trace!(place = mount.destination, "memory is in no view"),
            }
        }
        for (path, destination) in [
            (container.resolv_conf_path(), "/etc/resolv.conf"),
            (container.hostname_path(), "/etc/hostname"),
            (container.hosts_path(), "/etc/hosts"),
        ] {
            let taken = points.iter().any(|point| point.destination == destination);
            if !taken && !path.as_os_str().is_empty() {
                points.push(Point {
                    source: path,
                    image: None,
                    beneath: String::new(),
                    destination: destination.to_owned(),
                    rw: !container.spec.host.readonly_rootfs,
                    recursive: false,
                    make_source: false,
                    mapped: true,
                });
            }
        }
        points.sort_by_key(|point| point.destination.matches('/').count());
        Ok(View {
            root,
            points,
            place: self.containers_dir(),
            readonly: container.spec.host.readonly_rootfs,
            users,
            ids: config
                .users_of(&container.spec.host)
                .map(|users| users.ids.clone()),
            _held: held,
        })
    }

    /// What is mounted; `None` for memory.
    async fn point(
        &self,
        point: &MountPoint,
        held: &mut Vec<arca_volumes::Held>,
    ) -> Result<Option<Point>, Error> {
        let (mut source, mut image) = (PathBuf::from(&point.source), None);
        let mut mapped = false;
        match (point.kind, &point.layers) {
            (MountType::Tmpfs, _) => return Ok(None),
            (MountType::Volume, _) => {
                let volume = self.volumes.hold(&point.name).await?;
                source = volume.path().to_owned();
                mapped = has_mapped_owners(&*self.volumes.get(&point.name)?);
                held.push(volume);
            }
            (_, Some(layers)) => {
                let opened = self.storage.open_layers_of(layers).await;
                image = Some(opened.map_err(Error::Storage)?);
            }
            _ => {}
        }
        Ok(Some(Point {
            source,
            image,
            beneath: point.subpath(),
            destination: point.destination.clone(),
            rw: point.rw,
            recursive: !point.bind().is_some_and(|bind| bind.non_recursive),
            make_source: point.create_source,
            mapped,
        }))
    }
}

impl View {
    /// How its owners are those of the container; `None` where they are the same. Files that are not arca's
    /// own (`bound`) have the owners that the container's processes have outside of it, also when it does not
    /// run.
    pub(crate) fn ids(&self, bound: bool) -> Option<IdMaps> {
        let running = self.users.as_ref().map(|users| users.ids.clone());
        running.or_else(|| self.ids.clone().filter(|_| bound))
    }

    /// Mounts the view for as long as `work` takes, which gets its root.
    ///
    /// # Errors
    /// What `work` says; [`Error::File`] when the view cannot be mounted.
    pub(crate) fn with<T: Send>(
        self,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        apart(move || {
            let root = self.mount()?;
            work(root.as_fd())
        })
    }

    fn mount(self) -> Result<OwnedFd, Error> {
        let mut sources = Vec::new();
        for mut point in self.points {
            // The view covers some of them.
            if let Some(source) = point.open(self.users.as_ref())? {
                sources.push((source, point));
            }
        }
        let root = self.root.attachable()?;
        restrict(root.as_fd(), true, false)?;
        let place = open_root(&self.place)
            .map_err(|error| failed("open", &self.place.to_string_lossy(), error))?;
        attach(root.as_fd(), place.as_fd()).map_err(|error| failed("mount", "the view", error))?;
        for (source, point) in &sources {
            point.attach(source.as_fd(), root.as_fd())?;
        }
        if self.readonly {
            restrict(root.as_fd(), false, false)?;
        }
        Ok(root)
    }
}

impl Point {
    /// Opens what is to be mounted; `None` when it is not there.
    fn open(&mut self, users: Option<&Users>) -> Result<Option<OwnedFd>, Error> {
        if self.make_source && !self.source.exists() {
            std::fs::create_dir_all(&self.source).map_err(Error::file("make", &self.source))?;
        }
        match self.open_source() {
            Ok(source) => {
                if let Some(users) = users.filter(|_| self.mapped) {
                    map_mount(source.as_fd(), users.namespace.as_fd(), false)
                        .map_err(Error::file("map the owners of", &self.source))?;
                }
                restrict(source.as_fd(), self.rw, true)?;
                Ok(Some(source))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(failed("open", &self.source.to_string_lossy(), error)),
        }
    }

    fn open_source(&mut self) -> Result<OwnedFd, Errno> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if self.recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let whole = match self.image.take() {
            Some(image) if self.beneath.is_empty() => return Ok(image),
            Some(image) => image,
            None if self.beneath.is_empty() => return open_tree(CWD, &self.source, flags),
            None => open_root(&self.source)?,
        };
        let part = open_in_root(whole, self.beneath.as_bytes(), OFlags::PATH)?;
        open_tree(part, "", flags | OpenTreeFlags::AT_EMPTY_PATH)
    }

    fn attach(&self, source: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(), Error> {
        let failed = |error| failed("mount", &self.destination, error);
        let stat = rustix::fs::fstat(source).map_err(failed)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let target = match open_in_root(root, self.destination.as_bytes(), OFlags::PATH) {
            Err(Errno::NOENT) => {
                make_target(root, &self.destination, is_dir)?;
                open_in_root(root, self.destination.as_bytes(), OFlags::PATH).map_err(failed)?
            }
            found => found.map_err(failed)?,
        };
        attach(source, target.as_fd()).map_err(failed)
    }
}

/// Makes what a mount needs to be mounted on.
fn make_target(root: BorrowedFd<'_>, path: &str, is_dir: bool) -> Result<(), Error> {
    let owner = users::root();
    if is_dir {
        return users::make_directory(root, path, &owner);
    }
    let path = Path::new(path);
    let above = path.parent().unwrap_or(Path::new("/"));
    let failed = |error| failed("make", &path.to_string_lossy(), error);
    users::make_directory(root, &above.to_string_lossy(), &owner)?;
    let parent = open_in_root(root, above.as_os_str().as_encoded_bytes(), OFlags::PATH);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = path.file_name().unwrap_or_default();
    let mode = Mode::from_raw_mode(0o755);
    let made = rustix::fs::openat(parent.map_err(failed)?, name, flags, mode);
    made.map(File::from).map(drop).map_err(failed)
}

fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags)
}

/// Devices and programs have no effect in a view, and what is mounted in it is seen nowhere else.
fn restrict(mount: BorrowedFd<'_>, rw: bool, recursive: bool) -> Result<(), Error> {
    let mut set = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    if !rw {
        set |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let change = MountChange {
        set: u64::from(set.bits()),
        clear: 0,
        propagation: u64::from(MountPropagationFlags::PRIVATE.bits()),
    };
    change_mount(mount, change, recursive).map_err(Error::file("restrict", "a mount of the view"))
}
