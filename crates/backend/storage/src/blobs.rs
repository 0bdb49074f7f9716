//! Blobs.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use arca_store::Batch;
use arca_types::Digest;

use crate::digest::Hasher;
use crate::error::Error;
use crate::lease::Lease;
use crate::record::BlobRecord;
use crate::storage::{Inner, Storage};

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its size in bytes.
    pub size: u64,
    /// The file it is in, which nobody may change.
    pub path: PathBuf,
}

impl Storage {
    /// Looks for a blob. [`Lease::blob`] also keeps it from being collected.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<BlobInfo> {
        self.inner.blob(digest)
    }

    /// Opens a blob to read it. It does not block for long.
    ///
    /// # Errors
    /// [`Error::NoBlob`] when there is none, [`Error::Io`] when its file cannot be opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let blob = self
            .inner
            .blob(digest)
            .ok_or_else(|| Error::NoBlob(digest.clone()))?;
        File::open(&blob.path).map_err(Error::io("open", &blob.path))
    }

    /// Reads a whole blob, for manifests and configurations.
    ///
    /// # Errors
    /// As [`open_blob`](Self::open_blob).
    pub async fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let digest = digest.clone();
        self.blocking(move |inner| {
            let blob = inner
                .blob(&digest)
                .ok_or_else(|| Error::NoBlob(digest.clone()))?;
            std::fs::read(&blob.path).map_err(Error::io("read", &blob.path))
        })
        .await
    }

    /// Stores a small blob, such as a manifest, and holds it under `lease`. Returns its digest.
    ///
    /// # Errors
    /// [`Error::Content`] when the content does not have the digest `expected`, [`Error::Io`],
    /// [`Error::Store`].
    pub async fn put_blob(
        &self,
        lease: &Lease,
        expected: Option<&Digest>,
        content: &[u8],
    ) -> Result<Digest, Error> {
        let mut hasher = Hasher::of(expected);
        hasher.update(content);
        let actual = hasher.digest();
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(Error::Content {
                expected: expected.clone(),
                actual,
            });
        }
        if lease.blob(&actual).is_some() {
            return Ok(actual);
        }
        let (digest, content) = (actual.clone(), content.to_vec());
        let holder = lease.number();
        self.blocking(move |inner| inner.put_blob(holder, &digest, &content))
            .await?;
        Ok(actual)
    }
}

impl Inner {
    pub(crate) fn blob(&self, digest: &Digest) -> Option<BlobInfo> {
        let size = self.state().blobs.get(digest)?.size;
        Some(BlobInfo {
            size,
            path: self.paths.blob(digest),
        })
    }

    fn put_blob(&self, lease: u64, digest: &Digest, content: &[u8]) -> Result<(), Error> {
        let path = self.tmp();
        let failed = |action| Error::io::<std::io::Error>(action, &path);
        let mut file = File::create_new(&path).map_err(failed("create"))?;
        file.write_all(content).map_err(failed("write"))?;
        let _changing = self.changing();
        if !self.state().leases.contains_key(&lease) {
            // Who gave the blob up has collected already: nobody would find it.
            self.discard(&path);
            return Err(Error::Abandoned);
        }
        let batch = self.place_blob(Batch::new(), &path, digest, content.len() as u64)?;
        self.commit(batch)?;
        self.note_blob(digest, content.len() as u64);
        Ok(())
    }

    /// Moves a written file to its place and adds its row. The caller commits, then notes.
    pub(crate) fn place_blob(
        &self,
        batch: Batch,
        file: &std::path::Path,
        digest: &Digest,
        size: u64,
    ) -> Result<Batch, Error> {
        std::fs::rename(file, self.paths.blob(digest)).map_err(Error::io("rename", file))?;
        let record = self.new_blob(size);
        batch.put(digest.as_str(), &record).map_err(Error::Store)
    }

    pub(crate) fn note_blob(&self, digest: &Digest, size: u64) {
        let record = self.new_blob(size);
        self.state().blobs.insert(digest.clone(), record);
    }

    fn new_blob(&self, size: u64) -> BlobRecord {
        BlobRecord {
            size,
            unsynced: Some(self.boot.clone()),
        }
    }
}
