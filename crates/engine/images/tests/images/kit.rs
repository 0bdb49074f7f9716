//! Images to pull, and an engine of a test's own.

use std::sync::Arc;
use std::time::Duration;

use arca_events::{Event, Events, Filter, Range};
use arca_images::{
    Auth, Backends, ByteStream, Error, Filters, Images, ListFilters, ListOptions, LoadRequest,
    Progress, PullRequest, PushRequest, Summary,
};
use arca_registry::{Config, Registry};
use arca_storage::Storage;
use arca_store::Store;
use arca_types::{Clock, Digest, SystemClock, Timestamp};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&Sha256::digest(bytes).into())
}

/// An archive of one file.
pub(crate) fn tar(path: &str, content: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive
        .append_data(&mut header, path, content.as_bytes())
        .unwrap();
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image as a registry has it.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) config: Vec<u8>,
    /// Plain archives.
    pub(crate) layers: Vec<Vec<u8>>,
    /// As they are stored.
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
}

impl Sample {
    /// An image whose layers hold one file each, of these names.
    pub(crate) fn new(files: &[&str]) -> Self {
        Self::with(files, "amd64", "")
    }

    pub(crate) fn with(files: &[&str], architecture: &str, extra: &str) -> Self {
        let layers: Vec<_> = files
            .iter()
            .map(|name| tar(name, &format!("content of {name}")))
            .collect();
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|layer| format!("\"{}\"", digest(layer)))
            .collect();
        let history: Vec<_> = files
            .iter()
            .map(|name| format!(r#"{{"created_by":"ADD {name}"}}"#))
            .collect();
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","created":"2024-01-0{}T00:00:00Z",{extra}"config":{{"Cmd":["sh"],"Labels":{{"first":"{}"}}}},"rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[{}]}}"#,
            files.len(),
            files.first().unwrap_or(&""),
            diff_ids.join(","),
            history.join(",")
        );
        Self::of(config.into_bytes(), layers)
    }

    pub(crate) fn of(config: Vec<u8>, layers: Vec<Vec<u8>>) -> Self {
        let blobs: Vec<_> = layers.iter().map(|layer| gzip(layer)).collect();
        let entries: Vec<_> = blobs
            .iter()
            .map(|blob| {
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}}"#,
                    digest(blob),
                    blob.len()
                )
            })
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}]}}"#,
            digest(&config),
            config.len(),
            entries.join(",")
        );
        Self {
            config,
            layers,
            blobs,
            manifest: manifest.into_bytes(),
        }
    }

    pub(crate) fn id(&self) -> String {
        digest(&self.config).to_string()
    }

    pub(crate) fn digest(&self) -> Digest {
        digest(&self.manifest)
    }
}

/// An engine with a directory of its own.
pub(crate) struct Engine {
    pub(crate) images: Images,
    pub(crate) storage: Storage,
    pub(crate) events: Events,
    pub(crate) dir: TempDir,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(dir: TempDir) -> Self {
        let store = Store::open(dir.path().join("arca.db")).unwrap();
        let root = dir.path().to_owned();
        let config = arca_storage::Config {
            root,
            driver: Some(arca_storage::Driver::Vfs),
            size: None,
        };
        let storage = Storage::open(config, store.clone()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let events = Events::open(&store, Arc::clone(&clock), 1000).unwrap();
        let registry = Registry::new(Config {
            retry_pause: Duration::from_millis(1),
            ..Config::default()
        });
        let images = Images::open(Backends {
            store,
            storage: storage.clone(),
            registry,
            events: events.clone(),
            clock,
        })
        .unwrap();
        Self {
            images,
            storage,
            events,
            dir,
        }
    }

    /// Ends this engine and opens another one on the same directory.
    pub(crate) fn restart(self) -> Self {
        let Self {
            images,
            storage,
            events,
            dir,
        } = self;
        drop((images, storage, events));
        Self::at(dir)
    }

    pub(crate) async fn pull(&self, name: &str) -> Result<Vec<Progress>, Error> {
        self.pull_for(name, None).await
    }

    pub(crate) async fn pull_for(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<Vec<Progress>, Error> {
        let platform = platform.map(|platform| platform.parse().unwrap());
        let request = PullRequest::new(name, "", platform, Auth::Anonymous)?;
        let (sink, lines) = mpsc::channel(1000);
        let outcome = self.images.pull(&request, &sink).await;
        drop(sink);
        outcome.map(|()| drain(lines))
    }

    /// Pushes; the lines in any case, and how it ended.
    pub(crate) async fn push(&self, name: &str) -> (Vec<String>, Result<(), Error>) {
        let request = PushRequest::new(name, "", None, Auth::Anonymous).unwrap();
        let (sink, lines) = mpsc::channel(1000);
        let outcome = self.images.push(&request, &sink).await;
        drop(sink);
        (drain(lines).iter().map(text).collect(), outcome)
    }

    pub(crate) async fn load(&self, archive: Vec<u8>) -> Result<Vec<String>, Error> {
        let (sink, lines) = mpsc::channel(1000);
        let request = LoadRequest {
            quiet: true,
            ..LoadRequest::default()
        };
        self.images.load(&request, stream(archive), &sink).await?;
        drop(sink);
        Ok(drain(lines).iter().map(text).collect())
    }

    pub(crate) fn list(&self, filters: &[(&str, &str)]) -> Vec<Summary> {
        let mut wanted = Filters::new();
        for (name, value) in filters {
            wanted
                .entry((*name).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        let filters = ListFilters::parse(&wanted, Timestamp::from_unix(2_000_000_000, 0)).unwrap();
        let options = ListOptions {
            filters,
            shared_size: true,
            ..ListOptions::default()
        };
        self.images.list(&options).unwrap()
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        self.list(&[])
            .into_iter()
            .flat_map(|summary| summary.repo_tags)
            .collect()
    }

    /// Nothing is left of any image: no blob, no layer but the one below all, nothing half done.
    pub(crate) async fn assert_empty(&self) {
        self.images.reclaim().await.unwrap();
        self.storage.reclaimed().await.unwrap();
        let count = |name: &str| {
            let entries = std::fs::read_dir(self.dir.path().join(name)).unwrap();
            entries.count()
        };
        // What was dropped while it ran ends by itself.
        while count("tmp") + count("trash") > 0 {
            tokio::task::yield_now().await;
            self.storage.reclaimed().await.unwrap();
        }
        assert_eq!((count("blobs/sha256"), count("layers")), (0, 2));
    }

    /// All events so far.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let range = Range {
            since: Some(Timestamp::from_unix(0, 0)),
            until: Some(Timestamp::from_unix(1, 0)),
        };
        let range = Range {
            until: Some(SystemClock.now()),
            ..range
        };
        let mut subscription = self
            .events
            .subscribe(range, Filter::default())
            .await
            .unwrap();
        let mut found = Vec::new();
        while let Some(event) = subscription.next().await.unwrap() {
            found.push(event);
        }
        found
    }
}

pub(crate) fn stream(bytes: Vec<u8>) -> ByteStream {
    let chunks: Vec<_> = bytes
        .chunks(4000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    Box::pin(futures_util::stream::iter(chunks))
}

pub(crate) async fn collect(mut stream: ByteStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

fn drain(mut lines: mpsc::Receiver<Progress>) -> Vec<Progress> {
    let mut found = Vec::new();
    while let Ok(line) = lines.try_recv() {
        found.push(line);
    }
    found
}

/// A line of progress as text: `id: status`.
pub(crate) fn text(line: &Progress) -> String {
    match line {
        Progress::Status { id: None, status } => status.clone(),
        Progress::Status {
            id: Some(id),
            status,
        }
        | Progress::Step { id, status, .. } => {
            format!("{id}: {status}")
        }
        Progress::Stream(text) => text.clone(),
        Progress::Pushed { tag, target } => format!("pushed {tag}: {}", target.digest),
        Progress::PushedOneOfIndex { index, manifest } => {
            format!("{} instead of {}", manifest.digest, index.digest)
        }
    }
}
