//! `POST /images/{name}/push`.

use arca_images::{Auth, Images, PushRequest};
use arca_types::Platform;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use http::request::Parts;

use super::auth::registry_auth;
use super::progress::report;
use crate::compat::{ApiVersion, push_takes_platform};
use crate::error::ApiError;
use crate::http::{Client, Query};

/// Pushes an image, or all tags of a repository, and tells how far it is.
pub(super) async fn push(
    State(images): State<Images>,
    Path(name): Path<String>,
    Asked {
        tag,
        platform,
        auth,
    }: Asked,
    client: Client,
) -> Result<Response, ApiError> {
    let request = PushRequest::new(&name, &tag, platform, auth)?;
    report(
        client,
        |sink| async move { images.push(&request, &sink).await },
    )
    .await
}

/// What is to be pushed, and as whom.
#[derive(Debug)]
pub(super) struct Asked {
    tag: String,
    platform: Option<Platform>,
    auth: Auth,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(query) = Query::from_request_parts(parts, state).await;
        let Ok(version) = ApiVersion::from_request_parts(parts, state).await;
        let platform = super::platform::one(&query, push_takes_platform(version))?;
        let tag = query.text("tag").to_owned();
        Ok(Self {
            tag,
            platform,
            auth: registry_auth(&parts.headers),
        })
    }
}
