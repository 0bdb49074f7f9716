//! Image references (distribution's reference grammar, with Docker's familiar short forms).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

/// A text that is not a reference. The texts are those that clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    #[error("repository name must not be longer than 255 characters")]
    TooLong,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A repository: the registry's domain and a path within it, both in full
/// (`docker.io`, `library/busybox`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    domain: String,
    path: String,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
const NAME_LIMIT: usize = 255;

impl Repository {
    /// Returns the registry's host, with its port when it has one.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the path at the registry (`library/busybox`).
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the name as people write it: without `docker.io/` and `library/`.
    #[must_use]
    pub fn familiar(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.to_string();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (domain, rest) = split_domain(text);
        let name = rest.split(':').next().unwrap_or_default();
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(name.to_owned()));
        }
        if !valid_domain(&domain) || rest.is_empty() || !rest.split('/').all(valid_component) {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + rest.len() > NAME_LIMIT {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain, path: rest })
    }
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first.to_owned(), rest.to_owned())
        }
        _ => (DEFAULT_DOMAIN.to_owned(), name.to_owned()),
    };
    let domain = if domain == "index.docker.io" {
        DEFAULT_DOMAIN.to_owned()
    } else {
        domain
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain, format!("{OFFICIAL}{path}"));
    }
    (domain, path)
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_is_valid =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(v6) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        let valid = !v6.is_empty()
            && v6
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return port_is_valid && valid;
    }
    port_is_valid
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// Lower-case letters and digits, separated by `.`, `_`, `__` or any number of `-`.
fn valid_component(component: &str) -> bool {
    let mut rest = component;
    loop {
        let word = rest
            .bytes()
            .take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            .count();
        if word == 0 {
            return false;
        }
        rest = rest.get(word..).unwrap_or("");
        if rest.is_empty() {
            return true;
        }
        let dashes = rest.bytes().take_while(|byte| *byte == b'-').count();
        let separator = if dashes > 0 {
            dashes
        } else if rest.starts_with("__") {
            2
        } else if rest.starts_with(['.', '_']) {
            1
        } else {
            return false;
        };
        rest = rest.get(separator..).unwrap_or("");
    }
}

/// Which image of a repository is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// By tag.
    Tag(String),
    /// By the digest of the manifest or index; the tag, when one was written too, only informs.
    Digest(Digest, Option<String>),
}

/// A name of an image: a repository, and a tag or a digest in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    repository: Repository,
    selector: Selector,
}

impl Reference {
    /// Joins a repository and a tag.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] when `tag` is not 1 to 128 of the allowed characters.
    pub fn tagged(repository: Repository, tag: &str) -> Result<Self, ReferenceError> {
        if !valid_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self {
            repository,
            selector: Selector::Tag(tag.to_owned()),
        })
    }

    /// Joins a repository and a digest.
    #[must_use]
    pub fn digested(repository: Repository, digest: Digest) -> Self {
        Self {
            repository,
            selector: Selector::Digest(digest, None),
        }
    }

    /// Returns the repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns which image of the repository is meant.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Returns the tag, when it was written or implied.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match &self.selector {
            Selector::Tag(tag) => Some(tag),
            Selector::Digest(_, tag) => tag.as_deref(),
        }
    }

    /// Returns the digest, when there is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match &self.selector {
            Selector::Tag(_) => None,
            Selector::Digest(digest, _) => Some(digest),
        }
    }

    /// Returns what a registry's manifest path takes: the digest, else the tag.
    #[must_use]
    pub fn manifest_selector(&self) -> &str {
        match &self.selector {
            Selector::Tag(tag) => tag,
            Selector::Digest(digest, _) => digest.as_str(),
        }
    }

    /// Returns the name as people write it: `busybox:latest`, `busybox@sha256:…`.
    #[must_use]
    pub fn familiar(&self) -> String {
        format!("{}{}", self.repository.familiar(), self.suffix())
    }

    fn suffix(&self) -> String {
        match &self.selector {
            Selector::Tag(tag) => format!(":{tag}"),
            Selector::Digest(digest, None) => format!("@{digest}"),
            Selector::Digest(digest, Some(tag)) => format!(":{tag}@{digest}"),
        }
    }
}

fn valid_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses `name`, `name:tag`, `name@digest` and `name:tag@digest`; a bare name means `:latest`.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        let repository: Repository = name.parse()?;
        let selector = match digest {
            Some(digest) => Selector::Digest(parse_digest(digest)?, tag.map(str::to_owned)),
            None => Selector::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self {
            repository,
            selector,
        })
    }
}

/// A digest that is not even shaped like one makes the whole reference malformed.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let shaped = text.split_once(':').is_some_and(|(algorithm, digits)| {
        !algorithm.is_empty() && digits.len() >= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    });
    if !shaped {
        return Err(ReferenceError::Format);
    }
    Ok(text.parse()?)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, self.suffix())
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl Serialize for Repository {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Repository {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed_and_shown_short() {
        for (text, full, familiar) in [
            (
                "busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
            ("a/b", "docker.io/a/b:latest", "a/b:latest"),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            (
                "127.0.0.1:5000/x:y",
                "127.0.0.1:5000/x:y",
                "127.0.0.1:5000/x:y",
            ),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (
                    reference.to_string().as_str(),
                    reference.familiar().as_str()
                ),
                (full, familiar)
            );
        }
    }

    #[test]
    fn a_digest_beats_a_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference: Reference = format!("x:1@{digest}").parse().unwrap();
        assert_eq!(reference.manifest_selector(), digest);
        assert_eq!(reference.tag(), Some("1"));
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in [
            "",
            ":x",
            "a//b",
            "a/",
            "-a",
            "a_-b",
            "a:",
            "a b",
            "x@sha256:12",
            "a___b",
            "http://x",
        ] {
            assert_eq!(
                text.parse::<Reference>(),
                Err(ReferenceError::Format),
                "{text:?}"
            );
        }
        assert_eq!(
            "Bad:::tag".parse::<Reference>(),
            Err(ReferenceError::UpperCase("library/Bad".to_owned()))
        );
        assert!(matches!(
            "Busybox".parse::<Reference>(),
            Err(ReferenceError::UpperCase(_))
        ));
        assert!(matches!(
            "a".repeat(64).parse::<Reference>(),
            Err(ReferenceError::LooksLikeId(_))
        ));
        assert_eq!(
            "a/".repeat(130).parse::<Reference>(),
            Err(ReferenceError::Format)
        );
    }
}
