//! How a container shares namespaces with the host or with another container.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The network a container is started in (`HostConfig.NetworkMode`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's.
    Host,
    /// Loopback only.
    None,
    /// That of another container, by name or ID.
    Container(String),
    /// A network by name or ID.
    Named(String),
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::Host => f.write_str("host"),
            Self::None => f.write_str("none"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl FromStr for NetworkMode {
    type Err = Error;

    /// Parses the mode; the empty one and `default` are the default bridge.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `container:` without a container.
    fn from_str(mode: &str) -> Result<Self, Error> {
        Ok(match mode {
            "" | "default" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            "container" => return "container:".parse(),
            other => match other.strip_prefix("container:") {
                Some("") => {
                    return Err(Error::Invalid(
                        "invalid network mode: invalid container format container:<name|id>".into(),
                    ));
                }
                Some(id) => Self::Container(id.to_owned()),
                None => Self::Named(other.to_owned()),
            },
        })
    }
}

/// IPC namespace (`HostConfig.IpcMode`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcMode {
    /// Own, without `/dev/shm`.
    None,
    /// Own.
    #[default]
    Private,
    /// Own, and others may join it.
    Shareable,
    /// The host's.
    Host,
    /// That of another container.
    Container(String),
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Private => f.write_str("private"),
            Self::Shareable => f.write_str("shareable"),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
        }
    }
}

impl FromStr for IpcMode {
    type Err = Error;

    /// Parses the mode.
    ///
    /// # Errors
    /// [`Error::Invalid`] with dockerd's text.
    fn from_str(mode: &str) -> Result<Self, Error> {
        match mode {
            "none" => Ok(Self::None),
            "private" => Ok(Self::Private),
            "shareable" => Ok(Self::Shareable),
            "host" => Ok(Self::Host),
            other => container_of(other)
                .map(Self::Container)
                .ok_or_else(|| Error::Invalid(format!("invalid IPC mode: {other}"))),
        }
    }
}

/// PID namespace (`HostConfig.PidMode`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidMode {
    /// Own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container.
    Container(String),
}

impl fmt::Display for PidMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => Ok(()),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
        }
    }
}

impl FromStr for PidMode {
    type Err = Error;

    /// Parses the mode; the empty one is an own namespace.
    ///
    /// # Errors
    /// [`Error::Invalid`] with dockerd's text.
    fn from_str(mode: &str) -> Result<Self, Error> {
        match mode {
            "" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            other => container_of(other)
                .map(Self::Container)
                .ok_or_else(|| Error::Invalid(format!("invalid PID mode: {other}"))),
        }
    }
}

/// UTS namespace (`HostConfig.UTSMode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UtsMode {
    /// Own.
    #[default]
    Private,
    /// The host's.
    Host,
}

impl fmt::Display for UtsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => Ok(()),
            Self::Host => f.write_str("host"),
        }
    }
}

impl FromStr for UtsMode {
    type Err = Error;

    /// Parses the mode; the empty one is an own namespace.
    ///
    /// # Errors
    /// [`Error::Invalid`] with dockerd's text.
    fn from_str(mode: &str) -> Result<Self, Error> {
        match mode {
            "" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            other => Err(Error::Invalid(format!("invalid UTS mode: {other}"))),
        }
    }
}

/// Cgroup namespace (`HostConfig.CgroupnsMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupnsMode {
    /// Own.
    Private,
    /// The host's.
    Host,
}

impl CgroupnsMode {
    /// Parses the mode; the empty one is `None`: the host's default.
    ///
    /// # Errors
    /// [`Error::Invalid`] with dockerd's text.
    pub fn parse(mode: &str) -> Result<Option<Self>, Error> {
        match mode {
            "" => Ok(None),
            "private" => Ok(Some(Self::Private)),
            "host" => Ok(Some(Self::Host)),
            other => Err(Error::Invalid(format!(
                "invalid cgroup namespace mode: {other}"
            ))),
        }
    }
}

impl fmt::Display for CgroupnsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Host => "host",
        })
    }
}

/// The container named in `container:<name|id>`.
fn container_of(mode: &str) -> Option<String> {
    mode.strip_prefix("container:")
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
}
