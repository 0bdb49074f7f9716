//! Where results go: what is asked for.

mod attributes;
pub(crate) mod config;

use std::collections::BTreeMap;

use arca_images::LayerCompression;

use crate::Error;

/// What becomes of the result (`Exporter` of BuildKit's `SolveRequest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterSpec {
    /// Kind.
    pub kind: ExporterKind,
    /// Options as the client names them: `name`, `push`, `dest`, `compression`, `annotation.…`.
    pub attrs: BTreeMap<String, String>,
}

/// Kinds of exporters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExporterKind {
    /// The images of this host (`moby`, `image`), perhaps pushed (`push=true`).
    Image,
    /// An archive for `docker load`, sent to the client.
    Docker,
    /// An archive with an OCI layout, sent to the client.
    Oci,
    /// The files in an archive, sent to the client.
    Tar,
    /// The files, sent to the client.
    Local,
}

impl ExporterKind {
    /// Reads the name that clients have for it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "moby" | "image" => Self::Image,
            "docker" => Self::Docker,
            "oci" => Self::Oci,
            "tar" => Self::Tar,
            "local" => Self::Local,
            _ => return None,
        })
    }
}

/// Where cache keys and results are written to besides this host (`--cache-to`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheExport {
    /// `inline`, `registry` or `local`.
    pub kind: String,
    /// Options: `ref`, `mode`, `dest`, `ignore-error`.
    pub attrs: BTreeMap<String, String>,
}

impl CacheExport {
    /// Refuses what is not done, before anything is built.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the kind or the option, [`Error::Invalid`] for one that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let unsupported = |what: String| Err(Error::Unsupported(what));
        match self.kind.as_str() {
            "inline" | "registry" | "local" => {}
            kind => return unsupported(format!("cache export to {kind} is not supported")),
        }
        for (name, value) in &self.attrs {
            match (name.as_str(), value.as_str()) {
                ("mode", "" | "min") | ("ignore-error", _) => {}
                ("mode", "max") if self.kind != "inline" => {}
                ("ref", _) if self.kind != "local" => {}
                ("dest", _) if self.kind == "local" => {}
                ("image-manifest", "true") | ("oci-mediatypes", "true") => {}
                ("compression", "" | "gzip") => {}
                ("compression", "uncompressed") if self.kind == "registry" => {
                    // A push compresses what is not.
                    let text = "a cache in a registry is compressed";
                    return unsupported(text.to_owned());
                }
                ("compression" | "compression-level" | "force-compression", _)
                    if self.kind != "inline" => {}
                _ => {
                    let text = format!("the option {name}={value} of a cache is not supported");
                    return unsupported(text);
                }
            }
        }
        for (kind, attr) in [("registry", "ref"), ("local", "dest")] {
            if self.kind == kind && !self.attrs.contains_key(attr) {
                return Err(Error::Invalid(format!(
                    "{kind} cache exporter requires {attr}"
                )));
            }
        }
        self.compression().map(drop)
    }

    /// How layers are to be written; `None` for as they are, which a push compresses by gzip.
    ///
    /// # Errors
    /// As [`ExporterSpec::compression`].
    pub(crate) fn compression(&self) -> Result<Option<LayerCompression>, Error> {
        let kept = match self.kind.as_str() {
            "inline" => return Ok(None),
            "registry" => Some(LayerCompression::default()),
            _ => None,
        };
        let asked = attributes::compression(&self.attrs)?;
        Ok(Some(asked).filter(|asked| Some(*asked) != kept))
    }

    /// Is this option set?
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.attrs.get(name);
        value.is_some_and(|value| arca_dockerfile::boolean(value) == Some(true))
    }
}

/// Where they are read from (`--cache-from`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheImport {
    /// `registry` or `local`.
    pub kind: String,
    /// Options: `ref`, `src`, `digest`.
    pub attrs: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(kind: &str, attrs: &[(&str, &str)]) -> CacheExport {
        let attrs = attrs.iter();
        CacheExport {
            kind: kind.to_owned(),
            attrs: attrs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn caches_are_compressed_as_they_are_asked_to_be() {
        let zstd = ("compression", "zstd");
        for (kind, place) in [("local", ("dest", "d")), ("registry", ("ref", "r"))] {
            let asked = cache(kind, &[place, zstd, ("compression-level", "3")]);
            asked.check().unwrap();
            let wanted = asked.compression().unwrap().unwrap();
            assert_eq!(
                (wanted.form, wanted.level),
                (arca_images::LayerForm::Zstd, Some(3))
            );
            let wrong = [place, zstd, ("compression-level", "23")];
            assert!(cache(kind, &wrong).check().is_err());
        }
        assert!(cache("inline", &[zstd]).check().is_err());
        let plain = [("ref", "r"), ("compression", "uncompressed")];
        assert!(cache("registry", &plain).check().is_err());
        assert_eq!(cache("registry", &plain[..1]).compression().unwrap(), None);
        assert!(cache("local", &[]).compression().unwrap().is_some());
    }
}
