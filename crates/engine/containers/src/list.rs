//! `ContainerList`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arca_types::ImageId;

use crate::Error;
use crate::container::Container;
use crate::filters::{Filter, Knowledge};
use crate::requests::{ListRequest, Listed};
use crate::service::Containers;
use crate::state::State;

/// What the filters ask of others.
struct Others<'a> {
    containers: &'a Containers,
    /// By each `ancestor`: the images of containers that are made from it, or are it.
    families: HashMap<String, HashSet<ImageId>>,
}

impl Knowledge for Others<'_> {
    fn container(&self, reference: &str) -> Result<Arc<Container>, Error> {
        self.containers.get(reference)
    }

    fn descends(&self, container: &Container, ancestor: &str) -> bool {
        self.families
            .get(ancestor)
            .is_some_and(|family| family.contains(&container.image))
    }
}

impl Containers {
    /// Lists containers, the newest first (`ContainerList`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter that is not known; [`Error::NotFound`] for a container named in
    /// one; [`Error::Storage`] when sizes are wanted and cannot be measured.
    pub async fn list(&self, request: ListRequest) -> Result<Vec<Listed>, Error> {
        let ancestors = request
            .filters
            .get("ancestor")
            .map_or(&[][..], Vec::as_slice);
        let others = Others {
            containers: self,
            families: self.families(ancestors).await,
        };
        let filter = Filter::list(&request.filters, &others)?;
        let all = request.all || filter.all || request.limit > 0;
        let mut found: Vec<Arc<Container>> = self
            .all()
            .into_iter()
            .filter(|container| all || container.state.is_running())
            .filter(|container| filter.passes(container, &others))
            .collect();
        found.sort_unstable_by_key(|container| std::cmp::Reverse(container.created));
        if request.limit > 0 {
            found.truncate(request.limit);
        }
        let mut link_names = self.link_names();
        let mut listed = Vec::with_capacity(found.len());
        for container in found {
            let size = if request.size && !matches!(container.state, State::Removing) {
                Some(self.size(&container).await?)
            } else {
                None
            };
            let image = self.shown_image(&container);
            let link_names = link_names.remove(&container.id).unwrap_or_default();
            listed.push(Listed {
                container,
                image,
                link_names,
                size,
            });
        }
        Ok(listed)
    }

    /// The images of containers that descend from each ancestor.
    async fn families(&self, ancestors: &[String]) -> HashMap<String, HashSet<ImageId>> {
        let mut families = HashMap::new();
        if ancestors.is_empty() {
            return families;
        }
        let used: HashSet<ImageId> = self
            .all()
            .iter()
            .map(|container| container.image.clone())
            .collect();
        let images = &self.service().images;
        for ancestor in ancestors {
            let Ok(wanted) = images.resolve(ancestor, None).await else {
                continue;
            };
            let mut family = HashSet::new();
            for image in &used {
                let mut next = Some(image.clone());
                while let Some(id) = next {
                    if id == wanted.id {
                        family.insert(image.clone());
                        break;
                    }
                    let found = images.resolve(id.as_str(), None).await;
                    next = found.ok().and_then(|image| image.parent);
                }
            }
            families.insert(ancestor.clone(), family);
        }
        families
    }

    /// The image's name while it still means the same, its ID otherwise.
    fn shown_image(&self, container: &Container) -> String {
        let name = &container.spec.image;
        if self.service().images.means(name, &container.image) {
            name.clone()
        } else {
            container.image.to_string()
        }
    }
}
