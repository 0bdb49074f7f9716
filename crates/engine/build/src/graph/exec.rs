//! Processes.

use serde::Serialize;

/// A process in a container (`pb.ExecOp`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Variables as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty for `/`.
    pub cwd: String,
    /// User and perhaps group, by name or number; empty for root.
    pub user: String,
    /// Host name; empty for `buildkitsandbox`.
    pub hostname: String,
    /// The root (at `/`) and further mounts.
    pub mounts: Vec<ExecMount>,
    /// Network.
    pub network: NetworkMode,
    /// Isolation.
    pub security: SecurityMode,
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Cgroup below which it runs; empty for the daemon's.
    pub cgroup_parent: String,
    /// Variables for proxies: given to the process, never part of a cache key or a result.
    pub proxy: Option<ProxyEnv>,
    /// Secrets as variables.
    pub secret_env: Vec<SecretEnv>,
    /// Exit codes that are a success; empty for 0.
    pub valid_exit_codes: Vec<i32>,
    /// Is the file system of the root `/` writable only for mounts that say so (`--network`…)? Removes
    /// mount points that the process left when set (`pb.CAP_EXEC_META_REMOVE_MOUNT_STUBS_RECURSIVE`).
    pub remove_mount_stubs: bool,
}

/// Something mounted into the container of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExecMount {
    /// Where, absolute or relative to the working directory.
    pub target: String,
    /// What.
    pub kind: ExecMountKind,
    /// Nothing can be written?
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecMountKind {
    /// An input, or an empty tree.
    Bind(BindMount),
    /// A directory that is kept between builds.
    Cache(CacheMount),
    /// Memory.
    Tmpfs(TmpfsMount),
    /// A file with a secret.
    Secret(SecretMount),
    /// The socket of an SSH agent.
    Ssh(SshMount),
}

/// An input, or an empty tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BindMount {
    /// Index of the input; `None` for an empty tree.
    pub input: Option<usize>,
    /// Path in it; empty for all of it.
    pub selector: String,
    /// The output of the vertex that this mount becomes. `None`: what is written is dropped.
    pub output: Option<usize>,
}

/// A directory that is kept between builds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheMount {
    /// Identity.
    pub id: String,
    /// What happens when two steps want it at the same time.
    pub sharing: CacheSharing,
    /// Index of the input that is its first contents; `None` for nothing.
    pub input: Option<usize>,
    /// Path in that input.
    pub selector: String,
}

/// What happens when two steps want the same cache directory at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum CacheSharing {
    /// Both get it.
    #[default]
    Shared,
    /// The second gets another one.
    Private,
    /// The second waits.
    Locked,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TmpfsMount {
    /// Bytes; 0 for no limit.
    pub size: u64,
}

/// A file with a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecretMount {
    /// Its name in the session.
    pub id: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Is it no error when the client does not have it?
    pub optional: bool,
}

/// The socket of an SSH agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SshMount {
    /// Its name in the session; empty is `default`.
    pub id: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Is it no error when the client does not have it?
    pub optional: bool,
}

/// A secret as a variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecretEnv {
    /// Its name in the session.
    pub id: String,
    /// The variable.
    pub name: String,
    /// Is it no error when the client does not have it?
    pub optional: bool,
}

/// Which network a process has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum NetworkMode {
    /// The build's, the default bridge if it does not say.
    #[default]
    Default,
    /// The host's; needs the entitlement `network.host`.
    Host,
    /// None but loopback.
    None,
}

/// How a process is isolated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum SecurityMode {
    /// As a container.
    #[default]
    Sandbox,
    /// As a privileged container; needs the entitlement `security.insecure`.
    Insecure,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtraHost {
    /// Name.
    pub host: String,
    /// Address, or `host-gateway`.
    pub ip: String,
}

/// A limit of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ulimit {
    /// Which, such as `nofile`.
    pub name: String,
    /// What holds.
    pub soft: i64,
    /// What it can be raised to.
    pub hard: i64,
}

/// Variables for proxies; empty ones are not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProxyEnv {
    /// `HTTP_PROXY` and `http_proxy`.
    pub http_proxy: String,
    /// `HTTPS_PROXY` and `https_proxy`.
    pub https_proxy: String,
    /// `FTP_PROXY` and `ftp_proxy`.
    pub ftp_proxy: String,
    /// `NO_PROXY` and `no_proxy`.
    pub no_proxy: String,
    /// `ALL_PROXY` and `all_proxy`.
    pub all_proxy: String,
}

impl Exec {
    /// How many outputs it has.
    #[must_use]
    pub fn outputs(&self) -> usize {
        let outputs = self.mounts.iter().filter_map(|mount| match &mount.kind {
            ExecMountKind::Bind(bind) => bind.output,
            _ => None,
        });
        outputs.max().map_or(0, |last| last + 1)
    }
}
