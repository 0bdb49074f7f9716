//! `GET /version`.

use arca_engine::System;
use arca_wire::system::{Component, Version, VersionPlatform};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use std::collections::BTreeMap;

use crate::compat::{API_VERSION, MIN_API_VERSION};
use crate::http::json;

/// Shows the versions of the engine and its parts.
pub(super) async fn version(State(system): State<System>) -> Response {
    json(StatusCode::OK, &answer(system.version()))
}

fn answer(version: arca_engine::Version) -> Version {
    let arch = arch().to_owned();
    let details = [
        ("ApiVersion", API_VERSION),
        ("Arch", &arch),
        ("BuildTime", &version.build_time),
        ("Experimental", "false"),
        ("GitCommit", &version.git_commit),
        ("KernelVersion", &version.kernel_version),
        ("MinAPIVersion", MIN_API_VERSION),
        ("Os", "linux"),
    ];
    let details: BTreeMap<String, String> = details
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let engine = Component {
        name: "Engine".to_owned(),
        version: version.version.clone(),
        details,
    };
    let others = version.components.into_iter().map(|component| Component {
        name: component.name,
        version: component.version,
        details: component.details,
    });
    Version {
        platform: VersionPlatform {
            name: "arca".to_owned(),
        },
        components: std::iter::once(engine).chain(others).collect(),
        version: version.version,
        api_version: API_VERSION.to_owned(),
        min_api_version: MIN_API_VERSION.to_owned(),
        git_commit: version.git_commit,
        // there is no Go in it
        go_version: String::new(),
        os: "linux".to_owned(),
        arch,
        kernel_version: version.kernel_version,
        experimental: false,
        build_time: version.build_time,
    }
}

/// The architecture in Go's words.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
