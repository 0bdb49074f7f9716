//! The options of exporters.

use std::collections::BTreeMap;

use arca_images::{LayerCompression, LayerForm};
use arca_types::Timestamp;

use super::{ExporterKind, ExporterSpec};
use crate::Error;

/// Annotations that an exporter is to set, by where they go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    /// Of the manifest.
    pub(crate) manifest: BTreeMap<String, String>,
    /// Of the manifest where the index of a layout names it.
    pub(crate) descriptor: BTreeMap<String, String>,
}

impl ExporterSpec {
    /// Refuses options that ask for what is not done, before anything is built.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the option, [`Error::Invalid`] for one that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        use ExporterKind::{Docker, Image, Local, Oci, Tar};
        let unsupported = |name: &str, value: &str| {
            Error::Unsupported(format!("the output option {name}={value} is not supported"))
        };
        for (name, value) in &self.attrs {
            let value = value.as_str();
            let done = match (self.kind, name.as_str()) {
                // A push compresses what is not.
                (Image, "compression") => value != "uncompressed",
                (Local | Tar, "compression") => matches!(value, "" | "uncompressed"),
                (Local | Tar, "compression-level") => false,
                (Local | Tar, "force-compression") => !is_true(value),
                (Docker | Oci, "tar") | (Image, "store") | (_, "oci-mediatypes") => is_true(value),
                (_, "oci-artifact") => false,
                (Local | Tar, "platform-split") => !is_true(value),
                (_, "push-by-digest" | "registry.insecure" | "name-canonical") => !is_true(value),
                _ => true,
            };
            if !done {
                return Err(unsupported(name, value));
            }
        }
        self.epoch()?;
        self.compression()?;
        self.annotations().map(drop)
    }

    /// The time that nothing in an image's configuration is later than, and that all files have which leave
    /// as such.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn epoch(&self) -> Result<Option<Timestamp>, Error> {
        let text = self
            .attrs
            .get("source-date-epoch")
            .map_or("", String::as_str);
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |why| {
            let text = format!("invalid source-date-epoch: parsing {text:?}: {why}");
            Error::Invalid(text)
        };
        let seconds = text.parse().map_err(|_error| invalid("invalid syntax"))?;
        let time = Timestamp::shown_of_unix(seconds);
        time.map(Some)
            .ok_or_else(|| invalid("year outside of range [1,9999]"))
    }

    /// The time that nothing in layers is to be later than, if that is asked for.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn rewrites(&self) -> Result<Option<Timestamp>, Error> {
        let epoch = self.epoch()?;
        Ok(epoch.filter(|_| self.flag("rewrite-timestamp")))
    }

    /// How layers are to be written: those of archives as BuildKit does by default. Those of images stay as
    /// they are until a push compresses them by gzip, unless more is said.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Invalid`].
    pub(crate) fn compression(&self) -> Result<Option<LayerCompression>, Error> {
        let kept = match self.kind {
            ExporterKind::Local | ExporterKind::Tar => return Ok(None),
            ExporterKind::Docker | ExporterKind::Oci => None,
            ExporterKind::Image => Some(LayerCompression::default()),
        };
        let asked = compression(&self.attrs)?;
        Ok(Some(asked).filter(|asked| Some(*asked) != kept))
    }

    /// Is this option set?
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.attrs.get(name).is_some_and(|value| is_true(value))
    }

    /// Reads `annotation.…`, `annotation-manifest.…` and `annotation-manifest-descriptor.…`, which may be
    /// about one platform: `annotation[linux/amd64].…`.
    pub(crate) fn annotations(&self) -> Result<Annotations, Error> {
        let mut all = Annotations::default();
        for (name, value) in &self.attrs {
            let Some(rest) = name.strip_prefix("annotation") else {
                continue;
            };
            let split = rest.split_once(['.', '[']);
            let Some((kind, _)) = split else { continue };
            let rest = rest.get(kind.len()..).unwrap_or_default();
            let key = match rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]."))
            {
                Some((platform, key)) if is_host(platform) => key,
                Some(_) => continue,
                None => rest.trim_start_matches('.'),
            };
            let place = match kind {
                "" | "-manifest" => &mut all.manifest,
                "-manifest-descriptor" => &mut all.descriptor,
                "-index" | "-index-descriptor" => {
                    let text = "index annotations not supported for single platform export";
                    return Err(Error::Invalid(text.to_owned()));
                }
                _ => continue,
            };
            place.insert(key.to_owned(), value.clone());
        }
        if self.kind == ExporterKind::Image && !all.descriptor.is_empty() {
            let text = "annotations of a manifest's descriptor are only supported in archives";
            return Err(Error::Unsupported(text.to_owned()));
        }
        Ok(all)
    }
}

/// Reads `compression`, `compression-level` and `force-compression`.
pub(super) fn compression(attrs: &BTreeMap<String, String>) -> Result<LayerCompression, Error> {
    let text = |name: &str| attrs.get(name).map_or("", String::as_str);
    let form = match text("compression") {
        "" | "gzip" => LayerForm::Gzip,
        "zstd" => LayerForm::Zstd,
        "uncompressed" => LayerForm::Plain,
        "estargz" => {
            let text = "the output option compression=estargz is not supported: gzip, zstd and uncompressed are";
            return Err(Error::Unsupported(text.to_owned()));
        }
        other => {
            let text = format!("unsupported compression type {other}");
            return Err(Error::Invalid(text));
        }
    };
    let highest = match form {
        LayerForm::Plain | LayerForm::Gzip => 9,
        LayerForm::Zstd => 22,
    };
    let level = match text("compression-level") {
        "" => None,
        given => {
            let level: u32 = given.parse().map_err(|_error| {
                let text = format!("non-integer value {given} specified for compression-level");
                Error::Invalid(text)
            })?;
            if level > highest {
                let text =
                    format!("compression-level {level} is outside the range of [0, {highest}]");
                return Err(Error::Invalid(text));
            }
            Some(level)
        }
    };
    let force = match text("force-compression") {
        "" => false,
        given => arca_dockerfile::boolean(given).ok_or_else(|| {
            let text = format!("non-bool value {given} specified for force-compression");
            Error::Invalid(text)
        })?,
    };
    Ok(LayerCompression { form, level, force })
}

fn is_host(platform: &str) -> bool {
    let platform = platform.parse::<arca_types::Platform>();
    platform.is_ok_and(|platform| platform == arca_types::Platform::host())
}

fn is_true(value: &str) -> bool {
    arca_dockerfile::boolean(value) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: ExporterKind, attrs: &[(&str, &str)]) -> ExporterSpec {
        let attrs = attrs.iter();
        ExporterSpec {
            kind,
            attrs: attrs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn what_is_not_done_is_refused() {
        use ExporterKind::{Docker, Image, Local, Oci, Tar};
        for (kind, name, value) in [
            (Image, "compression", "uncompressed"),
            (Image, "compression", "estargz"),
            (Oci, "compression", "lz4"),
            (Oci, "compression-level", "high"),
            (Docker, "compression-level", "10"),
            (Docker, "force-compression", "perhaps"),
            (Tar, "compression", "gzip"),
            (Image, "push-by-digest", "true"),
            (Oci, "tar", "false"),
            (Image, "annotation-index.a", "b"),
            (Local, "source-date-epoch", "yesterday"),
            (Oci, "source-date-epoch", "9223372036854775807"),
            (Local, "platform-split", "true"),
        ] {
            let error = spec(kind, &[(name, value)]).check().unwrap_err();
            assert!(!error.to_string().is_empty());
        }
        for (kind, name, value) in [
            (Image, "push", "true"),
            (Image, "name", "a,b"),
            (Oci, "compression", "uncompressed"),
            (Image, "compression", "zstd"),
            (Docker, "compression-level", "9"),
            (Tar, "rewrite-timestamp", "false"),
            (Docker, "rewrite-timestamp", "1"),
        ] {
            spec(kind, &[(name, value)]).check().unwrap();
        }
    }

    #[test]
    fn archives_are_compressed_and_images_where_it_is_asked_for() {
        use ExporterKind::{Docker, Image, Oci, Tar};
        let read = |kind, attrs: &[(&str, &str)]| spec(kind, attrs).compression().unwrap();
        let wanted = |form, level, force| Some(LayerCompression { form, level, force });
        let gzip = wanted(LayerForm::Gzip, None, false);
        assert_eq!(read(Oci, &[]), gzip);
        assert_eq!(read(Docker, &[("compression", "gzip")]), gzip);
        assert_eq!(read(Image, &[("compression", "gzip")]), None);
        assert_eq!(read(Tar, &[]), None);
        let best = [("compression", "zstd"), ("compression-level", "22")];
        assert_eq!(read(Image, &best), wanted(LayerForm::Zstd, Some(22), false));
        let forced = [("compression", "uncompressed"), ("force-compression", "1")];
        assert_eq!(read(Oci, &forced), wanted(LayerForm::Plain, None, true));
    }

    #[test]
    fn annotations_go_where_they_belong() {
        let host = arca_types::Platform::host();
        let own = format!("annotation-manifest[{host}].c");
        let all = spec(
            ExporterKind::Oci,
            &[
                ("annotation.a.b", "1"),
                (&own, "2"),
                ("annotation[windows/amd64].d", "3"),
                ("annotation-manifest-descriptor.e", "4"),
            ],
        );
        let all = all.annotations().unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            all.manifest,
            BTreeMap::from([pair("a.b", "1"), pair("c", "2")])
        );
        assert_eq!(all.descriptor, BTreeMap::from([pair("e", "4")]));
    }
}
