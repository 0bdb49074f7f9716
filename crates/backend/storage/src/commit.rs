//! From a snapshot to a layer, without unpacking: what was written is archived once, for its digest, and
//! becomes the layer as it is.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use arca_archive::{PackFormat, PackOptions, open_root, pack, tree_size};
use arca_store::Batch;
use arca_types::{Algorithm, ContainerId, DiffId};
use rustix::fs::{Mode, OFlags};

use crate::digest::Hasher;
use crate::error::Error;
use crate::ingest::{Candidate, Layer, LayerSource};
use crate::lease::Lease;
use crate::record::{Driver, SnapshotRecord};
use crate::storage::{Inner, Storage};

impl Storage {
    /// Makes a layer of what was written into a snapshot, which ends with it. Nobody may be using the
    /// snapshot any more. When nothing was written it is a layer without entries.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`]; [`Error::NotOverlay`] for another driver; [`Error::Io`], [`Error::Layer`],
    /// [`Error::Store`]. The snapshot stays then, perhaps without its contents.
    pub async fn commit(&self, lease: &Lease, id: &ContainerId) -> Result<Layer, Error> {
        let (id, holder) = (id.clone(), lease.number());
        self.blocking(move |inner| inner.commit_snapshot(holder, &id))
            .await
    }
}

impl Inner {
    fn commit_snapshot(&self, lease: u64, id: &ContainerId) -> Result<Layer, Error> {
        let record = self.snapshot(id)?;
        if record.driver != Driver::Overlay {
            return Err(Error::NotOverlay);
        }
        let upper = self.paths.snapshot(record.number).join("upper");
        let (candidate, layer) = self.archive(upper)?;
        let layer = candidate.publish(self, lease, &LayerSource::default(), layer)?;
        let _changing = self.changing();
        self.commit(Batch::new().delete::<SnapshotRecord>(id.as_str()))?;
        self.state().snapshots.remove(id.as_str());
        self.discard(&self.paths.snapshot(record.number));
        Ok(layer)
    }

    /// Archives an upper directory.
    fn archive(&self, upper: PathBuf) -> Result<(Candidate<'_>, Layer), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened =
            rustix::fs::open(&upper, flags, Mode::empty()).map_err(Error::io("read", &upper))?;
        let size = tree_size(opened).map_err(Error::io("read", &upper))?;
        let root = open_root(&upper).map_err(Error::io("read", &upper))?;
        let candidate = Candidate::of(self, upper);
        let path = &candidate.file;
        let file = std::fs::File::create_new(path).map_err(Error::io("create", path))?;
        let mut out = Hashing {
            out: BufWriter::with_capacity(256 << 10, file),
            hasher: Hasher::new(Algorithm::Sha256),
            written: 0,
        };
        let options = PackOptions {
            format: PackFormat::Layer,
            owner: None,
            mtime: None,
        };
        pack(root, &mut out, options).map_err(Error::Layer)?;
        let digest = out.hasher.digest();
        let layer = Layer {
            diff_id: DiffId(digest.clone()),
            blob: digest,
            blob_size: out.written,
            size,
        };
        Ok((candidate, layer))
    }
}

/// Takes the digest of what passes.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
    written: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(data)?;
        self.hasher.update(data.get(..written).unwrap_or_default());
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
