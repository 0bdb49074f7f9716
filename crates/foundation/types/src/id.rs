//! Identifiers of 64 hexadecimal digits.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid ID {0:?}: it has to be 64 lower-case hexadecimal digits")]
pub struct IdError(String);

/// Returns `bytes` random bytes from the kernel as lower-case hexadecimal digits.
///
/// # Panics
/// Never on Linux 3.17 or newer, where `getrandom(2)` cannot fail once the system is up.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "getrandom(2) has no failure left to report"
)]
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer).expect("the kernel gives random bytes");
    hex(&buffer)
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Makes a new random ID. Its first 12 digits are never all decimal, so that a short ID
            /// cannot be mistaken for a number.
            #[must_use]
            pub fn random() -> Self {
                loop {
                    let id = random_hex(32);
                    if id.bytes().take(12).any(|byte| !byte.is_ascii_digit()) {
                        return Self(id.into());
                    }
                }
            }

            /// Returns all 64 digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the first 12 digits, as clients print them.
            #[must_use]
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let valid = text.len() == 64
                    && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if valid { Ok(Self(text.into())) } else { Err(IdError(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

hex_id! {
    /// The ID of a container: 64 hexadecimal digits (Docker Engine API, `ContainerSummary.Id`).
    ContainerId
}
hex_id! {
    /// The ID of an exec session: 64 hexadecimal digits (`ExecInspectResponse.ID`).
    ExecId
}
hex_id! {
    /// The ID of a network: 64 hexadecimal digits (`Network.Id`).
    NetworkId
}
hex_id! {
    /// The ID of a container's attachment to a network: 64 hexadecimal digits
    /// (`EndpointSettings.EndpointID`).
    EndpointId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_parses_and_has_a_short_form() {
        let id = ContainerId::random();
        assert_eq!(id.as_str().parse::<ContainerId>(), Ok(id.clone()));
        assert_eq!(id.short(), &id.as_str()[..12]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
    }
}
