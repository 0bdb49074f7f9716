//! Credentials of a client, as it hands them over with a request.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, for the request that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Who asks a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password or a personal token.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token that an earlier login returned (`identitytoken`).
    Identity(Secret),
    /// A bearer token to be sent as it is (`registrytoken`).
    Bearer(Secret),
}

/// An `X-Registry-Auth` header that cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum AuthHeaderError {
    #[error("invalid X-Registry-Auth header: must be a valid base64url-encoded string")]
    Encoding(#[source] base64::DecodeError),
    #[error("invalid X-Registry-Auth header")]
    Json(#[source] serde_json::Error),
    #[error("invalid X-Registry-Auth header: \"auth\" is not base64 of a name and a password")]
    UserPassword,
}

/// The JSON of an `AuthConfig` of the API. Keys of older clients that mean nothing are left out.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthConfig {
    username: String,
    password: Secret,
    auth: Secret,
    identitytoken: Secret,
    registrytoken: Secret,
}

const URL_SAFE_ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Auth {
    /// Reads the value of an `X-Registry-Auth` header: base64url of an `AuthConfig` in JSON.
    /// An empty value is [`Auth::Anonymous`].
    ///
    /// # Errors
    /// [`AuthHeaderError`] when the value is something else. (dockerd ignores such a header for a pull.)
    pub fn from_header(value: &str) -> Result<Self, AuthHeaderError> {
        if value.is_empty() {
            return Ok(Self::Anonymous);
        }
        let json = URL_SAFE_ANY_PADDING
            .decode(value.replace('+', "-").replace('/', "_"))
            .map_err(AuthHeaderError::Encoding)?;
        Self::from_json(&json)
    }

    /// Reads an `AuthConfig` in JSON, as in the body of `POST /auth`.
    ///
    /// # Errors
    /// [`AuthHeaderError`] when it is something else.
    pub fn from_json(json: &[u8]) -> Result<Self, AuthHeaderError> {
        if json.is_empty() {
            return Ok(Self::Anonymous);
        }
        let config: AuthConfig = serde_json::from_slice(json).map_err(AuthHeaderError::Json)?;
        if !config.registrytoken.is_empty() {
            return Ok(Self::Bearer(config.registrytoken));
        }
        if !config.identitytoken.is_empty() {
            return Ok(Self::Identity(config.identitytoken));
        }
        if !config.username.is_empty() || !config.password.is_empty() {
            return Ok(Self::Password {
                username: config.username,
                password: config.password,
            });
        }
        if config.auth.is_empty() {
            return Ok(Self::Anonymous);
        }
        Self::from_user_password(config.auth.expose())
    }

    fn from_user_password(encoded: &str) -> Result<Self, AuthHeaderError> {
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .map_err(AuthHeaderError::Encoding)?;
        let text = String::from_utf8(decoded)
            .ok()
            .ok_or(AuthHeaderError::UserPassword)?;
        let (username, password) = text.split_once(':').ok_or(AuthHeaderError::UserPassword)?;
        Ok(Self::Password {
            username: username.to_owned(),
            password: Secret::new(password.trim_end_matches('\0').to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> String {
        base64::engine::general_purpose::URL_SAFE.encode(json)
    }

    #[test]
    fn each_kind_of_credential_is_read() {
        for (json, wanted) in [
            ("{}", Auth::Anonymous),
            (
                r#"{"username":"u","password":"p","serveraddress":"x"}"#,
                Auth::Password {
                    username: "u".into(),
                    password: Secret::new("p".into()),
                },
            ),
            (
                r#"{"auth":"dTpw"}"#,
                Auth::Password {
                    username: "u".into(),
                    password: Secret::new("p".into()),
                },
            ),
            (
                r#"{"identitytoken":"t"}"#,
                Auth::Identity(Secret::new("t".into())),
            ),
            (
                r#"{"registrytoken":"t"}"#,
                Auth::Bearer(Secret::new("t".into())),
            ),
        ] {
            assert_eq!(Auth::from_header(&header(json)).unwrap(), wanted, "{json}");
            let unpadded = header(json).replace('=', "");
            assert_eq!(Auth::from_header(&unpadded).unwrap(), wanted, "{json}");
        }
        assert_eq!(Auth::from_header("").unwrap(), Auth::Anonymous);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Auth::from_header("!!").is_err());
        assert!(Auth::from_header(&header("nonsense")).is_err());
        assert!(Auth::from_header(&header(r#"{"auth":"dQ=="}"#)).is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let auth = Auth::Password {
            username: "u".into(),
            password: Secret::new("hunter2".into()),
        };
        assert!(!format!("{auth:?}").contains("hunter2"));
    }
}
