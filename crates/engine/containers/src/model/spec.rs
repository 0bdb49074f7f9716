//! What a client asks for when it creates a container.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{EndpointRequest, Healthcheck, HostSpec, Port};

/// Which of a container's three standard streams something concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Everything that is configured of a container (`ContainerConfig` and what belongs to it in
/// `ContainerCreate`).
///
/// As given by a client it holds only what was sent; [`crate::Containers::create`] merges the
/// image's defaults into it, and that is what the record keeps and inspect shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image as it was named.
    pub image: String,
    /// Host name; empty means the first twelve digits of the ID.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// User and group as `user[:group]`, names or numbers; empty means root.
    pub user: String,
    /// Which streams the creating client will attach to.
    pub attach: Streams,
    /// Ports that the image or the client declares.
    pub exposed_ports: BTreeSet<Port>,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// Whether standard input is kept open for clients.
    pub open_stdin: bool,
    /// Whether standard input is closed after the first client left.
    pub stdin_once: bool,
    /// Environment, `NAME=value` each; a bare `NAME` removes a variable of the image.
    pub env: Vec<String>,
    /// Arguments, or the whole command where there is no entry point.
    pub cmd: Option<Vec<String>>,
    /// Entry point.
    pub entrypoint: Option<Vec<String>>,
    /// How to tell whether the container is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// Whether the command is escaped already (Windows only; shown again).
    pub args_escaped: bool,
    /// Paths at which anonymous volumes are mounted.
    pub volumes: Option<BTreeSet<String>>,
    /// Absolute path of the working directory; empty means `/`.
    pub working_dir: String,
    /// Whether the container has no network at all.
    pub network_disabled: bool,
    /// MAC address of the endpoint on the container's main network (API before 1.44).
    pub mac_address: Option<String>,
    /// Instructions for images that are made from this one.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to end, as it was named; `None` means `SIGTERM`.
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and `SIGKILL`, -1 for ever; `None` means ten.
    pub stop_timeout: Option<i32>,
    /// Shell of `RUN`, `CMD` and health checks in shell form.
    pub shell: Option<Vec<String>>,
    /// What concerns the host.
    pub host: HostSpec,
    /// Endpoint settings by network, as they were sent.
    pub networks: BTreeMap<String, EndpointRequest>,
}
