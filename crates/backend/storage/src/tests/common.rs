//! A storage of its own, and archives to fill it with.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::{Config, Driver, Layer, LayerSource, Lease, Storage};
use arca_archive::{PackFormat, PackOptions, pack};
use arca_store::Store;
use arca_types::Digest;
use bytes::Bytes;
use sha2::Digest as _;
use tempfile::TempDir;

/// A storage in a directory of its own.
pub(super) struct Fixture {
    dir: TempDir,
    driver: Option<Driver>,
    pub(super) storage: Storage,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    pub(super) fn with(driver: Option<Driver>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir, driver);
        Self {
            dir,
            driver,
            storage,
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// As after a restart of the daemon.
    pub(super) fn restart(&mut self) {
        self.restart_after("");
    }

    /// As after a restart before which somebody changed the database.
    pub(super) fn restart_after(&mut self, sql: &str) {
        let elsewhere = tempfile::tempdir().unwrap();
        self.storage = open(&elsewhere, self.driver);
        let database = rusqlite::Connection::open(self.dir.path().join("arca.db")).unwrap();
        database.execute_batch(sql).unwrap();
        drop(database);
        self.storage = open(&self.dir, self.driver);
    }

    pub(super) async fn ingest(&self, lease: &Lease, blob: &[u8]) -> Layer {
        let mut ingest = self.storage.ingest_layer(lease, LayerSource::default());
        ingest.write(Bytes::copy_from_slice(blob)).await.unwrap();
        ingest.finish().await.unwrap()
    }

    /// Waits until all work that was begun has ended and the trash is empty.
    pub(super) async fn until_idle(&self) {
        // Whatever works on the storage holds it, as do leases.
        let inner = &self.storage.inner;
        let at_work = || std::sync::Arc::strong_count(inner) > 1 + inner.state().leases.len();
        while at_work() || self.count("tmp") > 0 || self.count("trash") > 0 {
            tokio::task::yield_now().await;
            self.storage.reclaimed().await.unwrap();
        }
    }

    pub(super) fn count(&self, directory: &str) -> usize {
        std::fs::read_dir(self.dir.path().join(directory))
            .unwrap()
            .count()
    }

    /// Nothing is left but the two layers that are always there: the one below all, and the empty one.
    pub(super) fn assert_empty(&self) {
        let counts = ["tmp", "trash", "layers", "snapshots", "blobs/sha256"]
            .map(|directory| self.count(directory));
        assert_eq!(counts, [0, 0, 2, 0, 0]);
    }
}

fn open(dir: &TempDir, driver: Option<Driver>) -> Storage {
    let store = Store::open(dir.path().join("arca.db")).unwrap();
    Storage::open(
        Config {
            root: dir.path().to_owned(),
            driver,
            size: None,
        },
        store,
    )
    .unwrap()
}

/// The archive of a layer with these files.
pub(super) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The archive of a directory.
pub(super) fn packed(directory: &TempDir) -> Vec<u8> {
    let mut bytes = Vec::new();
    let root = arca_archive::open_root(directory.path()).unwrap();
    pack(
        root,
        &mut bytes,
        PackOptions {
            format: PackFormat::Layer,
            owner: None,
            mtime: None,
        },
    )
    .unwrap();
    bytes
}

pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

pub(super) fn sha256(data: &[u8]) -> Digest {
    Digest::sha256(&sha2::Sha256::digest(data).into())
}

/// Reads a file of a merged view.
pub(super) fn read(root: &OwnedFd, path: &str) -> String {
    let flags = rustix::fs::OFlags::RDONLY;
    let file = arca_archive::open_in_root(root, path.as_bytes(), flags).unwrap();
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).unwrap();
    text
}
