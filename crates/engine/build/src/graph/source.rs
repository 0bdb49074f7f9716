//! Files from outside.

use arca_types::Digest;
use serde::Serialize;

/// Where files come from (`pb.SourceOp`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An image, by name (`docker-image://`).
    Image(ImageSource),
    /// A directory of the client (`local://`).
    Local(LocalSource),
    /// A file from a web server (`http://`, `https://`).
    Http(HttpSource),
    /// A git repository (`git://`).
    Git(GitSource),
    /// An image in an OCI layout of the client (`oci-layout://`).
    OciLayout(OciLayoutSource),
}

/// An image by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSource {
    /// The name in full, perhaps with a digest.
    pub reference: String,
    /// Whether a registry is asked.
    pub resolve: ResolveMode,
    /// Only so many of the lowest layers.
    pub layer_limit: Option<usize>,
}

/// Which image counts: the one that is here or the registry's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub enum ResolveMode {
    /// The one that is here, else the registry's: Docker's, called `default` or `local`.
    #[default]
    PreferLocal,
    /// The registry's.
    Pull,
}

impl ResolveMode {
    /// Reads the name that clients have for it; empty is Docker's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" | "default" | "local" => Self::PreferLocal,
            "pull" => Self::Pull,
            _ => return None,
        })
    }
}

/// A directory of the client, seen through patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LocalSource {
    /// Its name in the session, such as `context`.
    pub name: String,
    /// The session that has it; empty for the build's own.
    pub session: String,
    /// Only what matches one of these (patterns of `.dockerignore`); empty for everything.
    pub include: Vec<String>,
    /// Not what matches these.
    pub exclude: Vec<String>,
    /// Only these paths, and what symbolic links on the way lead to; empty for everything.
    pub follow_paths: Vec<String>,
    /// Builds with equal hints share what has been transferred.
    pub shared_key_hint: String,
    /// How files are compared with those that are here already.
    pub differ: LocalDiffer,
    /// Is it a single file, to be taken from its directory?
    pub metadata_only: bool,
    /// Patterns that are transferred in full although only metadata is asked for.
    pub metadata_exceptions: Vec<String>,
}

/// How files are compared with those that are here already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum LocalDiffer {
    /// By metadata: size, time, mode.
    #[default]
    Metadata,
    /// Not at all: everything is transferred.
    None,
}

/// A file from a web server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HttpSource {
    /// Where.
    pub url: String,
    /// The digest it has to have.
    pub checksum: Option<Digest>,
    /// Its name; empty for the last part of the address, or what the server says.
    pub filename: String,
    /// Permission bits; `None` is 0600.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// The secret with the value of the `Authorization` header.
    pub auth_header_secret: String,
    /// Further headers.
    pub headers: std::collections::BTreeMap<String, String>,
}

/// A git repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GitSource {
    /// Where, as git wants it: `https://`, `ssh://`, `git://` or `user@host:path`.
    pub remote: String,
    /// Branch, tag, full reference or commit; empty for the remote's `HEAD`.
    pub reference: String,
    /// Only this directory of it; empty for all.
    pub subdir: String,
    /// The commit that has to be found, or its beginning.
    pub checksum: String,
    /// Keep `.git`?
    pub keep_git_dir: bool,
    /// Leave submodules alone?
    pub skip_submodules: bool,
    /// The secret with a token for HTTP; empty for `GIT_AUTH_TOKEN`.
    pub auth_token_secret: String,
    /// The secret with the value of the `Authorization` header; empty for `GIT_AUTH_HEADER`.
    pub auth_header_secret: String,
    /// Known keys of the SSH host, in the format of `known_hosts`.
    pub known_ssh_hosts: String,
    /// The agent to be forwarded for SSH; `None` for none.
    pub mount_ssh_sock: Option<String>,
}

/// An image in an OCI layout that the client's session serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OciLayoutSource {
    /// The name with a digest.
    pub reference: String,
    /// The session that has it; empty for the build's own.
    pub session: String,
    /// The store in the session.
    pub store: String,
    /// Only so many of the lowest layers.
    pub layer_limit: Option<usize>,
}

impl Source {
    /// The identifier as BuildKit writes it.
    #[must_use]
    pub fn identifier(&self) -> String {
        match self {
            Self::Image(image) => format!("docker-image://{}", image.reference),
            Self::Local(local) => format!("local://{}", local.name),
            Self::Http(http) => http.url.clone(),
            Self::Git(git) => {
                let mut text = match git.remote.split_once("://") {
                    Some((_, rest)) => format!("git://{rest}"),
                    None => format!("git://{}", git.remote.replacen(':', "/", 1)),
                };
                if !git.reference.is_empty() || !git.subdir.is_empty() {
                    text = format!("{text}#{}", git.reference);
                }
                if !git.subdir.is_empty() {
                    text = format!("{text}:{}", git.subdir);
                }
                text
            }
            Self::OciLayout(layout) => format!("oci-layout://{}", layout.reference),
        }
    }
}
