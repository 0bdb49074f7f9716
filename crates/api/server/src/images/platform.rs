//! Platforms in parameters of operations on images: JSON, as OCI writes it.

use arca_types::Platform;
use arca_wire::image;

use crate::error::ApiError;
use crate::http::Query;

/// The parameter `platform`, where this version has it; one at most.
pub(super) fn one(query: &Query, known: bool) -> Result<Option<Platform>, ApiError> {
    let asked = query.all("platform");
    match asked.as_slice() {
        _ if !known => Ok(None),
        [] => Ok(None),
        [text] if text.is_empty() => Ok(None),
        [text] => decode(text).map(Some),
        _ => Err(ApiError::bad("multiple platform parameters not supported")),
    }
}

/// Reads one platform.
pub(super) fn decode(text: &str) -> Result<Platform, ApiError> {
    let failed = |problem: String| ApiError::bad(format!("failed to parse platform: {problem}"));
    if let Some(problem) = not_json(text) {
        return Err(failed(problem));
    }
    let decoded = arca_wire::decode(text.as_bytes()).map_err(|error| failed(error.to_string()))?;
    // Versions and features of Windows say nothing about images for Linux.
    let image::Platform {
        architecture,
        os,
        os_version: _,
        os_features: _,
        variant,
    } = decoded;
    let some = |text: &str| !text.is_empty();
    let extra = some(&variant) || some(&os) || some(&architecture);
    if extra && !(some(&os) && some(&architecture)) {
        return Err(ApiError::bad("both OS and Architecture must be provided"));
    }
    Ok(Platform::new(
        &os,
        &architecture,
        some(&variant).then_some(variant.as_str()),
    ))
}

/// What Go says of a text that does not even begin as JSON, or ends too early.
fn not_json(text: &str) -> Option<String> {
    let error = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => return None,
        Err(error) => error,
    };
    if error.is_eof() {
        return Some("unexpected end of JSON input".to_owned());
    }
    let trimmed = text.trim_start();
    let first = trimmed.chars().next()?;
    let literal = ["null", "true", "false"]
        .into_iter()
        .find(|literal| literal.starts_with(first));
    if let Some(literal) = literal {
        let pairs = literal.chars().zip(trimmed.chars());
        let wrong = pairs.into_iter().find(|(wanted, got)| wanted != got);
        return wrong.map(|(wanted, got)| {
            format!("invalid character '{got}' in literal {literal} (expecting '{wanted}')")
        });
    }
    let begins = matches!(first, '{' | '[' | '"' | '-' | '0'..='9');
    (!begins).then(|| format!("invalid character '{first}' looking for beginning of value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_json_and_refused_in_gos_words() {
        let text = |text: &str| match decode(text) {
            Ok(platform) => platform.to_string(),
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(
            text(r#"{"os":"linux","architecture":"arm64"}"#),
            "linux/arm64"
        );
        for (given, said) in [
            (
                "linux/arm64",
                "invalid character 'l' looking for beginning of value",
            ),
            (
                "nonsense",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            ("{", "unexpected end of JSON input"),
        ] {
            assert_eq!(text(given), format!("failed to parse platform: {said}"));
        }
        assert_eq!(
            text(r#"{"os":"linux"}"#),
            "both OS and Architecture must be provided"
        );
    }
}
