//! Images into an archive (`ImageGet`): OCI's layout, and the documents that Docker's `load` reads.
//!
//! Blobs go into it byte for byte as they came. The same images give the same archive each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use arca_registry::{Descriptor, media_type};
use arca_types::{Digest, Platform, Reference, Repository};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::images::Images;
use crate::index::{Entry, Index, as_id};
use crate::layout::{
    ArchivedImage, INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutIndex, MANIFEST_FILE, NAME_ANNOTATION,
    REF_ANNOTATION, REPOSITORIES_FILE, blob_path,
};
use crate::tarstream::ByteStream;

/// Bytes that are read at a time.
const PORTION: usize = 1024 * 1024;
/// Portions that wait for the client.
const WAITING: usize = 4;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaveRequest {
    /// Names and IDs. A bare repository means all its tags.
    pub names: Vec<String>,
    /// Only images of this platform.
    pub platform: Option<Platform>,
}

/// An image and the names it is saved under.
struct Selected {
    entry: Arc<Entry>,
    names: Vec<Reference>,
}

/// One member of the archive.
#[derive(Debug)]
enum Member {
    Directory(&'static str),
    Document(&'static str, Vec<u8>),
    /// With its size, and when it was made: a configuration has the time of its image.
    Blob(Digest, File, u64, i64),
}

impl Images {
    /// Returns an archive of images, which is made while it is read.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoExportTarget`]; failures of storage.
    pub async fn save(&self, request: &SaveRequest) -> Result<ByteStream, Error> {
        let index = self.index();
        let mut selected: Vec<Selected> = Vec::new();
        for name in &request.names {
            select(&index, name, request.platform.as_ref(), &mut selected)?;
        }
        let members = self.members(&selected, true)?;
        for Selected { entry, .. } in &selected {
            let event = Self::event_of(entry, "save");
            self.inner.backends.events.publish(event).await;
        }
        Ok(stream(members))
    }

    /// As [`Images::save`], of one image, which may be one that nobody knows; without Docker's documents
    /// unless `docker` says so.
    pub(crate) fn archive(
        &self,
        entry: Arc<Entry>,
        names: Vec<Reference>,
        docker: bool,
    ) -> Result<ByteStream, Error> {
        let selected = [Selected { entry, names }];
        Ok(stream(self.members(&selected, docker)?))
    }

    /// Opens all content and makes the documents, so that nothing is missing once the archive has begun.
    fn members(&self, selected: &[Selected], docker: bool) -> Result<Vec<Member>, Error> {
        let mut blobs: BTreeSet<Digest> = BTreeSet::new();
        let mut made: BTreeMap<Digest, i64> = BTreeMap::new();
        for Selected { entry, .. } in selected {
            let created = entry
                .record
                .created
                .map_or(0, arca_types::Timestamp::seconds);
            made.insert(entry.id.digest().clone(), created.max(0));
            blobs.insert(entry.id.digest().clone());
            blobs.insert(entry.record.manifest.digest.clone());
            blobs.extend(
                entry
                    .record
                    .layers
                    .iter()
                    .map(|layer| layer.blob.digest.clone()),
            );
        }
        let mut members = vec![
            Member::Directory("blobs/"),
            Member::Directory("blobs/sha256/"),
        ];
        for digest in blobs {
            let (size, file) = self.open_content(&digest)?;
            let made = made.get(&digest).copied().unwrap_or_default();
            members.push(Member::Blob(digest, file, size, made));
        }
        members.push(Member::Document(
            INDEX_FILE,
            json(&index_document(selected))?,
        ));
        let layout = Member::Document(LAYOUT_FILE, LAYOUT.to_vec());
        if !docker {
            members.push(layout);
            return Ok(members);
        }
        members.push(Member::Document(
            MANIFEST_FILE,
            json(&manifest_document(selected))?,
        ));
        members.push(layout);
        let repositories = repositories_document(selected);
        if !repositories.is_empty() {
            members.push(Member::Document(REPOSITORIES_FILE, json(&repositories)?));
        }
        Ok(members)
    }

    /// Opens content that has to be here; with its bytes.
    pub(crate) fn open_content(&self, digest: &Digest) -> Result<(u64, File), Error> {
        let info = self.storage().blob(digest);
        let size = info.ok_or_else(|| Error::Content(digest.to_string()))?.size;
        let file = self.storage().open_blob(digest).map_err(Error::Storage)?;
        Ok((size, file))
    }
}

/// The archive, which is made while it is read.
fn stream(members: Vec<Member>) -> ByteStream {
    let (output, mut archive) = mpsc::channel(WAITING);
    // Ends with its channel: when the client is gone, or all is written.
    let _writer = tokio::task::spawn_blocking(move || {
        if let Err(error) = write(members, &output)
            && output.blocking_send(Err(error)).is_err()
        {
            tracing::debug!("the client of an archive is gone");
        }
    });
    Box::pin(futures_util::stream::poll_fn(move |context| {
        archive.poll_recv(context)
    }))
}

/// Adds what a name stands for to the selection.
fn select(
    index: &Index,
    name: &str,
    platform: Option<&Platform>,
    selected: &mut Vec<Selected>,
) -> Result<(), Error> {
    let repository = match as_id(name) {
        Some(_) => None,
        None => name.parse::<Repository>().ok(),
    };
    let tags: Vec<_> = index
        .names
        .values()
        .filter(|found| Some(found.reference.repository()) == repository.as_ref())
        .filter(|found| !found.is_digest())
        .map(|found| found.reference.clone())
        .collect();
    for tag in &tags {
        let text = tag.to_string();
        add(index, &text, Some(tag.clone()), platform, selected)?;
    }
    if !tags.is_empty() {
        return Ok(());
    }
    let by_name = name
        .parse::<Reference>()
        .ok()
        .filter(|reference| reference.digest().is_none() && index.name(reference).is_some());
    add(index, name, by_name, platform, selected)
}

fn add(
    index: &Index,
    text: &str,
    name: Option<Reference>,
    platform: Option<&Platform>,
    selected: &mut Vec<Selected>,
) -> Result<(), Error> {
    let entry = index.find(text, platform).map_err(|error| match error {
        Error::NotFound(_) => Error::NotFound(text.to_owned()),
        Error::WrongPlatform { wanted, .. } => Error::NoExportTarget(*wanted),
        other => other,
    })?;
    let position = selected
        .iter()
        .position(|selected| selected.entry.id == entry.id);
    match position.and_then(|at| selected.get_mut(at)) {
        Some(selected) => {
            let new = name.filter(|name| !selected.names.contains(name));
            selected.names.extend(new);
        }
        None => selected.push(Selected {
            entry,
            names: name.into_iter().collect(),
        }),
    }
    Ok(())
}

fn json<T: serde::Serialize>(document: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(Error::Manifest)
}

fn index_document(selected: &[Selected]) -> LayoutIndex {
    let mut manifests = Vec::new();
    for Selected { entry, names } in selected {
        let plain = entry.record.manifest.clone();
        if names.is_empty() {
            manifests.push(plain.clone());
        }
        manifests.extend(names.iter().map(|name| {
            let mut annotations = plain.annotations.clone();
            annotations.insert(NAME_ANNOTATION.to_owned(), name.to_string());
            annotations.insert(
                REF_ANNOTATION.to_owned(),
                name.tag().unwrap_or_default().to_owned(),
            );
            Descriptor {
                annotations,
                ..plain.clone()
            }
        }));
    }
    LayoutIndex {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests,
    }
}

fn manifest_document(selected: &[Selected]) -> Vec<ArchivedImage> {
    let image = |selected: &Selected| {
        let layers = &selected.entry.record.layers;
        let sources = layers
            .iter()
            .map(|layer| (layer.diff_id.to_string(), layer.blob.clone()));
        let tags: Vec<String> = selected.names.iter().map(Reference::familiar).collect();
        ArchivedImage {
            config: blob_path(selected.entry.id.digest()),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers: Some(
                layers
                    .iter()
                    .map(|layer| blob_path(&layer.blob.digest))
                    .collect(),
            ),
            layer_sources: Some(sources.collect()),
        }
    };
    selected.iter().map(image).collect()
}

/// The topmost layer of each tag.
fn repositories_document(selected: &[Selected]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Selected { entry, names } in selected {
        let Some(top) = entry.record.layers.last() else {
            continue;
        };
        for name in names {
            let tags = repositories
                .entry(name.repository().familiar())
                .or_default();
            tags.insert(
                name.tag().unwrap_or_default().to_owned(),
                top.blob.digest.hex().to_owned(),
            );
        }
    }
    repositories
}

/// Writes the archive; ends early when nobody reads it any more.
fn write(members: Vec<Member>, output: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let send = |bytes: Vec<u8>| output.blocking_send(Ok(Bytes::from(bytes))).is_ok();
    for member in members {
        let goes_on = match member {
            Member::Directory(path) => send(header(path, 0, true, 0)),
            Member::Document(path, content) => {
                let mut bytes = header(path, content.len() as u64, false, 0);
                bytes.extend_from_slice(&content);
                bytes.resize(bytes.len().next_multiple_of(512), 0);
                send(bytes)
            }
            Member::Blob(digest, file, size, made) => {
                send(header(&blob_path(&digest), size, false, made)) && copy(file, size, &send)?
            }
        };
        if !goes_on {
            return Ok(());
        }
    }
    send(vec![0; 1024]);
    Ok(())
}

/// Copies a blob and pads it. A file of another length is an error: the header has been sent.
fn copy(mut file: File, size: u64, send: &dyn Fn(Vec<u8>) -> bool) -> io::Result<bool> {
    let mut left = size;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PORTION).min(PORTION);
        let mut portion = vec![0; length];
        file.read_exact(&mut portion)?;
        left -= length as u64;
        if left == 0 {
            let padding = size.next_multiple_of(512) - size;
            portion.resize(length + usize::try_from(padding).unwrap_or(0), 0);
        }
        if !send(portion) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A header of an archive that depends on nothing but its content: root's, of `made` (seconds since 1970).
fn header(path: &str, size: u64, directory: bool, made: i64) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        let field = block.get_mut(at..at + bytes.len());
        field
            .into_iter()
            .for_each(|field| field.copy_from_slice(bytes));
    };
    put(0, path.as_bytes());
    put(
        100,
        if directory {
            b"0000755\0"
        } else {
            b"0000644\0"
        },
    );
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    // Twelve digits hold 64 GiB; GNU's binary form holds the rest.
    if size < 0o100_000_000_000 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(
        136,
        format!("{:011o}\0", made.min(0o77_777_777_777)).as_bytes(),
    );
    put(148, b"        ");
    put(156, if directory { b"5" } else { b"0" });
    put(257, b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let text = format!("{sum:06o}\0 ");
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(text.as_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarstream::checksum_is_right;

    #[test]
    fn headers_are_right_for_all_sizes() {
        for size in [0, 5, 0o77_777_777_777, 0o100_000_000_000, 1 << 40] {
            assert!(checksum_is_right(&header("x", size, false, 0)), "{size}");
        }
    }
}
