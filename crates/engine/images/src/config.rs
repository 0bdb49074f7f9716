//! The configuration of an image: OCI's, with the fields that Docker adds to it.

use std::collections::BTreeMap;

use arca_types::{DiffId, Platform, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ConfigError {
    #[error("invalid image configuration")]
    Json(#[source] serde_json::Error),
    #[error("invalid image JSON, no RootFS key")]
    NoRootFs,
    #[error("unsupported RootFS type {0:?}")]
    RootFsType(String),
    #[error("too many non-empty layers in History section")]
    History,
}

/// What a container inherits (`config` in the configuration). `None` and empty differ where Docker shows
/// the difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User and perhaps group, by name or number.
    #[serde(deserialize_with = "null_default")]
    pub user: String,
    /// Ports as `80/tcp`.
    #[serde(with = "set", skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Vec<String>>,
    /// Variables as `NAME=value`.
    pub env: Option<Vec<String>>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments, or the program where there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// Is `cmd` escaped for Windows?
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub args_escaped: bool,
    /// Paths that get a volume.
    #[serde(with = "set")]
    pub volumes: Option<Vec<String>>,
    /// The directory that the program starts in.
    #[serde(deserialize_with = "null_default")]
    pub working_dir: String,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that stops it, by name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds before it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How its health is probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of it.
    pub on_build: Option<Vec<String>>,
    /// The shell for the shell form of instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Is there no network? (of old)
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub network_disabled: bool,
}

/// How health is probed. Durations in nanoseconds, 0 for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` and arguments, or `CMD-SHELL` and a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Time between probes.
    #[serde(skip_serializing_if = "is_default")]
    pub interval: i64,
    /// Time a probe may take.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(skip_serializing_if = "is_default")]
    pub start_period: i64,
    /// Time between probes in the start period.
    #[serde(skip_serializing_if = "is_default")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: i64,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// When.
    #[serde(
        deserialize_with = "lenient_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub created: Option<Timestamp>,
    /// By whom.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// By which instruction.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// A comment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Did it make no layer?
    #[serde(skip_serializing_if = "is_default")]
    pub empty_layer: bool,
}

/// The whole configuration of an image. It is read from bytes whose digest is the image's ID, and only
/// written when arca makes an image itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform in its normal form.
    pub platform: Platform,
    /// The architecture as it is written.
    pub architecture: String,
    /// The operating system as it is written.
    pub os: String,
    /// The variant as it is written.
    pub variant: String,
    /// The version of the operating system.
    pub os_version: String,
    /// When the image was made.
    pub created: Option<Timestamp>,
    /// Who made it.
    pub author: String,
    /// A comment.
    pub comment: String,
    /// The engine that made it.
    pub docker_version: String,
    /// The container it was committed from.
    pub container: String,
    /// What a container inherits.
    pub config: RunConfig,
    /// The layers, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// How it was made.
    pub history: Vec<HistoryEntry>,
}

/// The JSON.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, rename = "os.version")]
    os_version: Option<String>,
    #[serde(default, deserialize_with = "lenient_time")]
    created: Option<Timestamp>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    docker_version: Option<String>,
    #[serde(default)]
    container: Option<String>,
    #[serde(default)]
    config: Option<RunConfig>,
    #[serde(default)]
    rootfs: Option<RootFs>,
    #[serde(default)]
    history: Option<Vec<HistoryEntry>>,
}

#[derive(Serialize, Deserialize)]
struct RootFs {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<DiffId>>,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not JSON of that shape, has no `rootfs`, or says of more layers in its
    /// history than it has.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let file: File = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        let rootfs = file.rootfs.ok_or(ConfigError::NoRootFs)?;
        if rootfs.kind != "layers" {
            return Err(ConfigError::RootFsType(rootfs.kind));
        }
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        let history = file.history.unwrap_or_default();
        if history.iter().filter(|entry| !entry.empty_layer).count() > diff_ids.len() {
            return Err(ConfigError::History);
        }
        let architecture = file.architecture.unwrap_or_default();
        let os = file.os.unwrap_or_default();
        let variant = file.variant.unwrap_or_default();
        Ok(Self {
            platform: platform(&os, &architecture, &variant),
            architecture,
            os,
            variant,
            os_version: file.os_version.unwrap_or_default(),
            created: file.created,
            author: file.author.unwrap_or_default(),
            comment: file.comment.unwrap_or_default(),
            docker_version: file.docker_version.unwrap_or_default(),
            container: file.container.unwrap_or_default(),
            config: file.config.unwrap_or_default(),
            diff_ids,
            history,
        })
    }

    /// Writes a configuration, for an image that arca makes itself.
    ///
    /// # Errors
    /// [`ConfigError::Json`]: never for values of these types.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ConfigError> {
        #[derive(Serialize)]
        struct Written<'a> {
            architecture: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            variant: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            author: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            comment: &'a str,
            config: &'a RunConfig,
            #[serde(skip_serializing_if = "str::is_empty")]
            container: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            created: Option<Timestamp>,
            #[serde(skip_serializing_if = "str::is_empty")]
            docker_version: &'a str,
            history: &'a [HistoryEntry],
            os: &'a str,
            #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
            os_version: &'a str,
            rootfs: RootFs,
        }
        let written = Written {
            architecture: &self.architecture,
            variant: &self.variant,
            author: &self.author,
            comment: &self.comment,
            config: &self.config,
            container: &self.container,
            created: self.created,
            docker_version: &self.docker_version,
            history: &self.history,
            os: &self.os,
            os_version: &self.os_version,
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Some(self.diff_ids.clone()),
            },
        };
        serde_json::to_vec(&written).map_err(ConfigError::Json)
    }
}

/// Images of old say nothing about their platform: they were all made for the host's.
fn platform(os: &str, architecture: &str, variant: &str) -> Platform {
    let host = Platform::host();
    let os = if os.is_empty() { &host.os } else { os };
    let architecture = if architecture.is_empty() {
        &host.architecture
    } else {
        architecture
    };
    Platform::new(os, architecture, Some(variant))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that cannot be read is no reason to refuse an image.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// A set, which Go writes as an object with empty objects.
mod set {
    use super::{BTreeMap, Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Nothing {}

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Vec<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            None => serializer.serialize_none(),
            Some(names) => {
                let map: BTreeMap<&str, Nothing> = names
                    .iter()
                    .map(|name| (name.as_str(), Nothing {}))
                    .collect();
                map.serialize(serializer)
            }
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<String>>, D::Error> {
        let map: Option<BTreeMap<String, serde_json::Value>> = Option::deserialize(deserializer)?;
        Ok(map.map(|map| map.into_keys().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERS: &str = r#"{"architecture":"amd64","config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Cmd":null,"Healthcheck":{"Test":["CMD-SHELL","true"]},"Image":"sha256:x","Volumes":{"/v":{}},"WorkingDir":"","Entrypoint":["sh"],"OnBuild":null,"Labels":{"x":"y"}},"container":"86","created":"2026-11-21T23:03:19.171674434Z","docker_version":"28","history":[{"created":"2026-11-21T22:52:15.435313598Z","comment":"Imported from -"},{"created_by":"/bin/sh -c #(nop)  ENV A=b","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:f5a4f0aa2696929c1ed50d933422fc6ce6daccfc68e40e5104d1a52470639dcf"]}}"#;

    #[test]
    fn a_configuration_of_docker_is_read() {
        let config = ImageConfig::parse(DOCKERS.as_bytes()).unwrap();
        assert_eq!(config.config.exposed_ports, Some(vec!["80/tcp".to_owned()]));
        assert_eq!(config.config.entrypoint, Some(vec!["sh".to_owned()]));
        assert_eq!(config.config.cmd, None);
        assert_eq!(config.diff_ids.len(), 1);
        assert_eq!(config.history.len(), 2);
        assert_eq!(
            config.created.unwrap().to_string(),
            "2026-11-21T23:03:19.171674434Z"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = ImageConfig::parse(DOCKERS.as_bytes()).unwrap();
        assert_eq!(
            ImageConfig::parse(&config.to_bytes().unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn a_configuration_needs_a_rootfs_of_layers() {
        assert!(matches!(
            ImageConfig::parse(b"{}"),
            Err(ConfigError::NoRootFs)
        ));
        assert!(matches!(
            ImageConfig::parse(b"nonsense"),
            Err(ConfigError::Json(_))
        ));
        assert!(matches!(
            ImageConfig::parse(br#"{"rootfs":{"type":"layers+base"}}"#),
            Err(ConfigError::RootFsType(_))
        ));
        assert!(matches!(
            ImageConfig::parse(br#"{"rootfs":{"type":"layers","diff_ids":[]},"history":[{}]}"#),
            Err(ConfigError::History)
        ));
        assert!(matches!(
            ImageConfig::parse(br#"{"rootfs":{"type":"layers","diff_ids":["../../x"]}}"#),
            Err(ConfigError::Json(_))
        ));
    }
}
