//! `POST /auth`.

use arca_images::{Auth, Images};
use arca_wire::system::{AuthConfig, AuthResponse};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{JsonBody, json};

/// Checks credentials with a registry: 200, and a token where the registry gives one.
pub(super) async fn auth(
    State(images): State<Images>,
    JsonBody(body): JsonBody<AuthConfig>,
) -> Result<Response, ApiError> {
    let encoded = serde_json::to_vec(&body)
        .map_err(|error| ApiError::internal(&format!("cannot encode credentials: {error}")))?;
    let auth =
        Auth::from_json(&encoded).map_err(|error| ApiError::bad(arca_types::chain(&error)))?;
    let login = images.login(&body.serveraddress, &auth).await?;
    let answer = AuthResponse {
        identity_token: login
            .identity_token
            .map(|token| token.expose().to_owned())
            .unwrap_or_default(),
        status: "Login Succeeded".to_owned(),
    };
    Ok(json(StatusCode::OK, &answer))
}
