//! Another name for an image (`ImageTag`).

use arca_types::{Reference, ReferenceError, Repository};

use crate::error::Error;
use crate::images::{Change, Images};
use crate::record::NameRecord;

/// Joins the `repo` and `tag` of a request: `repo` may have a tag of its own, which `tag` replaces.
/// `None` when there is no `repo`.
pub(crate) fn target(repo: &str, tag: &str) -> Result<Option<Reference>, Error> {
    if repo.is_empty() {
        return Ok(None);
    }
    let reference: Reference = repo.parse()?;
    if reference.digest().is_some() {
        return Err(Error::DigestReference);
    }
    if tag.is_empty() {
        return Ok(Some(reference));
    }
    with_tag(reference.repository().clone(), tag).map(Some)
}

pub(crate) fn with_tag(repository: Repository, tag: &str) -> Result<Reference, Error> {
    Reference::tagged(repository, tag).map_err(|error: ReferenceError| match error {
        ReferenceError::Format => Error::Tag,
        other => Error::Reference(other),
    })
}

/// A tag that reads like a digest would be ambiguous.
pub(crate) fn check_name(reference: &Reference) -> Result<(), Error> {
    match reference.repository().familiar().as_str() {
        "sha256" => Err(Error::AmbiguousTag),
        _ => Ok(()),
    }
}

impl Images {
    /// Gives the image `source` the name `repo:tag`. The name may have stood for another image. Nothing
    /// happens when `repo` is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] for `source`; [`Error::Reference`], [`Error::Tag`], [`Error::DigestReference`],
    /// [`Error::AmbiguousTag`] for the name.
    pub async fn tag(&self, source: &str, repo: &str, tag: &str) -> Result<(), Error> {
        let Some(reference) = target(repo, tag)? else {
            return Ok(());
        };
        check_name(&reference)?;
        self.change(|images, index| {
            let entry = index.find(source, None)?;
            let name = NameRecord {
                target: entry.record.manifest.clone(),
                images: vec![entry.id.clone()],
            };
            let mut record = entry.record.clone();
            record.last_tagged = Some(images.inner.backends.clock.now());
            let event = Self::event_of(&entry, "tag").with("name", reference.familiar());
            let change = Change::on(index)
                .put_name(&reference, name)?
                .put_image(&entry.id, record)?
                .event(&images.inner.backends.events, event)?;
            Ok((change, ()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_a_tag_is_checked_in_dockerds_words() {
        let digest = "a".repeat(64);
        for (repo, tag, wanted) in [
            (
                "FOO",
                "",
                "invalid reference format: repository name (library/FOO) must be lowercase",
            ),
            ("foo", "-bad", "invalid tag format"),
            (
                &format!("foo@sha256:{digest}"),
                "",
                "cannot import digest reference",
            ),
            (
                &digest,
                "",
                &format!(
                    "invalid repository name ({digest}), cannot specify 64-byte hexadecimal strings"
                ),
            ),
        ] {
            assert_eq!(target(repo, tag).unwrap_err().to_string(), wanted);
        }
        assert_eq!(target("foo:x", "y").unwrap().unwrap().familiar(), "foo:y");
        assert_eq!(target("foo", "").unwrap().unwrap().familiar(), "foo:latest");
        assert!(target("", "x").unwrap().is_none());
        let error = check_name(&target("sha256", "").unwrap().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "refusing to create an ambiguous tag using digest algorithm as name"
        );
    }
}
