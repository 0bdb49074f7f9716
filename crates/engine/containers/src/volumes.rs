//! The mounts of a new container: binds, volumes, anonymous volumes, those of other containers.

use std::path::Path;
use std::sync::Arc;

use arca_types::{ContainerId, DiffId};
use arca_volumes::{CreateRequest, Volume};

use crate::Error;
use crate::binds::{self, Mode};
use crate::model::{ContainerSpec, MountPoint, MountRequest, MountType, Propagation};
use crate::service::Service;
use crate::undo::Undo;

impl Service {
    /// Makes and acquires what a container mounts, and fills new volumes from its image.
    ///
    /// # Errors
    /// [`Error::Invalid`] for two mounts at one place; [`Error::Volume`]; [`Error::NotFound`] for a
    /// container of `VolumesFrom`.
    pub(crate) async fn make_mounts(
        self: &Arc<Self>,
        id: &ContainerId,
        spec: &ContainerSpec,
        undo: &mut Undo,
    ) -> Result<Vec<MountPoint>, Error> {
        let mut points = self.inherited(spec)?;
        // What was made before something failed is taken back, too.
        let made = self.make_points(spec, &mut points).await;
        for point in points
            .iter()
            .filter(|point| point.kind == MountType::Volume)
        {
            self.volumes.acquire(&point.name, id)?;
            let (service, id) = (Arc::clone(self), id.clone());
            let (name, anonymous) = (point.name.clone(), point.anonymous);
            undo.push("volume", async move {
                service.volumes.release(&name, &id);
                if anonymous && service.volumes.users(&name) == 0 {
                    service.volumes.remove(&name, true).await?;
                    service.forget_anonymous(&name).await;
                }
                Ok(())
            });
        }
        for holder in points.iter().filter_map(|point| point.layers.clone()) {
            let service = Arc::clone(self);
            undo.push("image mount", async move {
                service
                    .storage
                    .remove(&holder)
                    .await
                    .map_err(Error::Storage)
            });
        }
        made?;
        self.fill(id, &points).await?;
        Ok(points)
    }

    /// Adds what the container itself asks for to what it has inherited.
    async fn make_points(
        &self,
        spec: &ContainerSpec,
        points: &mut Vec<MountPoint>,
    ) -> Result<(), Error> {
        let inherited = points.len();
        for bind in spec.host.binds.iter().flatten() {
            let point = self.of_bind(bind, spec).await?;
            if has_tmpfs(spec, &point.destination) {
                return Err(duplicate(&point.destination));
            }
            add(points, inherited, point)?;
        }
        for mount in spec.host.mounts.iter().flatten() {
            let point = self.of_mount(mount).await?;
            let holder = point.layers.clone();
            add(points, inherited, point).map_err(|_same| duplicate(&mount.target))?;
            if let (Some(holder), Some(layers)) = (holder, self.image_layers(mount).await?) {
                let prepared = self.storage.prepare(&holder, &layers).await;
                prepared.map_err(Error::Storage)?;
            }
        }
        for path in spec.volumes.iter().flatten() {
            let path = binds::clean(path);
            let taken =
                points.iter().any(|point| point.destination == path) || has_tmpfs(spec, &path);
            if !taken {
                points.push(self.anonymous(path, spec).await?);
            }
        }
        Ok(())
    }

    /// Copies what the image has at their places into empty volumes.
    async fn fill(&self, id: &ContainerId, points: &[MountPoint]) -> Result<(), Error> {
        for point in points {
            if point.kind == MountType::Volume && point.copy_up {
                let root = self.storage.open_rootfs(id).await.map_err(Error::Storage)?;
                self.volumes
                    .copy_up(&point.name, root, point.destination.clone())
                    .await?;
            }
        }
        Ok(())
    }

    /// The mounts of `VolumesFrom`.
    fn inherited(&self, spec: &ContainerSpec) -> Result<Vec<MountPoint>, Error> {
        let mut points: Vec<MountPoint> = Vec::new();
        for source in spec.host.volumes_from.iter().flatten() {
            let (name, mode) = binds::parse_volumes_from(source)?;
            let other = self
                .index
                .find(name)
                .map_err(Error::into_invalid)?
                .snapshot();
            for point in other.mounts.iter() {
                let mut point = point.clone();
                point.rw &= !mode.read_only;
                point.copy_up = false;
                point.mode = String::new();
                if point.kind == MountType::Image {
                    continue;
                }
                points.retain(|old| old.destination != point.destination);
                points.push(point);
            }
        }
        Ok(points)
    }

    async fn of_bind(&self, text: &str, spec: &ContainerSpec) -> Result<MountPoint, Error> {
        let bind = binds::parse(text)?;
        let mode = binds::parse_mode(&bind.mode)?;
        if bind.source.starts_with('/') {
            let propagation = self.propagation(&bind.source, mode.propagation)?;
            return Ok(MountPoint {
                source: bind.source,
                mode: bind.mode,
                rw: !mode.read_only,
                propagation,
                create_source: true,
                ..point(MountType::Bind, bind.target)
            });
        }
        let driver = Some(spec.host.volume_driver.clone()).filter(|driver| !driver.is_empty());
        let anonymous = bind.source.is_empty();
        let mut request = CreateRequest {
            name: Some(bind.source),
            driver,
            ..CreateRequest::default()
        };
        if anonymous {
            request = self.anonymous_volume(request).await?;
        }
        let volume = self.volumes.create(request).await?;
        let shown = if bind.mode.is_empty() {
            "z"
        } else {
            &bind.mode
        };
        Ok(MountPoint {
            mode: shown.to_owned(),
            anonymous,
            ..self.of_volume(&volume, bind.target, &mode)
        })
    }

    /// How a bind of `source` propagates. What shows the data root has to let go of what the daemon unmounts.
    fn propagation(&self, source: &str, asked: Option<Propagation>) -> Result<String, Error> {
        let root = self.config().data_root.clone();
        let held = overlaps(Path::new(source), &root);
        let given = match asked {
            None if held => Propagation::Rslave,
            None => Propagation::default(),
            Some(given @ (Propagation::Rslave | Propagation::Rshared)) => given,
            Some(given) if held => {
                return Err(Error::Invalid(format!(
                    "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount \
                     source is within the daemon root, daemon root: {root:?}, bind mount source: {source:?}, \
                     propagation: {:?}",
                    given.as_str()
                )));
            }
            Some(given) => given,
        };
        Ok(given.as_str().to_owned())
    }

    async fn of_mount(&self, mount: &MountRequest) -> Result<MountPoint, Error> {
        let target = binds::clean(&mount.target);
        let mut made = match mount.kind {
            MountType::Bind => {
                let bind = mount.bind.clone().unwrap_or_default();
                MountPoint {
                    source: mount.source.clone(),
                    propagation: self.propagation(&mount.source, bind.propagation)?,
                    create_source: bind.create_mountpoint,
                    ..point(MountType::Bind, target)
                }
            }
            MountType::Tmpfs => point(MountType::Tmpfs, target),
            MountType::Volume => {
                let options = mount.volume.clone().unwrap_or_default();
                let some = |map: std::collections::BTreeMap<String, String>| {
                    Some(map).filter(|map| !map.is_empty())
                };
                let mut request = CreateRequest {
                    name: Some(mount.source.clone()),
                    driver: Some(options.driver).filter(|driver| !driver.is_empty()),
                    options: some(options.driver_options),
                    labels: some(options.labels),
                };
                if mount.source.is_empty() {
                    request = self.anonymous_volume(request).await?;
                }
                let volume = self.volumes.create(request).await?;
                let mode = Mode {
                    no_copy: options.no_copy,
                    ..Mode::default()
                };
                let of = self.of_volume(&volume, target, &mode);
                MountPoint {
                    mode: "z".to_owned(),
                    anonymous: mount.source.is_empty(),
                    copy_up: of.copy_up && options.subpath.is_empty(),
                    ..of
                }
            }
            MountType::Image => MountPoint {
                name: mount.source.clone(),
                rw: false,
                propagation: Propagation::default().as_str().to_owned(),
                layers: Some(ContainerId::random()),
                ..point(MountType::Image, target)
            },
        };
        made.rw = !mount.read_only && mount.kind != MountType::Image;
        made.request = Some(mount.clone());
        Ok(made)
    }

    async fn anonymous(&self, path: String, spec: &ContainerSpec) -> Result<MountPoint, Error> {
        let driver = Some(spec.host.volume_driver.clone()).filter(|driver| !driver.is_empty());
        let request = CreateRequest {
            driver,
            ..CreateRequest::default()
        };
        let request = self.anonymous_volume(request).await?;
        let volume = self.volumes.create(request).await?;
        Ok(MountPoint {
            anonymous: true,
            ..self.of_volume(&volume, path, &Mode::default())
        })
    }

    /// The layers of the image that is mounted; `None` for other mounts.
    async fn image_layers(&self, mount: &MountRequest) -> Result<Option<Vec<DiffId>>, Error> {
        if mount.kind != MountType::Image {
            return Ok(None);
        }
        let image = self.images.resolve(&mount.source, None).await?;
        Ok(Some(image.layers))
    }

    fn of_volume(&self, volume: &Volume, target: String, mode: &Mode) -> MountPoint {
        let name = volume.name.as_str();
        MountPoint {
            name: name.to_owned(),
            source: self.volumes.path(name).to_string_lossy().into_owned(),
            driver: volume.driver.clone(),
            rw: !mode.read_only,
            copy_up: !mode.no_copy,
            ..point(MountType::Volume, target)
        }
    }
}

fn has_tmpfs(spec: &ContainerSpec, path: &str) -> bool {
    let mut all = spec.host.tmpfs.iter().flatten();
    all.any(|(other, _options)| binds::clean(other) == path)
}

fn point(kind: MountType, destination: String) -> MountPoint {
    MountPoint {
        kind,
        name: String::new(),
        source: String::new(),
        destination,
        driver: String::new(),
        mode: String::new(),
        rw: true,
        propagation: String::new(),
        anonymous: false,
        copy_up: false,
        create_source: false,
        request: None,
        layers: None,
    }
}

fn duplicate(place: &str) -> Error {
    Error::Invalid(format!("Duplicate mount point: {place}"))
}

/// Adds a mount: one that was inherited gives way, one that was asked for does not.
fn add(points: &mut Vec<MountPoint>, inherited: usize, new: MountPoint) -> Result<(), Error> {
    if let Some(index) = points
        .iter()
        .position(|old| old.destination == new.destination)
    {
        if index >= inherited {
            return Err(duplicate(&new.destination));
        }
        if let Some(place) = points.get_mut(index) {
            *place = new;
        }
        return Ok(());
    }
    points.push(new);
    Ok(())
}

/// Whether one of two paths contains the other.
pub(crate) fn overlaps(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_overlap_when_one_contains_the_other() {
        let root = Path::new("/var/lib/arca");
        for (path, held) in [
            ("/", true),
            ("/var/lib", true),
            ("/var/lib/arca/containers", true),
            ("/var/lib/arcade", false),
            ("/home", false),
        ] {
            assert_eq!(overlaps(Path::new(path), root), held, "{path}");
        }
    }

    #[test]
    fn two_mounts_at_one_place_are_refused_and_inherited_ones_give_way() {
        let at = |path: &str| point(MountType::Bind, path.to_owned());
        let mut points = vec![at("/a")];
        add(&mut points, 1, at("/a")).unwrap();
        add(&mut points, 1, at("/b")).unwrap();
        let error = add(&mut points, 1, at("/b")).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate mount point: /b");
        assert_eq!(points.len(), 2);
    }
}
