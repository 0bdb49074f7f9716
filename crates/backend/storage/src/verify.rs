//! Is what is kept still what its digest says? And taking away what is not.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arca_archive::{ExtractOptions, PackFormat, PackOptions, Whiteouts, extract, open_root, pack};
use arca_store::Batch;
use arca_types::{DiffId, Digest};

use crate::digest::Hasher;
use crate::error::Error;
use crate::ingest::{Compression, decoder};
use crate::record::{BlobRecord, LayerRecord};
use crate::storage::{Inner, Storage};

/// What a check of one blob or layer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It is what it should be.
    Sound,
    /// It is not there.
    Missing,
    /// It is something else, or cannot be read; says why.
    Damaged(String),
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Unpacked layers.
    pub layers: Vec<DiffId>,
}

/// Damaged content that nobody finds any more: new content may take its place.
#[derive(Debug)]
pub struct Aside {
    inner: Arc<Inner>,
    file: PathBuf,
    what: What,
}

#[derive(Debug)]
enum What {
    Blob(Digest, BlobRecord),
    Layer(DiffId, LayerRecord),
}

impl Storage {
    /// Lists what is kept, in order.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let state = self.inner.state();
        let mut contents = Contents {
            blobs: state.blobs.keys().cloned().collect(),
            layers: state.layers.keys().cloned().collect(),
        };
        drop(state);
        contents.blobs.sort();
        contents.layers.sort();
        contents
    }

    /// Takes the digest of a blob again.
    ///
    /// # Errors
    /// [`Error::Panicked`]; what is wrong with the blob is no error.
    pub async fn check_blob(&self, digest: &Digest) -> Result<Check, Error> {
        let digest = digest.clone();
        self.blocking(move |inner| Ok(inner.check_blob(&digest)))
            .await
    }

    /// Unpacks a layer's blob again and compares the two trees: contents, owners, modes, times, attributes.
    ///
    /// # Errors
    /// [`Error::Panicked`]; what is wrong with the layer is no error.
    pub async fn check_layer(&self, diff_id: &DiffId) -> Result<Check, Error> {
        let diff_id = diff_id.clone();
        self.blocking(move |inner| Ok(inner.check_layer(&diff_id)))
            .await
    }

    /// Takes a damaged blob out of sight. `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Store`].
    pub async fn set_aside_blob(&self, digest: &Digest) -> Result<Option<Aside>, Error> {
        let (this, digest) = (Arc::clone(&self.inner), digest.clone());
        self.blocking(move |inner| {
            let _changing = inner.changing();
            let Some(record) = inner.state().blobs.get(&digest).cloned() else {
                return Ok(None);
            };
            let batch = Batch::new().delete::<BlobRecord>(digest.as_str());
            let file = inner.aside(&inner.paths.blob(&digest), batch)?;
            inner.state().blobs.remove(&digest);
            let what = What::Blob(digest, record);
            Ok(Some(Aside {
                inner: this,
                file,
                what,
            }))
        })
        .await
    }

    /// Takes a damaged layer out of sight. `None` when there is none, or a container stands on it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Store`].
    pub async fn set_aside_layer(&self, diff_id: &DiffId) -> Result<Option<Aside>, Error> {
        let (this, diff_id) = (Arc::clone(&self.inner), diff_id.clone());
        self.blocking(move |inner| {
            let _changing = inner.changing();
            let Some(record) = inner.idle_layer(&diff_id) else {
                return Ok(None);
            };
            let batch = Batch::new().delete::<LayerRecord>(diff_id.as_str());
            let file = inner.aside(&inner.paths.layer(record.number), batch)?;
            inner.state().layers.remove(&diff_id);
            let what = What::Layer(diff_id, record);
            Ok(Some(Aside {
                inner: this,
                file,
                what,
            }))
        })
        .await
    }
}

impl Aside {
    /// Deletes it: something better has taken its place.
    pub fn discard(self) {
        self.inner.discard(&self.file);
    }

    /// Puts it back, as damaged as it is, unless something has taken its place.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Store`].
    pub async fn put_back(self) -> Result<(), Error> {
        let done = tokio::task::spawn_blocking(move || self.restore()).await;
        done.unwrap_or(Err(Error::Panicked))
    }

    fn restore(self) -> Result<(), Error> {
        let inner = &self.inner;
        let _changing = inner.changing();
        let (there, target) = match &self.what {
            What::Blob(digest, _) => (inner.blob(digest).is_some(), inner.paths.blob(digest)),
            What::Layer(diff_id, record) => (
                inner.layer(diff_id).is_some(),
                inner.paths.layer(record.number),
            ),
        };
        if there {
            inner.discard(&self.file);
            return Ok(());
        }
        std::fs::rename(&self.file, &target).map_err(Error::io("rename", &self.file))?;
        let batch = Batch::new();
        let batch = match &self.what {
            What::Blob(digest, record) => batch.put(digest.as_str(), record),
            What::Layer(diff_id, record) => batch.put(diff_id.as_str(), record),
        };
        inner.commit(batch.map_err(Error::Store)?)?;
        let mut state = inner.state();
        match self.what {
            What::Blob(digest, record) => drop(state.blobs.insert(digest, record)),
            What::Layer(diff_id, record) => drop(state.layers.insert(diff_id, record)),
        }
        Ok(())
    }
}

impl Inner {
    /// A layer that no snapshot stands on.
    fn idle_layer(&self, diff_id: &DiffId) -> Option<LayerRecord> {
        let state = self.state();
        let mut snapshots = state.snapshots.values();
        if snapshots.any(|snapshot| snapshot.layers.contains(diff_id)) {
            return None;
        }
        state.layers.get(diff_id).cloned()
    }

    /// Moves something into `tmp/` and forgets its row.
    fn aside(&self, from: &Path, batch: Batch) -> Result<PathBuf, Error> {
        let file = self.tmp();
        match std::fs::rename(from, &file) {
            Ok(()) => {}
            // Its file is what it lacks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("rename", from)(error)),
        }
        self.commit(batch)?;
        Ok(file)
    }

    fn check_blob(&self, digest: &Digest) -> Check {
        let Some(blob) = self.blob(digest) else {
            return Check::Missing;
        };
        let actual = File::open(&blob.path).and_then(|file| {
            let mut hasher = Hasher::of(Some(digest));
            let mut input = BufReader::with_capacity(256 << 10, file);
            copy(&mut input, &mut hasher)?;
            Ok(hasher.digest())
        });
        match actual {
            Ok(actual) if actual == *digest => Check::Sound,
            Ok(actual) => Check::Damaged(format!("its digest is {actual}")),
            Err(_) if self.blob(digest).is_none() => Check::Missing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Check::Damaged("its file is gone".to_owned())
            }
            Err(error) => Check::Damaged(format!("it cannot be read: {error}")),
        }
    }

    fn check_layer(&self, diff_id: &DiffId) -> Check {
        let Some(number) = self.state().layers.get(diff_id).map(|layer| layer.number) else {
            return Check::Missing;
        };
        let fresh = self.tmp();
        let compared = self.unpack_again(diff_id, &fresh).and_then(|()| {
            let kept = tree_digest(&self.paths.layer(number))?;
            Ok(kept == tree_digest(&fresh)?)
        });
        self.discard(&fresh);
        match compared {
            Ok(true) => Check::Sound,
            Ok(false) => Check::Damaged("its files are not those of its archive".to_owned()),
            Err(_) if self.layer(diff_id).is_none() => Check::Missing,
            Err(error) => Check::Damaged(arca_types::chain(&error)),
        }
    }

    /// Unpacks the blob of a layer into a new directory.
    fn unpack_again(&self, diff_id: &DiffId, target: &Path) -> Result<(), Error> {
        let layer = self.layer(diff_id);
        let layer = layer.ok_or_else(|| Error::NoLayer(diff_id.clone()))?;
        let blob = self.blob(&layer.blob);
        let blob = blob.ok_or_else(|| Error::NoBlob(layer.blob.clone()))?;
        let file = File::open(&blob.path).map_err(Error::io("open", &blob.path))?;
        let input = BufReader::with_capacity(256 << 10, file);
        let mut archive = Measured {
            inner: decoder(input, Compression::Auto)?,
            hasher: Hasher::of(Some(diff_id.digest())),
        };
        std::fs::create_dir(target).map_err(Error::io("create", target))?;
        std::fs::set_permissions(target, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(Error::io("create", target))?;
        let root = open_root(target).map_err(Error::io("open", target))?;
        let options = ExtractOptions {
            whiteouts: Whiteouts::Overlay,
            ..ExtractOptions::default()
        };
        let mut input = BufReader::with_capacity(256 << 10, &mut archive);
        extract(&mut input, &root, &options).map_err(Error::Layer)?;
        copy(&mut input, &mut io::sink()).map_err(Error::Decompress)?;
        drop(input);
        let actual = archive.hasher.digest();
        if actual == *diff_id.digest() {
            return Ok(());
        }
        let (expected, actual) = (diff_id.to_string(), actual.to_string());
        Err(Error::DiffId { expected, actual })
    }
}

/// What is read, and its digest.
struct Measured<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies to the end.
fn copy(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => output.write_all(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digest of everything that makes a tree: that of the archive it would become.
fn tree_digest(tree: &Path) -> Result<Digest, Error> {
    let root = open_root(tree).map_err(Error::io("open", tree))?;
    let mut hasher = Hasher::of(None);
    let options = PackOptions {
        format: PackFormat::Layer,
        owner: None,
        mtime: None,
    };
    pack(root, &mut hasher, options).map_err(Error::Tree)?;
    Ok(hasher.digest())
}
