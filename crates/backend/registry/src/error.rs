//! What can go wrong with a registry, in the words that clients of dockerd know.

use std::path::PathBuf;
use std::time::Duration;

use arca_types::{Classify, Digest, ErrorKind};

/// The codes of errors that registries send (OCI distribution specification, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the specification")]
pub enum Code {
    Unknown,
    Unsupported,
    Unauthorized,
    Denied,
    Unavailable,
    TooManyRequests,
    DigestInvalid,
    SizeInvalid,
    NameInvalid,
    TagInvalid,
    NameUnknown,
    ManifestUnknown,
    ManifestInvalid,
    ManifestUnverified,
    ManifestBlobUnknown,
    BlobUnknown,
    BlobUploadUnknown,
    BlobUploadInvalid,
}

/// Code, its text on the wire, the text for people, the message that stands in for a missing one.
const CODES: &[(Code, &str, &str, &str)] = &[
    (Code::Unknown, "UNKNOWN", "unknown", "unknown error"),
    (
        Code::Unsupported,
        "UNSUPPORTED",
        "unsupported",
        "The operation is unsupported.",
    ),
    (
        Code::Unauthorized,
        "UNAUTHORIZED",
        "unauthorized",
        "authentication required",
    ),
    (
        Code::Denied,
        "DENIED",
        "denied",
        "requested access to the resource is denied",
    ),
    (
        Code::Unavailable,
        "UNAVAILABLE",
        "unavailable",
        "service unavailable",
    ),
    (
        Code::TooManyRequests,
        "TOOMANYREQUESTS",
        "toomanyrequests",
        "too many requests",
    ),
    (
        Code::DigestInvalid,
        "DIGEST_INVALID",
        "digest invalid",
        "provided digest did not match uploaded content",
    ),
    (
        Code::SizeInvalid,
        "SIZE_INVALID",
        "size invalid",
        "provided length did not match content length",
    ),
    (
        Code::NameInvalid,
        "NAME_INVALID",
        "name invalid",
        "invalid repository name",
    ),
    (
        Code::TagInvalid,
        "TAG_INVALID",
        "tag invalid",
        "manifest tag did not match URI",
    ),
    (
        Code::NameUnknown,
        "NAME_UNKNOWN",
        "name unknown",
        "repository name not known to registry",
    ),
    (
        Code::ManifestUnknown,
        "MANIFEST_UNKNOWN",
        "manifest unknown",
        "manifest unknown",
    ),
    (
        Code::ManifestInvalid,
        "MANIFEST_INVALID",
        "manifest invalid",
        "manifest invalid",
    ),
    (
        Code::ManifestUnverified,
        "MANIFEST_UNVERIFIED",
        "manifest unverified",
        "manifest failed signature verification",
    ),
    (
        Code::ManifestBlobUnknown,
        "MANIFEST_BLOB_UNKNOWN",
        "manifest blob unknown",
        "blob unknown to registry",
    ),
    (
        Code::BlobUnknown,
        "BLOB_UNKNOWN",
        "blob unknown",
        "blob unknown to registry",
    ),
    (
        Code::BlobUploadUnknown,
        "BLOB_UPLOAD_UNKNOWN",
        "blob upload unknown",
        "blob upload unknown to registry",
    ),
    (
        Code::BlobUploadInvalid,
        "BLOB_UPLOAD_INVALID",
        "blob upload invalid",
        "blob upload invalid",
    ),
];

impl Code {
    /// Reads the code of an error; one that is not registered is [`Code::Unknown`].
    pub(crate) fn parse(text: &str) -> Self {
        CODES
            .iter()
            .find(|(_, wire, _, _)| *wire == text)
            .map_or(Self::Unknown, |(code, ..)| *code)
    }

    /// Returns the message for a code that came without one.
    pub(crate) fn default_message(self) -> &'static str {
        self.row().3
    }

    fn row(self) -> (Self, &'static str, &'static str, &'static str) {
        CODES
            .iter()
            .find(|(code, ..)| *code == self)
            .copied()
            .unwrap_or((self, "UNKNOWN", "unknown", "unknown error"))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.row().2)
    }
}

/// Any failure of a conversation with a registry.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    /// The registry answered with an error of the specification.
    #[error("{code}: {message}")]
    Refused { code: Code, message: String },
    /// The same, without anything that the code does not say already.
    #[error("{0}")]
    Bare(Code),
    #[error("received unexpected HTTP status: {0}")]
    Status(String),
    /// The registry asks for patience (429) or has trouble of its own (5xx); `wait` when it says how long.
    #[error("{cause}")]
    Overloaded {
        wait: Option<Duration>,
        cause: Box<Error>,
    },
    #[error("error parsing HTTP {status} response body: {problem}: {body:?}")]
    ErrorBody {
        status: u16,
        problem: String,
        body: String,
    },
    /// `Get "https://…"`, with what happened as its source.
    #[error("{method} {url:?}")]
    Request {
        method: &'static str,
        url: String,
        #[source]
        cause: Box<Error>,
    },
    #[error("no basic auth credentials")]
    NoCredentials,
    #[error("authorization server did not include a token in the response")]
    NoToken,
    #[error("invalid token server response")]
    TokenBody(#[source] serde_json::Error),
    /// The connection failed; `retry` when another attempt may fare better.
    #[error("{text}")]
    Transport { text: String, retry: bool },
    #[error("login attempt to {url} failed with status: {status}")]
    Login { url: String, status: String },
    #[error("manifest of {0} bytes is too large: {limit} bytes are accepted", limit = crate::MANIFEST_LIMIT)]
    ManifestTooLarge(u64),
    #[error("manifest verification failed for digest {0}")]
    ManifestDigest(Digest),
    #[error("invalid digest in the registry's answer: {0:?}")]
    InvalidDigest(String),
    #[error("blob {digest} has {actual} bytes, its descriptor says {expected}")]
    BlobSize {
        digest: Digest,
        expected: u64,
        actual: u64,
    },
    #[error("the registry answered a request for bytes from {wanted} with {got:?}")]
    Range { wanted: u64, got: String },
    #[error("invalid answer to a request for tags")]
    Tags(#[source] serde_json::Error),
    #[error("invalid registry endpoint {0:?}")]
    Endpoint(String),
    #[error("unable to parse server address: parse {address:?}: {problem}")]
    ServerAddress { address: String, problem: String },
    #[error("cannot read certificate {path}", path = .path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "missing key {key} for client certificate {cert}. CA certificates must use the extension .crt"
    )]
    MissingKey { key: String, cert: String },
    #[error("missing client certificate {cert} for key {key}")]
    MissingCertificate { key: String, cert: String },
    #[error("failed to parse certificates from {path}: {problem}", path = .path.display())]
    ParseCertificate { path: PathBuf, problem: String },
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("failed to load {path}: {problem}", path = .path.display())]
    Hosts { path: PathBuf, problem: String },
    #[error("invalid proxy address")]
    Proxy,
    #[error("failed to GET {url} with status {status}: {body}")]
    Fetch {
        url: String,
        status: String,
        body: String,
    },
    #[error("Unexpected status code {0}")]
    SearchStatus(u16),
    #[error("invalid answer to a search")]
    SearchBody(#[source] serde_json::Error),
    #[error(
        "invalid registry endpoint https://{domain}/v1/: {problem}. If this private registry supports only HTTP or HTTPS with an unknown CA certificate, please add `--insecure-registry {domain}` to the daemon's arguments. In the case of HTTPS, if you have access to the registry's CA certificate, no need for the flag; simply place the CA certificate at /etc/docker/certs.d/{domain}/ca.crt"
    )]
    Index { domain: String, problem: String },
    #[error(
        "invalid registry endpoint \"http://{domain}/v1/\". HTTPS attempt: {https}. HTTP attempt: {http}"
    )]
    InsecureIndex {
        domain: String,
        https: String,
        http: String,
    },
    #[error("download was cancelled")]
    Closed,
}

impl Error {
    /// Returns the code when the registry itself refused, and said more than the code.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Request { cause, .. } | Self::Overloaded { cause, .. } => cause.code(),
            _ => None,
        }
    }

    /// Names the request that failed.
    pub(crate) fn during(self, method: &'static str, url: &str) -> Self {
        Self::Request {
            method,
            url: url.to_owned(),
            cause: Box::new(self),
        }
    }

    /// May another attempt fare better: a broken connection, an overloaded server?
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Transport { retry, .. } => *retry,
            Self::Overloaded { .. } => true,
            Self::Refused { code, .. } | Self::Bare(code) => {
                matches!(code, Code::TooManyRequests | Code::Unavailable)
            }
            Self::Request { cause, .. } => cause.is_temporary(),
            _ => false,
        }
    }

    /// How long the registry wants to be left alone, when it says so.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { wait, .. } => *wait,
            Self::Request { cause, .. } => cause.wait(),
            _ => None,
        }
    }

    /// Did the connection fail before the registry answered anything?
    pub(crate) fn is_transport(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Request { cause, .. } => cause.is_transport(),
            _ => false,
        }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { code, .. } | Self::Bare(code) => match code {
                Code::Unauthorized => ErrorKind::Unauthorized,
                Code::TooManyRequests => ErrorKind::TooManyRequests,
                Code::Denied => ErrorKind::Forbidden,
                Code::ManifestUnknown | Code::NameUnknown | Code::BlobUnknown => {
                    ErrorKind::NotFound
                }
                Code::Unavailable => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
            Self::Request { cause, .. } | Self::Overloaded { cause, .. } => cause.kind(),
            Self::Endpoint(_) | Self::ServerAddress { .. } => ErrorKind::InvalidParameter,
            _ => ErrorKind::Internal,
        }
    }
}
