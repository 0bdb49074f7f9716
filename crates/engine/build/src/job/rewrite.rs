//! Layers in which nothing is later than the epoch of a build (`rewrite-timestamp`): the same steps give the
//! same layers whenever they run.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Write};

use arca_storage::{Compression, LayerSource, Lease, Storage};
use arca_types::{DiffId, Digest, Timestamp};
use serde::Deserialize;
use sha2::Digest as _;
use tokio::sync::mpsc;

use super::Job;
use super::export::Pieces;
use crate::Error;
use crate::progress::Warning;
use crate::request::BuildResult;
use crate::solve::blocking;

/// What BuildKit notes at a layer of a manifest that it has rewritten: the epoch.
const NOTE: &str = "buildkit/rewritten-timestamp";
/// Bytes that are read and written at a time.
const PORTION: usize = 256 << 10;

/// Annotations of layers.
type Notes = BTreeMap<DiffId, BTreeMap<String, String>>;

impl Job {
    /// Makes layers of these in which nothing is later than `epoch`, which the lease then holds. Those that
    /// the image has from its base stay as they are. Returns all, and what a manifest says of them.
    ///
    /// # Errors
    /// Failures of storage; [`Error::Archive`].
    pub(super) async fn rewritten(
        &self,
        layers: &[DiffId],
        base: &[DiffId],
        (epoch, lease): (Timestamp, &Lease),
    ) -> Result<(Vec<DiffId>, Notes), Error> {
        let seconds = epoch.seconds();
        let name = format!("rewriting layers with source-date-epoch {seconds} ({epoch})");
        let vertex = self.begin(&name);
        let kept = kept(layers, base);
        let storage = self.0.service.storage();
        let work = async {
            let mut all = layers.get(..kept).unwrap_or_default().to_vec();
            for layer in layers.iter().skip(kept) {
                all.push(rewrite(storage, layer, (seconds, lease)).await?);
            }
            Ok(all)
        };
        match work.await {
            Ok(all) => {
                self.finish(vertex, Ok(()))?;
                let notes = notes(all.get(kept..).unwrap_or_default(), epoch);
                Ok((all, notes))
            }
            Err(error) => self.finish(vertex, Err(error)).map(|()| Default::default()),
        }
    }

    /// Tells that an exporter has no time to rewrite layers with.
    pub(super) fn warn_of_no_epoch(&self) {
        self.warn(Warning {
            vertex: None,
            level: 1,
            short: "rewrite-timestamp is specified, but no source-date-epoch was found".to_owned(),
            detail: Vec::new(),
            url: String::new(),
            source: None,
            ranges: Vec::new(),
        });
    }
}

async fn rewrite(
    storage: &Storage,
    layer: &DiffId,
    (latest, lease): (i64, &Lease),
) -> Result<DiffId, Error> {
    let copied = |out: Box<dyn Write + Send>| {
        let (storage, layer) = (storage.clone(), layer.clone());
        blocking(move || copy(&storage, &layer, latest, out))
    };
    let (hashed, mut sum) = mpsc::channel(1);
    copied(Box::new(Hashed(sha2::Sha256::new(), hashed))).await?;
    let made = sum.recv().await.ok_or(Error::Cancelled)?;
    if lease.layer(&made).is_some() {
        return Ok(made);
    }
    let source = LayerSource {
        digest: None,
        size: None,
        diff_id: Some(made.clone()),
        compression: Compression::None,
    };
    let mut ingest = storage.ingest_layer(lease, source);
    let (pieces, mut written) = mpsc::channel(8);
    let out = BufWriter::with_capacity(PORTION, Pieces(pieces));
    let taking = async move {
        while let Some(piece) = written.recv().await {
            ingest.write(piece).await?;
        }
        Ok(ingest)
    };
    let (copied, taken) = tokio::join!(copied(Box::new(out)), taking);
    let ingest = taken.map_err(Error::Storage)?;
    copied?;
    ingest.finish().await.map_err(Error::Storage)?;
    Ok(made)
}

fn copy(
    storage: &Storage,
    layer: &DiffId,
    latest: i64,
    out: Box<dyn Write + Send>,
) -> Result<(), Error> {
    let archive = storage.read_layer_tar(layer).map_err(Error::Storage)?;
    let archive = BufReader::with_capacity(PORTION, archive);
    arca_archive::clamp_times(archive, out, latest).map_err(Error::Archive)
}

/// Takes the digest of what is written, and tells it at the end.
struct Hashed(sha2::Sha256, mpsc::Sender<DiffId>);

impl Write for Hashed {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let digest = Digest::sha256(&self.0.clone().finalize().into());
        let told = self.1.blocking_send(digest.into());
        told.map_err(|_gone| std::io::ErrorKind::BrokenPipe.into())
    }
}

/// The layers of the image that a result is built on.
pub(super) fn base(result: &BuildResult, key: &str) -> Vec<DiffId> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        #[serde(default)]
        diff_ids: Vec<DiffId>,
    }
    let specific = format!("containerimage.base.config/{key}");
    let of_all = || result.metadata.get("containerimage.base.config");
    let config = result.metadata.get(&specific).or_else(of_all);
    let read = config.and_then(|config| serde_json::from_slice::<Config>(config).ok());
    read.map_or_else(Vec::new, |config| config.rootfs.diff_ids)
}

/// How many layers a result has from its base.
fn kept(layers: &[DiffId], base: &[DiffId]) -> usize {
    let pairs = layers.iter().zip(base);
    pairs.take_while(|(layer, base)| layer == base).count()
}

/// What a manifest says of the layers that were rewritten.
fn notes(rewritten: &[DiffId], epoch: Timestamp) -> Notes {
    let note = || BTreeMap::from([(NOTE.to_owned(), epoch.seconds().to_string())]);
    let noted = rewritten.iter().map(|layer| (layer.clone(), note()));
    noted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_found_by_its_platform_and_what_has_changed_is_noted() {
        let layer = |digit: &str| -> DiffId {
            let text = format!("sha256:{}", digit.repeat(64));
            text.parse().unwrap()
        };
        let config = |digit: &str| {
            format!(r#"{{"rootfs":{{"diff_ids":["{}"]}}}}"#, layer(digit)).into_bytes()
        };
        let mut result = BuildResult::default();
        assert!(base(&result, "").is_empty());
        for (key, digit) in [("", "1"), ("/linux/arm64", "2")] {
            let key = format!("containerimage.base.config{key}");
            result.metadata.insert(key, config(digit));
        }
        assert_eq!(base(&result, ""), [layer("1")]);
        assert_eq!(base(&result, "linux/arm64"), [layer("2")]);
        let three = ["1", "2", "3"].map(layer);
        assert_eq!(kept(&three, &[layer("1"), layer("3")]), 1);
        let noted = notes(&three[2..], Timestamp::from_unix(7, 0));
        let note = BTreeMap::from([(NOTE.to_owned(), "7".to_owned())]);
        assert_eq!(noted, BTreeMap::from([(layer("3"), note)]));
    }
}
