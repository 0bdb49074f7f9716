//! The body of `POST /containers/create`.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use std::collections::BTreeMap;

use super::{Config, HostConfig};
use crate::decode::Error;
use crate::network::EndpointSettings;

/// `NetworkingConfig`: the networks to join.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(
    rename = "network.NetworkingConfig",
    rename_all = "PascalCase",
    default
)]
pub struct NetworkingConfig {
    pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
}

/// The fields beside those of [`Config`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename = "container.CreateRequest", rename_all = "PascalCase", default)]
struct CreateRequestRest {
    host_config: Option<HostConfig>,
    networking_config: Option<NetworkingConfig>,
}

/// A create request: the fields of [`Config`], `HostConfig` and `NetworkingConfig` in one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateRequest {
    /// `None` when no field of it was given.
    pub config: Option<Config>,
    pub host_config: Option<HostConfig>,
    pub networking_config: Option<NetworkingConfig>,
}

impl<'de> Deserialize<'de> for CreateRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's `flatten` reads the keys itself and would miss those in another case
        let value = Value::deserialize(deserializer)?;
        Self::from_value(value).map_err(D::Error::custom)
    }
}

impl CreateRequest {
    fn from_value(value: Value) -> Result<Self, Error> {
        let beside = |key: &String| {
            key.eq_ignore_ascii_case("HostConfig") || key.eq_ignore_ascii_case("NetworkingConfig")
        };
        let has_config = value
            .as_object()
            .is_some_and(|o| o.keys().any(|key| !beside(key)));
        let rest: CreateRequestRest =
            crate::decode::from_value(value.clone()).map_err(Error::anonymous)?;
        let config = if has_config {
            Some(crate::decode::from_value(value).map_err(Error::anonymous)?)
        } else {
            None
        };
        Ok(Self {
            config,
            host_config: rest.host_config,
            networking_config: rest.networking_config,
        })
    }
}
