//! What is asked of a build, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arca_types::{Digest, ImageId, Platform};

use crate::graph::{Edge, ExtraHost, NetworkMode, Ulimit};
use crate::session::BuildSession;

/// A build that is to be begun.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// Its name; empty for a random one.
    pub id: String,
    /// The client.
    pub session: Arc<dyn BuildSession>,
    /// What it may do beyond a container's rights.
    pub entitlements: BTreeSet<Entitlement>,
    /// Limits of its processes.
    pub limits: Limits,
}

/// What a build may do beyond a container's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// Processes in the host's network (`network.host`).
    NetworkHost,
    /// Privileged processes (`security.insecure`).
    SecurityInsecure,
}

/// Limits of all processes of a build; zero and empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of memory and swap, -1 for no limit.
    pub memory_swap: i64,
    /// Relative weight.
    pub cpu_shares: i64,
    /// Microseconds of a period.
    pub cpu_period: i64,
    /// Microseconds within a period.
    pub cpu_quota: i64,
    /// Processors, such as `0-2,7`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Bytes of `/dev/shm`.
    pub shm_size: i64,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Cgroup.
    pub cgroup_parent: String,
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// The network of processes that do not say.
    pub network: NetworkMode,
    /// The network of such processes by name; empty for the default bridge.
    pub network_name: String,
}

/// What is to be solved: a definition, or what a front end makes of its options.
#[derive(Debug, Clone, Default)]
pub struct SolveInput {
    /// A definition; `None` for a front end, or for an empty tree.
    pub definition: Option<Edge>,
    /// The front end: empty, `dockerfile.v0` or `gateway.v0`.
    pub frontend: String,
    /// Options of the front end (`filename`, `target`, `build-arg:…`, `label:…`, `platform`, …).
    pub frontend_attrs: BTreeMap<String, String>,
    /// Named trees for the front end.
    pub frontend_inputs: BTreeMap<String, Edge>,
    /// Where cached results are looked for besides this host.
    pub cache_imports: Vec<crate::CacheImport>,
    /// Whether everything is run before the answer.
    pub evaluate: bool,
}

/// What a front end makes: trees by platform and what is said about them. Keys are those of BuildKit's
/// `exporter/containerimage/exptypes`.
#[derive(Debug, Clone, Default)]
pub struct BuildResult {
    /// One tree for each platform, by its ID (`linux/amd64`), or one with an empty key. `None` is an
    /// empty tree.
    pub refs: BTreeMap<String, Option<Edge>>,
    /// `containerimage.config`, `refs.platforms`, ….
    pub metadata: BTreeMap<String, Vec<u8>>,
}

/// An image that a front end asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The name, with the digest if a registry was asked.
    pub reference: String,
    /// What the name stands for; the image's ID where it is here and no registry was asked.
    pub digest: Digest,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Its platform.
    pub platform: Platform,
}

/// What came of the exporters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The image, if one was made.
    pub image: Option<ImageId>,
    /// The configurations of images that were added, by the exporter's place.
    pub configs: BTreeMap<usize, Vec<u8>>,
    /// `ExporterResponse`: `containerimage.digest`, `containerimage.config.digest`, `image.name`, ….
    pub response: BTreeMap<String, String>,
}
