//! The configuration of an image as a Dockerfile changes it: the OCI image specification's `config.md`
//! with Docker's additions, in the field order of BuildKit.

use std::collections::{BTreeMap, BTreeSet};

use arca_types::Platform;
use serde::{Deserialize, Deserializer, Serialize};

/// `PATH` where an image has none.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Image {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub(super) os_version: String,
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    #[serde(default)]
    pub(super) rootfs: RootFs,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) history: Vec<History>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Config,
}

/// The layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) diff_ids: Vec<String>,
}

/// A step that made the image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) created_by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) empty_layer: bool,
}

/// What a container of the image gets when it does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) user: String,
    #[serde(
        default,
        deserialize_with = "keys",
        serialize_with = "as_keys",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub(super) exposed_ports: BTreeSet<String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) env: Vec<String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) entrypoint: Vec<String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) cmd: Vec<String>,
    #[serde(
        default,
        deserialize_with = "keys",
        serialize_with = "as_keys",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub(super) volumes: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) working_dir: String,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) stop_signal: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) args_escaped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) healthcheck: Option<Healthcheck>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) on_build: Vec<String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) shell: Vec<String>,
}

/// A health check; durations in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Healthcheck {
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) test: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) interval: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) timeout: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) start_period: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) start_interval: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A value, or its default where there is `null`.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The keys of an object whose values say nothing.
fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<String>, D::Error> {
    let object: Option<BTreeMap<String, serde::de::IgnoredAny>> = Option::deserialize(from)?;
    Ok(object.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &BTreeSet<String>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(keys.iter().map(|key| (key, serde_json::Map::new())))
}

impl Image {
    /// The image that `FROM scratch` begins with.
    pub(super) fn empty(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone().unwrap_or_default(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            config: Config {
                working_dir: "/".to_owned(),
                env: vec![format!("PATH={DEFAULT_PATH}")],
                ..Config::default()
            },
            ..Self::default()
        }
    }

    /// Its platform.
    pub(super) fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, Some(&self.variant))
    }

    /// Says that it is for `platform`.
    pub(super) fn set_platform(&mut self, platform: &Platform) {
        let same = self.os == platform.os && self.architecture == platform.architecture;
        self.os.clone_from(&platform.os);
        self.architecture.clone_from(&platform.architecture);
        if platform.variant.is_some() || !same {
            self.variant = platform.variant.clone().unwrap_or_default();
        }
        if !same {
            self.os_version.clear();
        }
    }

    /// Sets a variable where it is, or at the end.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        let text = format!("{name}={value}");
        let is_it = |known: &&mut String| known.split('=').next() == Some(name);
        match self.config.env.iter_mut().find(is_it) {
            Some(known) => *known = text,
            None => self.config.env.push(text),
        }
    }

    /// Notes a step.
    pub(super) fn note(&mut self, created_by: String, layer: bool, created: Option<&str>) {
        self.history.push(History {
            created: created.map(str::to_owned),
            created_by,
            author: String::new(),
            comment: "buildkit.dockerfile.v0".to_owned(),
            empty_layer: !layer,
        });
    }

    /// Its layers, if it has any: an old image may have some without saying which.
    pub(super) fn has_layers(&self) -> bool {
        !self.rootfs.diff_ids.is_empty() || self.history.iter().any(|step| !step.empty_layer)
    }

    /// `arguments` for the image's shell.
    pub(super) fn with_shell(&self, arguments: &[String]) -> Vec<String> {
        let mut shell = self.config.shell.clone();
        if shell.is_empty() {
            shell = vec!["/bin/sh".to_owned(), "-c".to_owned()];
        }
        shell.push(arguments.join(" "));
        shell
    }
}
