//! What is mounted into a container: as asked for, and as it came out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use arca_types::ContainerId;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Kind of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MountType {
    /// A path of the host.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// What an image holds.
    Image,
}

impl MountType {
    /// The name that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

impl fmt::Display for MountType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MountType {
    type Err = Error;

    /// Parses the kind.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a kind that arca does not know.
    fn from_str(kind: &str) -> Result<Self, Error> {
        match kind {
            "bind" => Ok(Self::Bind),
            "volume" => Ok(Self::Volume),
            "tmpfs" => Ok(Self::Tmpfs),
            "image" => Ok(Self::Image),
            other => {
                let what = format!("invalid mount config for type \"{other}\"");
                Err(Error::Invalid(format!("{what}: mount type unknown")))
            }
        }
    }
}

/// How mounts propagate between the host and the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of mount(8)")]
pub enum Propagation {
    #[default]
    Rprivate,
    Private,
    Rshared,
    Shared,
    Rslave,
    Slave,
}

impl Propagation {
    /// The name that mount(8) and the API use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rprivate => "rprivate",
            Self::Private => "private",
            Self::Rshared => "rshared",
            Self::Shared => "shared",
            Self::Rslave => "rslave",
            Self::Slave => "slave",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "rprivate" => Self::Rprivate,
            "private" => Self::Private,
            "rshared" => Self::Rshared,
            "shared" => Self::Shared,
            "rslave" => Self::Rslave,
            "slave" => Self::Slave,
            _ => return None,
        })
    }
}

/// Options of a bind mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindOptions {
    /// Propagation as given.
    pub propagation: Option<Propagation>,
    /// Whether mounts below the source are left out.
    pub non_recursive: bool,
    /// Whether a missing source is made, as a directory.
    pub create_mountpoint: bool,
    /// Whether mounts below the source stay writable in a read-only mount.
    pub read_only_non_recursive: bool,
    /// Whether a read-only mount that cannot be made so recursively is an error.
    pub read_only_force_recursive: bool,
    /// Shows owners otherwise than they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_mapping: Option<IdMapping>,
}

/// How a bind mount shows the owners of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// Where the mapping comes from.
    pub source: IdMappingSource,
    /// The user of the container, as of `User`; empty is the one that the container runs as.
    pub user: String,
}

/// Where the mapping of a bind mount's owners comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMappingSource {
    /// The owner of the source and a user of the container change places.
    #[default]
    MatchUser,
}

/// Options of an image mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOptions {
    /// What of the image is mounted; empty means its root.
    pub subpath: String,
}

/// Options of a volume mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeOptions {
    /// Whether the volume is not filled from the image.
    pub no_copy: bool,
    /// Labels of a volume that is made.
    pub labels: BTreeMap<String, String>,
    /// Driver of a volume that is made; empty means `local`.
    pub driver: String,
    /// Options for that driver.
    pub driver_options: BTreeMap<String, String>,
    /// Directory of the volume that is mounted; empty means its root.
    pub subpath: String,
}

/// Options of a tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpfsOptions {
    /// Bytes, 0 for no limit.
    pub size: i64,
    /// Permission bits, 0 for 1777.
    pub mode: u32,
    /// Flags, each of one or two words.
    pub options: Vec<Vec<String>>,
}

/// A mount in the long form (`HostConfig.Mounts`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// Kind.
    pub kind: MountType,
    /// Path of the host or name of the volume; empty for an anonymous volume.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// `Consistency`; shown again, no meaning on Linux.
    pub consistency: String,
    /// Options of a bind mount.
    pub bind: Option<BindOptions>,
    /// Options of a volume.
    pub volume: Option<VolumeOptions>,
    /// Options of a tmpfs.
    pub tmpfs: Option<TmpfsOptions>,
    /// Options of an image mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageOptions>,
}

/// A mount in the short form (`HostConfig.Binds`), parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path of the host or name of a volume; empty for an anonymous volume.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Options as given.
    pub mode: String,
}

/// A mount as inspect and list show it (`MountPoint`), with what starting needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Kind.
    pub kind: MountType,
    /// Name of the volume; empty for others.
    pub name: String,
    /// Path on the host; empty for a tmpfs.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Driver of the volume; empty for others.
    pub driver: String,
    /// Options as given.
    pub mode: String,
    /// Whether it can be written to.
    pub rw: bool,
    /// Propagation as shown; empty for volumes.
    pub propagation: String,
    /// Whether the volume was made without a name for this container: it goes with it.
    pub anonymous: bool,
    /// Whether an empty volume is filled from the image.
    pub copy_up: bool,
    /// Whether a missing source is made when the container starts.
    pub create_source: bool,
    /// The long form it came from, if it did.
    pub request: Option<MountRequest>,
    /// The snapshot that holds an image's layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<ContainerId>,
}

impl MountPoint {
    /// What of a volume or an image is mounted, relative to its root; empty means all of it.
    #[must_use]
    pub fn subpath(&self) -> String {
        let request = self.request.as_ref();
        let given = request.map(|request| match (&request.volume, &request.image) {
            (Some(volume), _) => volume.subpath.as_str(),
            (None, Some(image)) => image.subpath.as_str(),
            (None, None) => "",
        });
        let clean = crate::binds::clean(given.unwrap_or_default());
        clean.trim_start_matches('/').to_owned()
    }

    /// The options of a bind, if it came with some.
    #[must_use]
    pub fn bind(&self) -> Option<&BindOptions> {
        self.request.as_ref()?.bind.as_ref()
    }
}
