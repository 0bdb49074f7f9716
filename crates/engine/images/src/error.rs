//! What can go wrong with images, in the words that clients expect.

use arca_registry::Code;
use arca_types::{Classify, Digest, ErrorKind, Platform, PlatformError, ReferenceError};

use crate::config::ConfigError;

/// Any failure of an operation on images. The text is part of the API.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("No such image: {0}")]
    NotFound(String),
    #[error(
        "image with reference {name} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        name: String,
        found: Box<Platform>,
        wanted: Box<Platform>,
    },
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error("invalid tag format")]
    Tag,
    #[error("'{0}' is a reserved name")]
    Reserved(&'static str),
    #[error("cannot import digest reference")]
    DigestReference,
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    AmbiguousTag,
    #[error(
        "conflict: unable to delete {0} (must be forced) - image is referenced in multiple repositories"
    )]
    MultipleRepositories(String),
    #[error(
        "conflict: unable to delete {image} (cannot be forced) - image is being used by running container {container}"
    )]
    RunningContainer { image: String, container: String },
    #[error(
        "conflict: unable to delete {image} (must be forced) - image is being used by stopped container {container}"
    )]
    StoppedContainer { image: String, container: String },
    #[error("conflict: unable to delete {0} (cannot be forced) - image has dependent child images")]
    Children(String),
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} is using its referenced image {image}"
    )]
    ReferenceInUse {
        reference: String,
        container: String,
        image: String,
    },
    #[error("cannot push a digest reference")]
    PushDigest,
    #[error("An image does not exist locally with the tag: {0}")]
    NothingToPush(String),
    #[error("tag does not exist: {0}")]
    TagUnknown(String),
    #[error("invalid filter 'stars={0}': strconv.Atoi: parsing {0:?}: invalid syntax")]
    Stars(String),
    #[error("limit {0} is outside the range of [1, 100]")]
    SearchLimit(i64),
    #[error("invalid repository name: repository name ({0}) should not have a scheme")]
    Scheme(String),
    #[error("a prune operation is already running")]
    PruneRunning,
    #[error("invalid filter '{0}'")]
    Filter(String),
    #[error("failed to parse value as time or duration: {0:?}")]
    Until(String),
    #[error("more than one until filter specified")]
    Untils,
    #[error("syntax error in pattern")]
    Pattern,
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login'"
    )]
    PullDenied {
        name: String,
        #[source]
        cause: arca_registry::Error,
    },
    #[error("manifest for {name} not found")]
    ManifestUnknown {
        name: String,
        #[source]
        cause: arca_registry::Error,
    },
    #[error("repository {name} not found")]
    RepositoryUnknown {
        name: String,
        #[source]
        cause: arca_registry::Error,
    },
    #[error(transparent)]
    Registry(arca_registry::Error),
    #[error(
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming release. Suggest the author of {0} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1(String),
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoMatchingManifest(Platform),
    #[error("unsupported media type {0}")]
    MediaType(String),
    #[error("invalid manifest")]
    Manifest(#[source] serde_json::Error),
    #[error("invalid manifest: {0}")]
    ManifestContent(&'static str),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("image config verification failed for digest {0}")]
    ConfigDigest(Digest),
    #[error("failed to register layer")]
    Layer(#[source] arca_storage::Error),
    #[error("filesystem layer verification failed for digest {0}")]
    LayerDigest(Digest),
    #[error("invalid diffID for layer {position}: expected {expected:?}, got {got:?}")]
    DiffId {
        position: usize,
        expected: String,
        got: String,
    },
    #[error("the image has {layers} layers and its configuration {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("{0} is not in the archive")]
    MissingInArchive(String),
    #[error("invalid archive: {0}")]
    Archive(String),
    #[error("failed to read the archive")]
    Read(#[source] std::io::Error),
    #[error("failed to compress a layer")]
    Compress(#[source] std::io::Error),
    #[error("{0} is not a valid change command")]
    ChangeCommand(String),
    #[error("{0}")]
    Change(String),
    #[error("operating system is not supported")]
    OperatingSystem,
    #[error("no suitable export target found for platform {0}")]
    NoExportTarget(Platform),
    #[error("storage failed")]
    Storage(#[source] arca_storage::Error),
    #[error("failed to save the records of images")]
    Store(#[source] arca_store::Error),
    #[error("failed to write down what happened")]
    Events(#[source] arca_events::Error),
    #[error("content of image {0} is missing")]
    Content(String),
    #[error("{0}")]
    Unsupported(String),
    /// What failed for another client that waited for the same layer, in full words.
    #[error("{0}")]
    Shared(String),
    #[error("the operation was interrupted")]
    Interrupted,
}

impl Error {
    /// Says in dockerd's words why an image cannot be had from its registry. `name` with tag or digest,
    /// `repository` without.
    pub(crate) fn pull(cause: arca_registry::Error, name: &str, repository: &str) -> Self {
        let (name, repository) = (name.to_owned(), repository.to_owned());
        let named = matches!(cause, arca_registry::Error::Request { .. });
        match cause.code() {
            _ if named => Self::Registry(cause),
            Some(Code::Denied) => Self::PullDenied {
                name: repository,
                cause,
            },
            Some(Code::ManifestUnknown) => Self::ManifestUnknown { name, cause },
            Some(Code::NameUnknown) => Self::RepositoryUnknown {
                name: repository,
                cause,
            },
            _ => Self::Registry(cause),
        }
    }
}

impl Error {
    /// Says in dockerd's words why content cannot be pushed: who lacks credentials is not told of the
    /// request that wanted them.
    pub(crate) fn push(cause: arca_registry::Error) -> Self {
        match cause {
            arca_registry::Error::Request { cause, .. }
                if matches!(
                    *cause,
                    arca_registry::Error::NoCredentials | arca_registry::Error::NoToken
                ) =>
            {
                Self::Registry(*cause)
            }
            other => Self::Registry(other),
        }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_)
            | Self::WrongPlatform { .. }
            | Self::PullDenied { .. }
            | Self::ManifestUnknown { .. }
            | Self::RepositoryUnknown { .. }
            | Self::NothingToPush(_)
            | Self::TagUnknown(_)
            | Self::NoMatchingManifest(_) => ErrorKind::NotFound,
            Self::Reference(_)
            | Self::Platform(_)
            | Self::Tag
            | Self::DigestReference
            | Self::PushDigest
            | Self::AmbiguousTag
            | Self::Filter(_)
            | Self::Stars(_)
            | Self::SearchLimit(_)
            | Self::Scheme(_)
            | Self::ChangeCommand(_)
            | Self::Change(_)
            | Self::OperatingSystem
            | Self::Schema1(_) => ErrorKind::InvalidParameter,
            Self::MultipleRepositories(_)
            | Self::RunningContainer { .. }
            | Self::StoppedContainer { .. }
            | Self::Children(_)
            | Self::ReferenceInUse { .. }
            | Self::PruneRunning => ErrorKind::Conflict,
            Self::Reserved(_) => ErrorKind::Forbidden,
            Self::Registry(cause) => cause.kind(),
            Self::Unsupported(_) => ErrorKind::NotImplemented,
            _ => ErrorKind::Internal,
        }
    }
}
