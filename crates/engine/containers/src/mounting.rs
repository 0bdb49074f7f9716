//! What a container mounts, made ready when it starts.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arca_archive::open_root;
use arca_types::IdMaps;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::Error;
use crate::actor::Actor;
use crate::model::{IdMapping, MountPoint, MountType};
use crate::spec::oci::{self, IdRange, IdRanges};
use crate::start::{blocking, text};
use crate::undo::Undo;
use crate::users::{self, Account};
use crate::volumes::overlaps;

/// A mount as the runtime gets it.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    /// The mount; its source is where it is now.
    pub(crate) point: MountPoint,
    /// The directories of an image's layers, the topmost first.
    pub(crate) layers: Vec<PathBuf>,
    /// How owners of users and of groups are shown.
    pub(crate) ids: Option<IdRanges>,
}

impl Mounted {
    /// A mount that is as the container has it.
    pub(crate) fn plain(point: MountPoint) -> Self {
        Self {
            point,
            layers: Vec::new(),
            ids: None,
        }
    }
}

impl Actor {
    /// Mounts volumes, finds what is to be mounted, and checks that it can be.
    ///
    /// # Errors
    /// [`Error::Volume`]; [`Error::NoSubpath`]; [`Error::Failed`] for a propagation that the source's mount
    /// does not have.
    pub(crate) async fn ready_mounts(
        &self,
        account: &Account,
        undo: &mut Undo,
    ) -> Result<Vec<Mounted>, Error> {
        let mut all = Vec::with_capacity(self.c.mounts.len());
        for point in self.c.mounts.iter() {
            let mut mounted = Mounted::plain(point.clone());
            match point.kind {
                MountType::Volume => {
                    let path = self.mount_volume(&point.name, undo).await?;
                    mounted.point.source = text(&path);
                    mounted.ids = self.ids_of_volume(&point.name)?;
                }
                MountType::Image => {
                    let holder = point.layers.as_ref();
                    let layers = holder.map(|holder| self.service.storage.layers_of(holder));
                    mounted.layers = layers
                        .transpose()
                        .map_err(Error::Storage)?
                        .unwrap_or_default();
                    self.check_image(point).await?;
                    mounted.ids = self.ids().map(|ids| oci::id_ranges(&ids));
                }
                MountType::Bind => {
                    let mapping = point.bind().and_then(|bind| bind.id_mapping.clone());
                    if let Some(mapping) = mapping {
                        mounted.ids = self.id_ranges(&point.source, &mapping, account).await?;
                    }
                }
                MountType::Tmpfs => {}
            }
            all.push(mounted);
        }
        let (checked, root) = (all.clone(), self.service.config().data_root.clone());
        let mut points = checked.into_iter().map(|mounted| mounted.point);
        blocking(move || points.try_for_each(|point| check(&point, &root))).await?;
        Ok(all)
    }

    /// How the container's user namespace maps owners.
    pub(crate) fn ids(&self) -> Option<IdMaps> {
        let config = self.service.config();
        let users = config.users_of(&self.c.spec.host);
        users.map(|users| users.ids.clone())
    }

    /// How the owners of a volume's files are shown. Files that are somewhere else show their own.
    fn ids_of_volume(&self, name: &str) -> Result<Option<IdRanges>, Error> {
        let Some(ids) = self.ids() else {
            return Ok(None);
        };
        let volume = self.service.volumes.get(name)?;
        Ok(has_mapped_owners(&volume).then(|| oci::id_ranges(&ids)))
    }

    /// A part of an image has to be there.
    async fn check_image(&self, point: &MountPoint) -> Result<(), Error> {
        let (subpath, name) = (point.subpath(), point.name.clone());
        let Some(holder) = point.layers.as_ref().filter(|_| !subpath.is_empty()) else {
            return Ok(());
        };
        let root = self.service.storage.open_layers_of(holder).await;
        let root = root.map_err(Error::Storage)?;
        blocking(move || open_beneath(root.as_fd(), &name, &subpath)).await
    }

    async fn mount_volume(&self, name: &str, undo: &mut Undo) -> Result<PathBuf, Error> {
        let volumes = &self.service.volumes;
        let path = volumes.mount(name, &self.c.id).await?;
        let (volumes, name, id) = (volumes.clone(), name.to_owned(), self.c.id.clone());
        undo.push("volume", async move {
            volumes.unmount(&name, &id).await;
            Ok(())
        });
        Ok(path)
    }

    /// The owner of the source and a user of the container change places.
    async fn id_ranges(
        &self,
        source: &str,
        mapping: &IdMapping,
        account: &Account,
    ) -> Result<Option<IdRanges>, Error> {
        let (uid, gid) = if mapping.user.is_empty() {
            (account.user.uid, account.user.gid)
        } else {
            let root = self.service.storage.open_rootfs(&self.c.id).await;
            let (root, name) = (root.map_err(Error::Storage)?, mapping.user.clone());
            let found = blocking(move || users::resolve(root.as_fd(), &name, &[])).await?;
            (found.user.uid, found.user.gid)
        };
        let (uid, gid) = match self.ids() {
            Some(ids) => {
                let outside = ids.outside((uid, gid));
                outside.map_err(|unmapped| Error::Invalid(unmapped.to_string()))?
            }
            None => (uid, gid),
        };
        let path = PathBuf::from(source);
        blocking(move || {
            use std::os::unix::fs::MetadataExt as _;
            let owner = std::fs::metadata(&path).map_err(Error::file("look at", &path))?;
            if (owner.uid(), owner.gid()) == (uid, gid) {
                return Ok(None);
            }
            Ok(Some((swapped(owner.uid(), uid), swapped(owner.gid(), gid))))
        })
        .await
    }

    /// Gives up the volumes of a container that has ended.
    pub(crate) async fn unmount_volumes(&self) {
        let volumes = &self.service.volumes;
        let mounts = Arc::clone(&self.c.mounts);
        for point in mounts
            .iter()
            .filter(|point| point.kind == MountType::Volume)
        {
            volumes.unmount(&point.name, &self.c.id).await;
            volumes.unmounted(&point.name, &self.c.id).await;
        }
    }
}

/// Are the files of a volume arca's own, so that each container sees them with owners of its own? What options
/// and plugins mount shows its owners as they are.
pub(crate) fn has_mapped_owners(volume: &arca_volumes::Volume) -> bool {
    volume.is_plain() || volume.driver == arca_volumes::Volume::BLOCK
}

/// All IDs as they are, but for two that change places.
fn swapped(one: u32, other: u32) -> Vec<IdRange> {
    let (low, high) = (one.min(other), one.max(other));
    let range = |container_id: u32, host_id: u32, size: u32| IdRange {
        container_id,
        host_id,
        size,
    };
    if low == high {
        return vec![range(0, 0, u32::MAX)];
    }
    let all = [
        range(0, 0, low),
        range(low, high, 1),
        range(low + 1, low + 1, high - low - 1),
        range(high, low, 1),
        range(
            high.saturating_add(1),
            high.saturating_add(1),
            u32::MAX - high - 1,
        ),
    ];
    all.into_iter().filter(|range| range.size > 0).collect()
}

/// Checks what only shows now.
fn check(point: &MountPoint, root: &Path) -> Result<(), Error> {
    if point.kind == MountType::Volume && !point.subpath().is_empty() {
        check_subpath(point)?;
    }
    // What shows the data root is a slave without being asked for, whatever the mount around it is.
    let held = point.propagation == "rslave" && overlaps(Path::new(&point.source), root);
    if point.kind == MountType::Bind && !held {
        check_propagation(&point.source, &point.propagation)?;
    }
    Ok(())
}

/// A part of a volume has to be there. The runtime resolves it again: this is for the words.
fn check_subpath(point: &MountPoint) -> Result<(), Error> {
    let root = open_root(Path::new(&point.source))
        .map_err(|error| Error::file("open", &point.source)(error.into()))?;
    open_beneath(root.as_fd(), &point.source, &point.subpath())
}

fn open_beneath(root: BorrowedFd<'_>, name: &str, path: &str) -> Result<(), Error> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    opened.map(drop).map_err(|errno| Error::NoSubpath {
        path: format!("{name}/{path}"),
        cause: errno.into(),
    })
}

/// What a mount is to pass on, the mount that its source is in has to pass on.
fn check_propagation(source: &str, propagation: &str) -> Result<(), Error> {
    let wanted: &[&str] = match propagation {
        "shared" | "rshared" => &["shared:"],
        "slave" | "rslave" => &["shared:", "master:"],
        _ => return Ok(()),
    };
    let path = std::fs::canonicalize(source).map_err(Error::file("look at", source))?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(Error::file("read", "/proc/self/mountinfo"))?;
    let lines = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let around = lines.filter_map(|fields| {
        let place = fields.get(4)?.replace("\\040", " ");
        path.starts_with(&place).then_some((place, fields))
    });
    // Of mounts at one place the last is the one that is seen.
    let Some((place, fields)) = around.max_by_key(|(place, _)| place.len()) else {
        return Ok(());
    };
    let optional = fields.iter().skip(6).take_while(|field| **field != "-");
    let has = |field: &&str| wanted.iter().any(|prefix| field.starts_with(prefix));
    if optional.into_iter().any(has) {
        return Ok(());
    }
    let kind = match wanted {
        [_] => "shared",
        _ => "shared or slave",
    };
    let text = format!("path {source} is mounted on {place} but it is not a {kind} mount");
    Err(Error::Failed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_owners_change_places() {
        let ranges = |one, other| {
            swapped(one, other)
                .into_iter()
                .map(|range| (range.container_id, range.host_id, range.size))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ranges(1000, 0),
            [
                (0, 1000, 1),
                (1, 1, 999),
                (1000, 0, 1),
                (1001, 1001, u32::MAX - 1001)
            ]
        );
        assert_eq!(
            ranges(1, 2),
            [(0, 0, 1), (1, 2, 1), (2, 1, 1), (3, 3, u32::MAX - 3)]
        );
        assert_eq!(ranges(7, 7), [(0, 0, u32::MAX)]);
    }
}
