//! The parameters of `POST /build`.

use std::collections::BTreeMap;

use arca_build::graph::Ulimit;
use arca_build::{ClassicRequest, Limits};
use arca_images::Auth;
use base64::Engine as _;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::containers::platform;
use crate::error::ApiError;
use crate::http::Query;

/// A limit as clients write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireUlimit {
    name: String,
    #[serde(default)]
    hard: i64,
    #[serde(default)]
    soft: i64,
}

/// Reads the parameters; what the classic builder cannot do is refused.
pub(super) fn request(query: &Query, headers: &HeaderMap) -> Result<ClassicRequest, ApiError> {
    refuse(query)?;
    if !matches!(query.text("outputs"), "" | "null" | "[]") {
        let text = "outputs are not supported by the classic builder";
        return Err(ApiError::bad(text));
    }
    read(query, headers)
}

/// Which builder is asked for?
pub(super) fn is_buildkit(query: &Query) -> Result<bool, ApiError> {
    match query.text("version") {
        "" | "1" => Ok(false),
        "2" => Ok(true),
        other => Err(ApiError::bad(format!("invalid version {other}"))),
    }
}

/// Reads the parameters that both builders have.
pub(super) fn read(query: &Query, headers: &HeaderMap) -> Result<ClassicRequest, ApiError> {
    Ok(ClassicRequest {
        dockerfile: query.text("dockerfile").to_owned(),
        tags: query.all("t"),
        quiet: query.flag("q"),
        no_cache: query.flag("nocache"),
        pull: query.flag("pull"),
        remove: query.flag_or("rm", true),
        force_remove: query.flag("forcerm"),
        build_args: parsed(query, "buildargs", "error reading build args")?,
        labels: parsed(query, "labels", "error reading labels")?,
        cache_from: parsed(query, "cachefrom", "error reading cache-from")?,
        network_mode: query.text("networkmode").to_owned(),
        target: query.text("target").to_owned(),
        platform: platform(query, true)?,
        extra_hosts: query.all("extrahosts"),
        limits: limits(query)?,
        isolation: query.text("isolation").to_owned(),
        auths: auths(headers),
    })
}

/// Refuses what neither builder does.
pub(super) fn refuse(query: &Query) -> Result<(), ApiError> {
    if query.flag("squash") {
        return Err(ApiError::bad(
            "squash is only supported with experimental mode",
        ));
    }
    if !query.text("securityopt").is_empty() && query.text("securityopt") != "null" {
        let text = "The daemon on this platform does not support setting security options on build";
        return Err(ApiError::bad(text));
    }
    Ok(())
}

fn limits(query: &Query) -> Result<Limits, ApiError> {
    let number = |name| query.number(name).map(Option::unwrap_or_default);
    let ulimits: Vec<WireUlimit> = parsed(query, "ulimits", "error reading ulimit settings")?;
    let ulimits = ulimits.into_iter().map(|limit| Ulimit {
        name: limit.name,
        soft: limit.soft,
        hard: limit.hard,
    });
    Ok(Limits {
        memory: number("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: number("cpushares")?,
        cpu_period: number("cpuperiod")?,
        cpu_quota: number("cpuquota")?,
        cpuset_cpus: query.text("cpusetcpus").to_owned(),
        cpuset_mems: query.text("cpusetmems").to_owned(),
        shm_size: number("shmsize")?,
        ulimits: ulimits.collect(),
        cgroup_parent: query.text("cgroupparent").to_owned(),
        ..Limits::default()
    })
}

/// A parameter that is JSON; `null` and nothing are the same.
pub(super) fn parsed<T: DeserializeOwned + Default>(
    query: &Query,
    name: &str,
    what: &str,
) -> Result<T, ApiError> {
    let text = query.text(name);
    if text.is_empty() {
        return Ok(T::default());
    }
    let parsed: Result<Option<T>, _> = serde_json::from_str(text);
    parsed
        .map(Option::unwrap_or_default)
        .map_err(|error| ApiError::bad(format!("{what}: {error}")))
}

/// The header `X-Registry-Config`: credentials by registry. What cannot be read is none, as with dockerd.
fn auths(headers: &HeaderMap) -> BTreeMap<String, Auth> {
    let text = headers
        .get("x-registry-config")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .trim_end_matches('=');
    let engines = [
        base64::engine::general_purpose::URL_SAFE_NO_PAD,
        base64::engine::general_purpose::STANDARD_NO_PAD,
    ];
    let decoded = engines.iter().find_map(|engine| engine.decode(text).ok());
    let Some(decoded) = decoded else {
        return BTreeMap::new();
    };
    let all: Result<BTreeMap<String, serde_json::Value>, _> = serde_json::from_slice(&decoded);
    all.unwrap_or_default()
        .into_iter()
        .filter_map(|(server, config)| {
            let json = serde_json::to_vec(&config).ok()?;
            Some((server, Auth::from_json(&json).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_null_is_nothing() {
        let query = Query::parse(
            "t=a&t=b&rm=0&buildargs=%7B%22A%22:%221%22,%22B%22:null%7D&labels=null&memory=5&ulimits=%5B%7B%22Name%22:%22nofile%22,%22Hard%22:2,%22Soft%22:1%7D%5D",
        );
        let request = request(&query, &HeaderMap::new()).unwrap();
        assert_eq!(request.tags, ["a", "b"]);
        assert!(!request.remove && !request.force_remove);
        assert_eq!(request.build_args["A"].as_deref(), Some("1"));
        assert_eq!(request.build_args["B"], None);
        assert!(request.labels.is_empty());
        assert_eq!(request.limits.memory, 5);
        assert_eq!(request.limits.ulimits[0].hard, 2);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |text| request(&Query::parse(text), &HeaderMap::new()).unwrap_err();
        assert_eq!(
            refused("squash=1").message(),
            "squash is only supported with experimental mode"
        );
        assert!(is_buildkit(&Query::parse("version=2")).unwrap());
        assert!(is_buildkit(&Query::parse("version=3")).is_err());
        assert!(
            refused("buildargs=x")
                .message()
                .starts_with("error reading build args")
        );
    }

    #[test]
    fn credentials_are_read_by_registry() {
        let json = r#"{"registry:5000":{"username":"u","password":"p"}}"#;
        let value = base64::engine::general_purpose::URL_SAFE.encode(json);
        let mut headers = HeaderMap::new();
        headers.insert("x-registry-config", value.parse().unwrap());
        assert!(auths(&headers).contains_key("registry:5000"));
        assert!(auths(&HeaderMap::new()).is_empty());
    }
}
