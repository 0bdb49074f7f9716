//! Which containers there are, and how to reach them: by ID, by prefix of it, by name.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arca_types::ContainerId;
use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::actor::Command;
use crate::arriving::Arriving;
use crate::container::Container;

/// A container as others reach it: its queue and its published state.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: ContainerId,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) state: watch::Receiver<Arc<Container>>,
    /// Clients that are about to be attached.
    pub(crate) arriving: Arriving,
    /// Held by those who write files of the container while it does not run; a start has it alone.
    pub(crate) files: Arc<tokio::sync::RwLock<()>>,
}

impl Handle {
    /// The state that was published last.
    pub(crate) fn snapshot(&self) -> Arc<Container> {
        Arc::clone(&self.state.borrow())
    }
}

#[derive(Debug, Default)]
struct Entries {
    by_id: BTreeMap<ContainerId, Arc<Handle>>,
    /// Also holds names of containers that are still being created.
    by_name: HashMap<Arc<str>, ContainerId>,
}

impl Entries {
    /// The container that another knows by `parent/alias`.
    fn linked(&self, name: &str) -> Option<Arc<Handle>> {
        let (parent, alias) = name.split_once('/')?;
        let parent = self.by_id.get(self.by_name.get(parent)?)?.snapshot();
        // An alias may have been given with a slash.
        let mut links = parent.spec.host.linked.iter();
        let link = links.find(|it| it.alias.trim_start_matches('/') == alias);
        self.by_id.get(&link?.container).cloned()
    }
}

/// All containers. No lock is held across a wait.
#[derive(Debug, Default)]
pub(crate) struct Index(RwLock<Entries>);

impl Index {
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container.
    ///
    /// # Errors
    /// [`Error::NameInUse`] when another has it.
    pub(crate) fn reserve(&self, name: &str, id: &ContainerId) -> Result<(), Error> {
        let mut entries = self.write();
        if let Some(other) = entries.by_name.get(name) {
            return Err(Error::NameInUse {
                name: name.to_owned(),
                id: other.to_string(),
            });
        }
        entries.by_name.insert(name.into(), id.clone());
        Ok(())
    }

    /// Gives a name back, if it is still this container's.
    pub(crate) fn release(&self, name: &str, id: &ContainerId) {
        let mut entries = self.write();
        if entries.by_name.get(name) == Some(id) {
            entries.by_name.remove(name);
        }
    }

    /// Makes a container known.
    pub(crate) fn insert(&self, handle: Arc<Handle>) {
        self.write().by_id.insert(handle.id.clone(), handle);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, id: &ContainerId) {
        let mut entries = self.write();
        entries.by_id.remove(id);
        entries.by_name.retain(|_name, other| other != id);
    }

    /// The container of this ID.
    pub(crate) fn get(&self, id: &ContainerId) -> Option<Arc<Handle>> {
        self.read().by_id.get(id).cloned()
    }

    /// All containers, by ID.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.read().by_id.values().cloned().collect()
    }

    /// Finds a container by ID, name, name of a link (`parent/alias`) or unambiguous prefix of an ID, in this
    /// order.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Ambiguous`] for a prefix of several.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Handle>, Error> {
        let not_found = || Error::NotFound(reference.to_owned());
        if reference.is_empty() {
            return Err(Error::Invalid(
                "invalid name or ID supplied: \"\"".to_owned(),
            ));
        }
        let entries = self.read();
        if let Some(handle) = entries.by_id.get(reference) {
            return Ok(Arc::clone(handle));
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(handle) = entries
            .by_name
            .get(name)
            .and_then(|id| entries.by_id.get(id))
        {
            return Ok(Arc::clone(handle));
        }
        if let Some(handle) = entries.linked(name) {
            return Ok(handle);
        }
        let from = (Bound::Included(reference), Bound::Unbounded);
        let mut matching = entries
            .by_id
            .range::<str, _>(from)
            .take_while(|(id, _)| id.as_str().starts_with(reference))
            .map(|(_, handle)| handle);
        match (matching.next(), matching.next()) {
            (Some(handle), None) => Ok(Arc::clone(handle)),
            (Some(_), Some(_)) => Err(Error::Ambiguous(reference.to_owned())),
            (None, _) => Err(not_found()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn index(ids: &[(&str, &str)]) -> Index {
        let index = Index::default();
        for (digit, name) in ids {
            let id: ContainerId = digit.repeat(64 / digit.len()).parse().unwrap();
            add(&index, testing::container(&id, name));
        }
        index
    }

    fn add(index: &Index, container: Container) {
        let (id, name) = (container.id.clone(), container.name.clone());
        let (_sender, state) = watch::channel(Arc::new(container));
        let (commands, _receiver) = mpsc::channel(1);
        index.reserve(&name, &id).unwrap();
        index.insert(Arc::new(Handle {
            id,
            commands,
            state,
            arriving: Arriving::nobody(),
            files: Arc::default(),
        }));
    }

    #[test]
    fn names_win_over_prefixes_and_ids_over_names() {
        let index = index(&[("ab", "ac"), ("ac", "x1")]);
        assert_eq!(index.find("ac").unwrap().snapshot().name.as_ref(), "ac");
        assert_eq!(index.find("/x1").unwrap().snapshot().name.as_ref(), "x1");
        assert_eq!(
            index
                .find(&"ac".repeat(32))
                .unwrap()
                .snapshot()
                .name
                .as_ref(),
            "x1"
        );
        assert_eq!(index.find("aca").unwrap().snapshot().name.as_ref(), "x1");
        assert!(matches!(index.find("a"), Err(Error::Ambiguous(_))));
        assert!(matches!(index.find("b"), Err(Error::NotFound(_))));
    }

    #[test]
    fn a_container_has_the_names_that_links_give_it() {
        let index = index(&[("ab", "db")]);
        let id: ContainerId = "cd".repeat(32).parse().unwrap();
        let mut web = testing::container(&id, "web");
        let mut spec = crate::model::ContainerSpec::clone(&web.spec);
        spec.host.linked = vec![crate::model::Link {
            container: "ab".repeat(32).parse().unwrap(),
            name: "db".to_owned(),
            alias: "/mysql".to_owned(),
        }];
        web.spec = Arc::new(spec);
        add(&index, web);
        for name in ["web/mysql", "/web/mysql"] {
            assert_eq!(index.find(name).unwrap().snapshot().name.as_ref(), "db");
        }
        assert!(matches!(index.find("web/other"), Err(Error::NotFound(_))));
        assert!(matches!(index.find("db/mysql"), Err(Error::NotFound(_))));
    }

    #[test]
    fn a_name_is_taken_once() {
        let index = index(&[("ab", "web")]);
        let other = ContainerId::random();
        let error = index.reserve("web", &other).unwrap_err().to_string();
        assert!(error.starts_with("Conflict. The container name \"/web\" is already in use by"));
        index.release("web", &other);
        assert!(index.reserve("web", &other).is_err());
        index.remove(&"ab".repeat(32).parse().unwrap());
        assert!(index.reserve("web", &other).is_ok());
    }
}
