//! What a registry wants to see before it answers: `WWW-Authenticate` (RFC 9110, 11.6.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge that arca can meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token that `realm` hands out.
    Bearer(Bearer),
}

/// The parameters of a bearer challenge (RFC 6750 and distribution's token specification).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scope: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
}

/// Returns the challenges of a response, in order; schemes that are not known are passed over.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter_map(parse)
        .collect()
}

fn parse(value: &str) -> Option<Challenge> {
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut bearer = Bearer::default();
    for (key, value) in parameters(rest) {
        match key.to_ascii_lowercase().as_str() {
            "realm" => bearer.realm = value,
            "service" => bearer.service = value,
            "scope" => bearer.scope = Some(value),
            "error" => bearer.error = Some(value),
            "error_description" => bearer.error_description = Some(value),
            _ => {}
        }
    }
    (!bearer.realm.is_empty()).then_some(Challenge::Bearer(bearer))
}

/// Splits `key=value, key="quoted \" value"`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches(|c: char| c == ',' || c.is_whitespace());
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (value.trim().to_owned(), after)
            }
        };
        found.push((key.to_owned(), value));
        rest = after;
    }
    found
}

/// Reads up to the closing quote; returns what was inside and what follows.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, text.get(at + 1..).unwrap_or("")),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_is_taken_apart() {
        let value = r#"Bearer realm="https://auth.example/token",service="reg, istry",scope="repository:a/b:pull,push",error=insufficient_scope"#;
        assert_eq!(
            parse(value),
            Some(Challenge::Bearer(Bearer {
                realm: "https://auth.example/token".into(),
                service: "reg, istry".into(),
                scope: Some("repository:a/b:pull,push".into()),
                error: Some("insufficient_scope".into()),
                error_description: None,
            }))
        );
    }

    #[test]
    fn schemes_are_told_apart() {
        assert_eq!(parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(parse("basic"), Some(Challenge::Basic));
        assert_eq!(parse(r#"Digest realm="x""#), None);
        assert_eq!(parse("Bearer service=x"), None);
    }

    #[test]
    fn escapes_and_missing_quotes_are_survived() {
        assert_eq!(
            parse(r#"Bearer realm="a\"b"#),
            Some(Challenge::Bearer(Bearer {
                realm: "a\"b".into(),
                ..Bearer::default()
            }))
        );
    }
}
