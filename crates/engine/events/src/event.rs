//! What an event says.

use std::collections::BTreeMap;
use std::fmt;

use arca_types::Timestamp;

/// The kind of object that something happened to (`EventMessage.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of the API")]
pub enum Type {
    Builder,
    Config,
    Container,
    Daemon,
    Image,
    Network,
    Node,
    Plugin,
    Secret,
    Service,
    Volume,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Builder,
        Self::Config,
        Self::Container,
        Self::Daemon,
        Self::Image,
        Self::Network,
        Self::Node,
        Self::Plugin,
        Self::Secret,
        Self::Service,
        Self::Volume,
    ];

    /// The word the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Config => "config",
            Self::Container => "container",
            Self::Daemon => "daemon",
            Self::Image => "image",
            Self::Network => "network",
            Self::Node => "node",
            Self::Plugin => "plugin",
            Self::Secret => "secret",
            Self::Service => "service",
            Self::Volume => "volume",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The object that something happened to (`EventActor`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Its ID; for volumes their name, for images what the client called them or their ID.
    pub id: String,
    /// More about it: `name`, `image`, `exitCode`, all labels of a container, ...
    pub attributes: BTreeMap<String, String>,
}

/// One event (`EventMessage`). The scope is always `local`.
///
/// The fields `status`, `id` and `from` of old are derived from these where the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The kind of the object.
    pub kind: Type,
    /// What happened, as in `start` or `health_status: healthy`.
    pub action: String,
    /// The object.
    pub actor: Actor,
    /// When; given by [`Events::publish`](crate::Events::publish) unless it is set.
    pub time: Timestamp,
}

impl Event {
    /// Something happened to the object `id`; the time is that of publication.
    #[must_use]
    pub fn new(kind: Type, action: impl Into<String>, id: impl Into<String>) -> Self {
        let actor = Actor {
            id: id.into(),
            attributes: BTreeMap::new(),
        };
        Self {
            kind,
            action: action.into(),
            actor,
            time: Timestamp::ZERO,
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.actor.attributes.insert(name.into(), value.into());
        self
    }

    /// Adds many attributes, such as labels. One set later replaces one of the same name.
    #[must_use]
    pub fn with_all<N: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.actor.attributes.extend(attributes);
        self
    }

    /// Sets the time, where it happened before it was learnt of.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }
}
