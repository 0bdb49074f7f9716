//! Platforms of images (OCI image specification, image-index.md, `platform`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not a platform, in the words of containerd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// The first of several parts is not an operating system's name.
    #[error(
        "{part:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match {}: invalid argument",
        r#""^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$""#
    )]
    Os {
        /// The part.
        part: String,
        /// All of it.
        text: String,
    },
    /// A further part is not a name.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        /// The part.
        part: String,
        /// All of it.
        text: String,
    },
    /// There are too many parts.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Parts(String),
    /// The only part is a name of nothing.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
}

/// An operating system, an architecture and its variant, in the words of Go (`linux/arm64/v8`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; none where the architecture has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Makes a platform of its parts, in their normal form (`x86_64` becomes `amd64`, `arm64/v8`
    /// becomes `arm64`).
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant
            .filter(|variant| !variant.is_empty())
            .map(str::to_ascii_lowercase);
        let architecture = architecture.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", Some(v)) => ("amd64", Some(v)),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64" | "arm64", Some(v)) => ("arm64", Some(v)),
            ("armhf", _) | ("arm", None | Some("7" | "v7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6" | "v6")) => ("arm", Some("v6")),
            ("arm", Some("5" | "v5")) => ("arm", Some("v5")),
            ("arm", Some("8" | "v8")) => ("arm", Some("v8")),
            ("i386", _) => ("386", None),
            (other, v) => (other, v),
        };
        let os = os.to_ascii_lowercase();
        Self {
            os: if os == "macos" {
                "darwin".to_owned()
            } else {
                os
            },
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Returns the platform that this program runs on.
    #[must_use]
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// Can a host of this platform run an image made for `image`? An arm host runs lower variants.
    #[must_use]
    pub fn runs(&self, image: &Self) -> bool {
        if self.os != image.os {
            return false;
        }
        match (self.architecture.as_str(), image.architecture.as_str()) {
            ("arm", "arm") => image.variant <= self.variant,
            ("amd64", "amd64") => image.variant.is_none() || image.variant == self.variant,
            (mine, theirs) => {
                mine == theirs && (self.variant == image.variant || self.variant.is_none())
            }
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses `os/architecture[/variant]`, `os` or `architecture`.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let whole = || text.to_owned();
        let parts: Vec<&str> = text.split('/').collect();
        for (number, part) in parts.iter().enumerate() {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
            let valid = part
                .bytes()
                .all(|b| is_name(b) || (number > 0 && b == b'.'));
            if valid && !part.is_empty() {
                continue;
            }
            let (part, text) = ((*part).to_owned(), whole());
            return Err(if number == 0 {
                PlatformError::Os { part, text }
            } else {
                PlatformError::Component { part, text }
            });
        }
        let host = Self::host();
        match parts.as_slice() {
            [one] if is_os(one) => Ok(Self::new(one, &host.architecture, host.variant.as_deref())),
            [one] if is_architecture(one) => Ok(Self::new(&host.os, one, None)),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            [_] => Err(PlatformError::Unknown(whole())),
            _ => Err(PlatformError::Parts(whole())),
        }
    }
}

fn is_os(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "linux"
            | "windows"
            | "darwin"
            | "macos"
            | "freebsd"
            | "netbsd"
            | "openbsd"
            | "solaris"
            | "aix"
            | "android"
    )
}

fn is_architecture(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "amd64"
            | "x86_64"
            | "x86-64"
            | "arm64"
            | "aarch64"
            | "arm"
            | "armhf"
            | "armel"
            | "386"
            | "i386"
            | "ppc64le"
            | "ppc64"
            | "s390x"
            | "riscv64"
            | "mips"
            | "mipsle"
            | "mips64"
            | "mips64le"
            | "loong64"
            | "wasm"
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_their_normal_form() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            assert_eq!(
                text.parse::<Platform>().map(|p| p.to_string()),
                Ok(normal.to_owned())
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, problem) in [
            (
                "",
                r#""" is an invalid OS component of "": OSAndVersion specifier component must match "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$""#,
            ),
            (
                "linux/",
                r#""" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$""#,
            ),
            ("a/b/c/d", r#""a/b/c/d": cannot parse platform specifier"#),
            (
                "nonsense",
                r#""nonsense": unknown operating system or architecture"#,
            ),
        ] {
            let told = text.parse::<Platform>().unwrap_err().to_string();
            assert_eq!(told, format!("{problem}: invalid argument"));
        }
    }

    #[test]
    fn an_arm_host_runs_lower_variants() {
        let host = Platform::new("linux", "arm", Some("v7"));
        assert!(host.runs(&Platform::new("linux", "arm", Some("v6"))));
        assert!(!host.runs(&Platform::new("linux", "arm", Some("v8"))));
        assert!(!host.runs(&Platform::new("linux", "arm64", None)));
    }
}
