//! Images from registries (`ImageCreate` with `fromImage`).

mod base;
mod fetch;
mod in_flight;

use arca_events::{Event, Type};
use arca_registry::{Auth, Remote, Resolved};
use arca_types::{Digest, ImageId, Platform, Reference, Repository};

use crate::error::Error;
use crate::images::{Change, Images};
use crate::index::Index;
use crate::leftovers::Leftovers;
use crate::progress::{Progress, ProgressSink, tell};
use crate::record::NameRecord;
use crate::tag::with_tag;
pub use base::{Base, Described};
use fetch::Fetched;
pub(crate) use in_flight::InFlight;

/// The name of the image without content, which is nowhere.
const SCRATCH: &str = "scratch";

/// What is to be pulled.
#[derive(Debug, Clone)]
pub struct PullRequest {
    repository: Repository,
    /// One image; all tags when there is none.
    reference: Option<Reference>,
    platform: Option<Platform>,
    auth: Auth,
}

impl PullRequest {
    /// Joins the parameters of a request. `tag` may be a digest and replaces what `from_image` ends in;
    /// all tags are meant when neither says one.
    ///
    /// # Errors
    /// [`Error::Reference`], [`Error::Tag`], [`Error::Reserved`].
    pub fn new(
        from_image: &str,
        tag: &str,
        platform: Option<Platform>,
        auth: Auth,
    ) -> Result<Self, Error> {
        let named: Reference = from_image.parse()?;
        let repository = named.repository().clone();
        if repository.familiar() == SCRATCH {
            return Err(Error::Reserved(SCRATCH));
        }
        let reference = if tag.is_empty() {
            // A bare repository is all that such a name can be.
            let bare = from_image.parse::<Repository>().is_ok();
            (!bare).then_some(named)
        } else if let Ok(digest) = tag.parse::<Digest>() {
            Some(Reference::digested(repository.clone(), digest))
        } else {
            Some(with_tag(repository.clone(), tag)?)
        };
        Ok(Self {
            repository,
            reference,
            platform,
            auth,
        })
    }

    /// The name as the last line of progress shows it.
    fn familiar(&self) -> String {
        match &self.reference {
            Some(reference) => reference.familiar(),
            None => self.repository.familiar(),
        }
    }
}

impl Images {
    /// Pulls an image, or all tags of a repository. An error before the first line of progress is one of
    /// the request; a later one is for the last line of the stream.
    ///
    /// Dropping the future ends the pull; layers that another pull waits for go on.
    ///
    /// # Errors
    /// What the registry says, in dockerd's words; content that is not what its digest says.
    pub async fn pull(&self, request: &PullRequest, sink: &ProgressSink) -> Result<(), Error> {
        let leftovers = Leftovers::of(self);
        leftovers
            .settle(self.pull_request(request, sink).await)
            .await
    }

    async fn pull_request(&self, request: &PullRequest, sink: &ProgressSink) -> Result<(), Error> {
        let registry = &self.inner.backends.registry;
        let remote = registry.remote(&request.repository, request.auth.clone());
        let newer = match &request.reference {
            Some(reference) => self.pull_one(request, &remote, reference, sink).await?,
            None => self.pull_all(request, &remote, sink).await?,
        };
        let name = request.familiar();
        let what = if newer {
            "Downloaded newer image for"
        } else {
            "Image is up to date for"
        };
        tell(sink, Progress::status(format!("Status: {what} {name}"))).await;
        if let Some(warning) = self.platform_warning(request) {
            tell(sink, Progress::status(warning)).await;
        }
        Ok(())
    }

    async fn pull_all(
        &self,
        request: &PullRequest,
        remote: &Remote,
        sink: &ProgressSink,
    ) -> Result<bool, Error> {
        let name = request.repository.familiar();
        let tags = remote
            .tags()
            .await
            .map_err(|error| Error::pull(error, &name, &name))?;
        let mut newer = false;
        for tag in tags {
            let reference = with_tag(request.repository.clone(), &tag)?;
            newer |= self.pull_one(request, remote, &reference, sink).await?;
        }
        Ok(newer)
    }

    /// Pulls one name. Returns whether it stands for something else now.
    async fn pull_one(
        &self,
        request: &PullRequest,
        remote: &Remote,
        reference: &Reference,
        sink: &ProgressSink,
    ) -> Result<bool, Error> {
        let (name, repository) = (reference.familiar(), request.repository.familiar());
        let worded = |error| Error::pull(error, &name, &repository);
        let resolved = remote.resolve(reference).await.map_err(worded)?;
        let target = resolved.descriptor.digest.clone();
        let known = self.known(&request.repository, &resolved, request.platform.as_ref());
        let fetched = match known {
            Some(_) => None,
            None => Some(
                self.read_target(remote, resolved.clone(), reference)
                    .await?,
            ),
        };
        let id = reference
            .digest()
            .map_or_else(|| reference.manifest_selector().to_owned(), |_| name);
        let status = format!("Pulling from {}", request.repository.path());
        tell(
            sink,
            Progress::Status {
                id: Some(id),
                status,
            },
        )
        .await;
        let newer = match (known, fetched) {
            (Some(image), _) => {
                self.touch(&image);
                self.rename(reference, &resolved, image).await?
            }
            (None, Some(document)) => {
                let fetched = self
                    .fetch(remote, document, request.platform.as_ref(), sink)
                    .await?;
                self.commit(reference, &resolved, fetched).await?
            }
            (None, None) => false,
        };
        tell(sink, Progress::status(format!("Digest: {target}"))).await;
        Ok(newer)
    }

    /// The image that the registry's answer stands for, when it is here for the wanted platform.
    fn known(
        &self,
        repository: &Repository,
        resolved: &Resolved,
        platform: Option<&Platform>,
    ) -> Option<ImageId> {
        let digest = &resolved.descriptor.digest;
        let index = self.index();
        let own = Reference::digested(repository.clone(), digest.clone());
        let name = index.name(&own).or_else(|| {
            // The same content under another name is the same content.
            index
                .names
                .values()
                .find(|name| name.record.target.digest == *digest)
        })?;
        let host = Platform::host();
        let wanted = platform.unwrap_or(&host);
        let images: Vec<_> = name
            .record
            .images
            .iter()
            .filter_map(|id| index.images.get(id))
            // What has lost content comes again.
            .filter(|entry| self.is_complete(entry))
            .collect();
        let found = images
            .iter()
            .find(|entry| wanted.runs(&entry.record.platform));
        let single = || {
            // A manifest that is no index has one platform: pulling it again changes nothing.
            let index = arca_registry::media_type::is_index(&name.record.target.media_type);
            if index { None } else { images.first() }
        };
        found.or_else(single).map(|entry| entry.id.clone())
    }

    /// Gives a known image the pulled name. Returns whether that changed anything.
    async fn rename(
        &self,
        reference: &Reference,
        resolved: &Resolved,
        image: ImageId,
    ) -> Result<bool, Error> {
        let index = self.index();
        let (planned, newer) = name_image(Change::on(&index), reference, resolved, &image)?;
        if planned.batch.is_empty() {
            // Nothing to save: no disk to wait for.
            let event = pull_event(&index, reference, &image);
            self.inner.backends.events.publish(event).await;
            return Ok(newer);
        }
        self.change(|images, index| {
            if !index.images.contains_key(&image) {
                // Somebody removed it since it was found.
                return Err(Error::NotFound(image.to_string()));
            }
            let change = Change::on(index);
            let (change, newer) = name_image(change, reference, resolved, &image)?;
            let change = images.pulled(change, index, reference, &image)?;
            Ok((change, newer))
        })
        .await
    }

    /// Makes a pulled image known, with its names: after its content is durable.
    async fn commit(
        &self,
        reference: &Reference,
        resolved: &Resolved,
        fetched: Fetched,
    ) -> Result<bool, Error> {
        self.storage().sync().await.map_err(Error::Storage)?;
        let id = fetched.prepared.id.clone();
        let prepared = fetched.prepared.clone();
        let newer = self
            .change(|images, index| {
                let record = prepared.over(index);
                let change = Change::on(index).put_image(&id, record)?;
                let (change, newer) = name_image(change, reference, resolved, &id)?;
                let after = change.index.clone();
                let change = images.pulled(change, &after, reference, &id)?;
                Ok((change, newer))
            })
            .await?;
        // The leases of the content end here, when the records hold it.
        drop(fetched);
        Ok(newer)
    }

    fn pulled(
        &self,
        change: Change,
        index: &Index,
        reference: &Reference,
        image: &ImageId,
    ) -> Result<Change, Error> {
        let event = pull_event(index, reference, image);
        change.event(&self.inner.backends.events, event)
    }

    /// Warns of an image that is for another platform than the one that was asked for.
    fn platform_warning(&self, request: &PullRequest) -> Option<String> {
        let wanted = request.platform.as_ref()?;
        let name = request.reference.clone().map_or_else(
            || request.repository.to_string(),
            |reference| reference.to_string(),
        );
        match self.index().find(&name, Some(wanted)) {
            Err(Error::WrongPlatform { found, wanted, .. }) => Some(format!(
                "WARNING: image with reference {} was found but its platform ({found}) does not match the specified platform ({wanted})",
                request.familiar()
            )),
            _ => None,
        }
    }
}

fn pull_event(index: &Index, reference: &Reference, image: &ImageId) -> Event {
    let entry = index.images.get(image);
    let labels = entry.and_then(|entry| entry.record.labels.clone());
    Event::new(Type::Image, "pull", reference.familiar())
        .with_all(labels.unwrap_or_default())
        .with("name", reference.repository().familiar())
}

/// Plans the names of a pulled image: the one asked for, and the one with the digest. Returns whether the
/// first is new or stood for something else.
fn name_image(
    mut change: Change,
    reference: &Reference,
    resolved: &Resolved,
    image: &ImageId,
) -> Result<(Change, bool), Error> {
    let digest = resolved.descriptor.digest.clone();
    let canonical = Reference::digested(reference.repository().clone(), digest);
    let tagged = if reference.digest().is_none() {
        Some(reference.clone())
    } else {
        None
    };
    let asked = tagged.as_ref().unwrap_or(&canonical);
    let newer = change
        .index
        .name(asked)
        .is_none_or(|name| name.record.images.first() != Some(image));
    for name in tagged.iter().chain([&canonical]) {
        let old = change.index.name(name).map(|name| name.record.clone());
        let same = old.filter(|old| old.target.digest == resolved.descriptor.digest);
        let mut images = vec![image.clone()];
        images.extend(
            same.iter()
                .flat_map(|old| &old.images)
                .filter(|id| *id != image)
                .cloned(),
        );
        let record = NameRecord {
            target: resolved.descriptor.clone(),
            images,
        };
        if same.as_ref() != Some(&record) {
            change = change.put_name(name, record)?;
        }
    }
    Ok((change, newer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(from: &str, tag: &str) -> Result<Option<String>, String> {
        PullRequest::new(from, tag, None, Auth::Anonymous)
            .map(|request| request.reference.map(|reference| reference.familiar()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_are_joined() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(request("busybox", ""), Ok(None));
        assert_eq!(request("127.0.0.1:5000/busybox", ""), Ok(None));
        assert_eq!(request("busybox", "x"), Ok(Some("busybox:x".to_owned())));
        assert_eq!(request("busybox:y", "x"), Ok(Some("busybox:x".to_owned())));
        assert_eq!(request("busybox:y", ""), Ok(Some("busybox:y".to_owned())));
        assert_eq!(
            request("busybox", &digest),
            Ok(Some(format!("busybox@{digest}")))
        );
        assert_eq!(
            request(&format!("busybox@{digest}"), ""),
            Ok(Some(format!("busybox@{digest}")))
        );
        assert_eq!(
            request("busybox", "sha256:abc"),
            Err("invalid tag format".to_owned())
        );
        assert_eq!(
            request("UPPER", ""),
            Err(
                "invalid reference format: repository name (library/UPPER) must be lowercase"
                    .to_owned()
            )
        );
    }
}
