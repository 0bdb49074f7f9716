//! Where results go: what is asked for.

pub(crate) mod config;

use std::collections::BTreeMap;

/// What becomes of the result (`Exporter` of BuildKit's `SolveRequest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterSpec {
    /// Kind.
    pub kind: ExporterKind,
    /// Options as the client names them: `name`, `push`, `dest`, `compression`, `annotation.…`.
    pub attrs: BTreeMap<String, String>,
}

/// Kinds of exporters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExporterKind {
    /// The images of this host (`moby`, `image`), perhaps pushed (`push=true`).
    Image,
    /// An archive for `docker load`, sent to the client.
    Docker,
    /// An archive with an OCI layout, sent to the client.
    Oci,
    /// The files in an archive, sent to the client.
    Tar,
    /// The files, sent to the client.
    Local,
}

impl ExporterKind {
    /// Reads the name that clients have for it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "moby" | "image" => Self::Image,
            "docker" => Self::Docker,
            "oci" => Self::Oci,
            "tar" => Self::Tar,
            "local" => Self::Local,
            _ => return None,
        })
    }
}

/// Where cache keys and results are written to besides this host (`--cache-to`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheExport {
    /// `inline`, `registry` or `local`.
    pub kind: String,
    /// Options: `ref`, `mode`, `dest`, `ignore-error`.
    pub attrs: BTreeMap<String, String>,
}

/// Where they are read from (`--cache-from`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheImport {
    /// `registry` or `local`.
    pub kind: String,
    /// Options: `ref`, `src`, `digest`.
    pub attrs: BTreeMap<String, String>,
}
