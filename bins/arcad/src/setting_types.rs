//! Settings that have parts.

use serde::Deserialize;

/// One pool of default subnets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    pub(crate) base: String,
    /// Prefix length of the subnets.
    pub(crate) size: i64,
}

/// One default ulimit; -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Ulimit {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

/// One additional OCI runtime.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Runtime {
    pub(crate) path: String,
    #[serde(rename = "runtimeArgs")]
    pub(crate) runtime_args: Vec<String>,
}
