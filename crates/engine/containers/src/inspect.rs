//! `ContainerInspect`: the published state, and what others know of the container.

use std::collections::BTreeMap;

use arca_types::ContainerId;

use crate::Error;
use crate::container::Container;
use crate::requests::{Inspection, Size};
use crate::service::Containers;

impl Containers {
    /// Everything about a container (`ContainerInspect`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; with `size`, [`Error::Storage`] when it cannot be measured.
    pub async fn inspect(&self, id: &str, size: bool) -> Result<Inspection, Error> {
        let container = self.get(id)?;
        let size = if size {
            Some(self.size(&container).await?)
        } else {
            None
        };
        Ok(Inspection {
            exec_ids: self.service().execs.of(&container.id),
            links: self.shown_links(&container),
            graph: self.graph(&container.id),
            size,
            apparmor_profile: self.service().shown_profile(&container),
            container,
        })
    }

    /// How much room a container takes on disk.
    pub(crate) async fn size(&self, container: &Container) -> Result<Size, Error> {
        let service = self.service();
        let rw = service
            .storage
            .usage(&container.id)
            .await
            .map_err(Error::Storage)?;
        let image = service.images.resolve(container.image.as_str(), None).await;
        let layers = image.map(|image| image.layers).unwrap_or_default();
        let below: u64 = layers
            .iter()
            .filter_map(|layer| service.storage.layer(layer))
            .map(|layer| layer.size)
            .sum();
        Ok(Size {
            rw,
            root_fs: rw + below,
        })
    }

    /// `GraphDriver.Data`.
    fn graph(&self, id: &ContainerId) -> BTreeMap<String, String> {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut data = BTreeMap::from([("ID".to_owned(), id.to_string())]);
        match self.service().storage.rootfs(id) {
            Ok(arca_storage::Rootfs::Overlay {
                lower, upper, work, ..
            }) => {
                let lower: Vec<String> = lower.iter().map(|path| text(path)).collect();
                data.insert("LowerDir".to_owned(), lower.join(":"));
                data.insert("UpperDir".to_owned(), text(&upper));
                data.insert("WorkDir".to_owned(), text(&work));
            }
            Ok(arca_storage::Rootfs::Directory(path)) => {
                data.insert("Dir".to_owned(), text(&path));
            }
            Err(error) => tracing::debug!(container.id = %id, %error, "no root filesystem"),
        }
        data
    }
}
