//! Query parameters as Go reads them.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::filters::Filters;
use crate::error::ApiError;

/// The parameters of a request. A missing one is the empty text.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (unescape(key), unescape(value))
                })
                .collect(),
        )
    }

    /// The first value.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map_or("", |(_, value)| value)
    }

    /// The first value, if it is not empty.
    pub(crate) fn some(&self, key: &str) -> Option<String> {
        let text = self.text(key);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Whether the parameter is there, even if empty.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// Every value.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// A truth value: everything but the empty text, `0`, `no`, `false` and `none` is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let text = self.text(key).trim().to_ascii_lowercase();
        !matches!(text.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A truth value that is `missing` when the parameter is not there.
    pub(crate) fn flag_or(&self, key: &str, missing: bool) -> bool {
        if self.has(key) {
            self.flag(key)
        } else {
            missing
        }
    }

    /// A number, if there is one.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        match self.text(key) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(ApiError::bad(atoi(text))),
            },
        }
    }

    /// The parameter `filters`.
    pub(crate) fn filters(&self) -> Result<Filters, ApiError> {
        Filters::parse(self.text("filters"))
    }
}

/// Go's words for a text that is no number, or one too large.
pub(crate) fn atoi(text: &str) -> String {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_number {
        "value out of range"
    } else {
        "invalid syntax"
    };
    format!("strconv.Atoi: parsing {}: {problem}", quoted(text))
}

/// `text` as Go's `%q` writes it, for plain texts.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Undoes `application/x-www-form-urlencoded`.
fn unescape(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_go_reads_them() {
        let query = Query::parse("a=1&b=%7B%22x%22%7D&c=a+b&d&a=2&e=100%&f=False");
        assert_eq!(query.text("a"), "1");
        assert_eq!(query.all("a"), ["1", "2"]);
        assert_eq!(query.text("b"), "{\"x\"}");
        assert_eq!(query.text("c"), "a b");
        assert_eq!(query.text("e"), "100%");
        assert!(query.has("d") && !query.flag("d") && !query.flag("f") && query.flag("c"));
        assert!(query.flag_or("z", true));
        assert_eq!(query.number("a").unwrap(), Some(1));
        assert_eq!(
            query.number("c").unwrap_err().message(),
            "strconv.Atoi: parsing \"a b\": invalid syntax"
        );
        assert!(atoi("99999999999999999999").ends_with(": value out of range"));
    }
}
