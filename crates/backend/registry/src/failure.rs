//! Answers that are not successes become errors.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::challenge::{Challenge, challenges};
use crate::error::{Code, Error};

/// Bodies of errors are read up to this many bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// Nobody waits longer than this because a registry says so.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The body of an error (OCI distribution specification, "Error Codes").
#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    errors: Vec<BodyError>,
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct BodyError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Option<serde_json::Value>,
}

/// Writes a status as HTTP does: `503 Service Unavailable`.
pub(crate) fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Takes an answer that is not a success for an error.
pub(crate) async fn success(response: Response) -> Result<Response, Error> {
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(failure(response).await)
    }
}

/// Turns an answer that is not a success into an error. A redirection that was not followed is one.
pub(crate) async fn failure(response: Response) -> Error {
    let status = response.status();
    let wait = retry_after(response.headers());
    let cause = Box::new(refusal(response).await);
    let passing = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    if passing || status == StatusCode::TOO_MANY_REQUESTS {
        Error::Overloaded { wait, cause }
    } else {
        *cause
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3); dates are passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

async fn refusal(response: Response) -> Error {
    let status = response.status();
    if !status.is_client_error() {
        return Error::Status(status_text(status));
    }
    let challenges = challenges(response.headers());
    if let Some(error) = challenges.iter().find_map(bearer_error) {
        return error;
    }
    let is_json = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|value| value.starts_with("application/json"));
    let body = read(response).await;
    if is_json {
        json_failure(status, &body)
    } else {
        text_failure(status, body)
    }
}

/// The error that a bearer challenge itself names (RFC 6750, 3.1).
fn bearer_error(challenge: &Challenge) -> Option<Error> {
    let Challenge::Bearer(bearer) = challenge else {
        return None;
    };
    let code = match bearer.error.as_deref() {
        Some("invalid_token") => Code::Unauthorized,
        Some("insufficient_scope") => Code::Denied,
        _ => return None,
    };
    let description = bearer.error_description.clone();
    let message = description.unwrap_or_else(|| code.default_message().to_owned());
    Some(Error::Refused { code, message })
}

async fn read(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= BODY_LIMIT {
            body.truncate(BODY_LIMIT);
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn json_failure(status: StatusCode, text: &str) -> Error {
    let unreadable = |problem: String| Error::ErrorBody {
        status: status.as_u16(),
        problem,
        body: text.to_owned(),
    };
    let body: Body = match serde_json::from_str(text) {
        Ok(body) => body,
        Err(error) => return unreadable(json_problem(text, &error)),
    };
    if !body.details.is_empty() {
        return Error::Refused {
            code: code_of(status),
            message: body.details,
        };
    }
    let Some(first) = body.errors.into_iter().next() else {
        return unreadable("no error details found in HTTP response body".to_owned());
    };
    let code = Code::parse(&first.code);
    let says_more = !first.message.is_empty() && first.message != code.default_message();
    if first.detail.is_none() && !says_more {
        return Error::Bare(code);
    }
    Error::Refused {
        code,
        message: first.message,
    }
}

fn text_failure(status: StatusCode, message: String) -> Error {
    Error::Refused {
        code: code_of(status),
        message,
    }
}

fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Denied,
        StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
        _ => Code::Unknown,
    }
}

/// Says what is wrong with JSON in the words of dockerd.
fn json_problem(text: &str, error: &serde_json::Error) -> String {
    match text.trim_start().chars().next() {
        None => "unexpected end of JSON input".to_owned(),
        Some(first) if !matches!(first, '{' | '[' | '"' | '0'..='9' | '-' | 't' | 'f' | 'n') => {
            format!("invalid character '{first}' looking for beginning of value")
        }
        Some(_) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Some(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: u16, body: &str) -> String {
        json_failure(StatusCode::from_u16(status).unwrap(), body).to_string()
    }

    #[test]
    fn errors_of_the_specification_are_told_in_its_words() {
        let body =
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#;
        assert_eq!(text(404, body), "manifest unknown: manifest unknown");
        assert_eq!(
            text(
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#
            ),
            "unauthorized"
        );
        assert_eq!(
            text(400, r#"{"errors":[{"code":"X","message":"m"}]}"#),
            "unknown: m"
        );
        assert_eq!(
            text(401, r#"{"details":"incorrect username or password"}"#),
            "unauthorized: incorrect username or password"
        );
    }

    #[test]
    fn other_bodies_are_shown() {
        assert_eq!(
            text(404, "<html>nope"),
            "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \"<html>nope\""
        );
        assert_eq!(
            text(404, ""),
            "error parsing HTTP 404 response body: unexpected end of JSON input: \"\""
        );
        assert_eq!(
            text(404, r#"{"errors":[]}"#),
            r#"error parsing HTTP 404 response body: no error details found in HTTP response body: "{\"errors\":[]}""#
        );
    }
}
