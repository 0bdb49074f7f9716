//! `POST /build?version=2`.

use std::collections::BTreeMap;

use arca_build::ClassicRequest;
use arca_buildkit::{BuildContext, BuildKit, BuildLine, BuildOutput, ImageBuild};
use arca_wire::progress::JsonMessage;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::request::{parsed, read, refuse};
use super::stream::failure;
use crate::error::ApiError;
use crate::http::{Client, Query, Words, request_bytes, told};

/// In front of a build's ID: this request has the files of that build.
const UPLOAD: &str = "upload-request:";

/// What is to become of the result.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    r#type: String,
    #[serde(default)]
    attrs: Option<BTreeMap<String, String>>,
}

/// Builds an image, or takes the files of a build that another request asks for.
pub(super) async fn build(
    buildkit: BuildKit,
    query: &Query,
    client: Client,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = Box::pin(request_bytes(body));
    if let Some(id) = query.text("buildid").strip_prefix(UPLOAD) {
        buildkit.upload(id, body).await?;
        return Ok(StatusCode::OK.into_response());
    }
    refuse(query)?;
    let context = match query.text("remote") {
        "" => BuildContext::Body(body),
        "client-session" => BuildContext::Session,
        "upload-request" => BuildContext::Upload,
        address => BuildContext::Remote(address.to_owned()),
    };
    let build = request(
        query,
        read(query, headers)?,
        context,
        buildkit.host_gateway(),
    )?;
    let words = Words { line, failure };
    told(client, words, |sink| async move {
        buildkit.build(build, sink).await
    })
    .await
}

fn line(told: BuildLine) -> JsonMessage {
    let (id, aux) = match told {
        BuildLine::Trace(trace) => {
            let trace = base64::engine::general_purpose::STANDARD.encode(trace);
            ("moby.buildkit.trace", json!(trace))
        }
        BuildLine::Quiet(id) => {
            return JsonMessage {
                stream: format!("{id}\n"),
                ..JsonMessage::default()
            };
        }
        BuildLine::Image(id) => ("moby.image.id", json!({ "ID": id })),
    };
    JsonMessage {
        id: id.to_owned(),
        aux: Some(aux),
        ..JsonMessage::default()
    }
}

fn request(
    query: &Query,
    request: ClassicRequest,
    context: BuildContext,
    host_gateway: Option<&str>,
) -> Result<ImageBuild, ApiError> {
    let inline = request.build_args.get("BUILDKIT_INLINE_CACHE");
    let inline = inline.and_then(Option::as_deref).is_some_and(is_true);
    Ok(ImageBuild {
        id: query.text("buildid").to_owned(),
        session: query.text("session").to_owned(),
        context,
        exporter: exporter(query, &request.tags)?,
        quiet: request.quiet,
        cache_from: request.cache_from.clone(),
        inline_cache: inline,
        host_network: request.network_mode == "host",
        frontend_attrs: attributes(request, host_gateway)?,
    })
}

/// The words for true of Go's `strconv.ParseBool`.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// What becomes of the result: an image of these names when nothing is said.
fn exporter(query: &Query, tags: &[String]) -> Result<Option<BuildOutput>, ApiError> {
    let outputs: Vec<Output> = parsed(query, "outputs", "invalid outputs specified")?;
    let mut outputs = outputs.into_iter();
    let (kind, mut attrs) = match (outputs.next(), outputs.next()) {
        (None, _) => ("moby".to_owned(), BTreeMap::new()),
        (Some(output), None) => (output.r#type, output.attrs.unwrap_or_default()),
        (Some(_), Some(_)) => return Err(ApiError::bad("multiple outputs not supported")),
    };
    if kind == "cacheonly" {
        return Ok(None);
    }
    if matches!(kind.as_str(), "moby" | "image") && !tags.is_empty() {
        attrs.insert("name".to_owned(), tags.join(","));
    }
    Ok(Some(BuildOutput { kind, attrs }))
}

/// The options of the front end. Credentials are the session's, limits of cgroups are not BuildKit's, as with
/// dockerd.
fn attributes(
    request: ClassicRequest,
    host_gateway: Option<&str>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut attrs = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() {
            attrs.insert(name.to_owned(), value);
        }
    };
    set("target", request.target);
    set("filename", request.dockerfile);
    set(
        "platform",
        request
            .platform
            .map(|platform| platform.to_string())
            .unwrap_or_default(),
    );
    let network = match request.network_mode.as_str() {
        "" | "default" => "",
        mode @ ("host" | "none") => mode,
        other => {
            let text = format!("network mode {other:?} not supported by buildkit");
            return Err(ApiError::bad(text));
        }
    };
    set("force-network-mode", network.to_owned());
    set(
        "image-resolve-mode",
        if request.pull { "pull" } else { "default" }.to_owned(),
    );
    set("add-hosts", hosts(&request.extra_hosts, host_gateway)?);
    if request.limits.shm_size > 0 {
        set("shm-size", request.limits.shm_size.to_string());
    }
    let ulimits = request.limits.ulimits.iter();
    let ulimits = ulimits.map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard));
    set("ulimit", ulimits.collect::<Vec<_>>().join(","));
    set("cgroup-parent", request.limits.cgroup_parent);
    if request.no_cache {
        attrs.insert("no-cache".to_owned(), String::new());
    }
    for (name, value) in request.build_args {
        if let Some(value) = value {
            attrs.insert(format!("build-arg:{name}"), value);
        }
    }
    for (name, value) in request.labels {
        attrs.insert(format!("label:{name}"), value);
    }
    Ok(attrs)
}

/// `host:ip` as the front end has it.
fn hosts(hosts: &[String], gateway: Option<&str>) -> Result<String, ApiError> {
    let host = |host: &String| {
        let split = host.split_once(['=', ':']);
        let split = split.filter(|(name, ip)| !name.is_empty() && !ip.is_empty());
        let invalid = || ApiError::bad(format!("invalid host {host}"));
        let (name, ip) = split.ok_or_else(invalid)?;
        let missing = || ApiError::bad("unable to derive the IP value for host-gateway");
        let ip = match ip {
            "host-gateway" => gateway.ok_or_else(missing)?,
            ip => ip,
        };
        Ok(format!("{name}={ip}"))
    };
    let hosts: Result<Vec<_>, ApiError> = hosts.iter().map(host).collect();
    Ok(hosts?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<ImageBuild, ApiError> {
        let query = Query::parse(text);
        let read = read(&query, &HeaderMap::new())?;
        request(&query, read, BuildContext::Session, Some("10.0.0.1"))
    }

    #[test]
    fn parameters_become_options_of_the_front_end() {
        let build = asked(
            "dockerfile=d&t=a&t=b:1&nocache=1&networkmode=none&buildargs=%7B%22A%22:%221%22,%22BUILDKIT_INLINE_CACHE%22:%221%22%7D&extrahosts=h:host-gateway",
        )
        .unwrap();
        let attr = |name: &str| build.frontend_attrs.get(name).map(String::as_str);
        assert_eq!(attr("filename"), Some("d"));
        assert_eq!(attr("no-cache"), Some(""));
        assert_eq!(attr("force-network-mode"), Some("none"));
        assert_eq!(attr("build-arg:A"), Some("1"));
        assert_eq!(attr("add-hosts"), Some("h=10.0.0.1"));
        let output = build.exporter.unwrap();
        assert_eq!(
            (output.kind.as_str(), output.attrs["name"].as_str()),
            ("moby", "a,b:1")
        );
        assert!(build.inline_cache);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let two = "outputs=%5B%7B%22Type%22:%22tar%22%7D,%7B%22Type%22:%22oci%22%7D%5D";
        assert_eq!(
            asked(two).unwrap_err().message(),
            "multiple outputs not supported"
        );
        let text = asked("networkmode=x").unwrap_err();
        assert_eq!(
            text.message(),
            "network mode \"x\" not supported by buildkit"
        );
        assert_eq!(
            asked("extrahosts=x").unwrap_err().message(),
            "invalid host x"
        );
        let none = "outputs=%5B%7B%22Type%22:%22cacheonly%22%7D%5D";
        assert!(asked(none).unwrap().exporter.is_none());
    }
}
