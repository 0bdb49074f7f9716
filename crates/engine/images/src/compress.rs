//! Compressing layers: on their way to a registry, and for images that are to have them so.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arca_registry::{Descriptor, media_type};
use arca_storage::{Compression, LayerSource, Lease};
use arca_types::Digest;
use bytes::Bytes;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::images::Images;
use crate::record::LayerRecord;

/// Bytes that are read at a time.
const PORTION: usize = 256 * 1024;
/// Portions that wait to be taken.
const WAITING: usize = 4;

/// Zstd's highest level that has no need of a gigabyte to write and of 128 MiB to read.
const HIGHEST_ZSTD: i32 = 19;

/// What is written, as it comes.
pub(crate) type Portions = mpsc::Receiver<io::Result<Bytes>>;

/// How a layer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerForm {
    /// As an archive.
    Plain,
    /// Compressed by gzip (RFC 1952).
    #[default]
    Gzip,
    /// Compressed by zstd (RFC 8878).
    Zstd,
}

/// How the layers of an image are to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerCompression {
    /// The form of layers that were made here.
    pub form: LayerForm,
    /// 0 to 9 for gzip, 0 to 22 for zstd, of which those above 19 are as 19; `None` for what is usual.
    pub level: Option<u32>,
    /// Whether layers that came in another compressed form get this one as well.
    pub force: bool,
}

impl LayerForm {
    /// The form that a descriptor tells of.
    pub(crate) fn of(blob: &Descriptor) -> Self {
        let kind = blob.media_type.as_str();
        if kind == media_type::OCI_LAYER || kind.ends_with(".rootfs.diff.tar") {
            Self::Plain
        } else if kind.ends_with("zstd") {
            Self::Zstd
        } else {
            Self::Gzip
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => media_type::OCI_LAYER,
            Self::Gzip => media_type::OCI_LAYER_GZIP,
            Self::Zstd => media_type::OCI_LAYER_ZSTD,
        }
    }
}

impl LayerCompression {
    /// Does a layer that is like this have to be written anew?
    fn changes(&self, blob: &Descriptor) -> bool {
        let is = LayerForm::of(blob);
        is != self.form && (self.force || is == LayerForm::Plain)
    }
}

impl Images {
    /// Writes a layer of storage anew if it has to be, and returns its record with what was made, which the
    /// lease holds.
    pub(crate) async fn in_form(
        &self,
        record: LayerRecord,
        wanted: LayerCompression,
        lease: &Lease,
    ) -> Result<LayerRecord, Error> {
        if !wanted.changes(&record.blob) {
            return Ok(record);
        }
        let archive = self.storage().read_layer_tar(&record.diff_id);
        let archive = archive.map_err(Error::Storage)?;
        let source = LayerSource {
            digest: None,
            size: None,
            diff_id: Some(record.diff_id.clone()),
            compression: match wanted.form {
                LayerForm::Plain => Compression::None,
                LayerForm::Gzip => Compression::Gzip,
                LayerForm::Zstd => Compression::Zstd,
            },
        };
        let mut ingest = self.storage().ingest_layer(lease, source);
        let (mut portions, made) = compressed(archive, wanted, Arc::default());
        while let Some(portion) = portions.recv().await {
            let portion = portion.map_err(Error::Compress)?;
            ingest.write(portion).await.map_err(Error::Storage)?;
        }
        ingest.finish().await.map_err(Error::Storage)?;
        let made = made.await.ok().ok_or(Error::Interrupted)?;
        let annotations = record.blob.annotations;
        Ok(LayerRecord {
            blob: Descriptor {
                annotations,
                ..made
            },
            ..record
        })
    }
}

/// What `input` has, in another form. `read` counts the bytes of the input. The descriptor of what was made
/// comes when all of it has been taken.
pub(crate) fn compressed(
    input: impl Read + Send + 'static,
    wanted: LayerCompression,
    read: Arc<AtomicU64>,
) -> (Portions, oneshot::Receiver<Descriptor>) {
    let (sender, portions) = mpsc::channel(WAITING);
    let (made, descriptor) = oneshot::channel();
    // Ends with its channel: when nobody takes what is written.
    let _compressor = tokio::task::spawn_blocking(move || {
        match compress(input, Output(sender.clone()), wanted, &read) {
            Ok(descriptor) => drop(made.send(descriptor)),
            Err(error) => fail(&sender, error),
        }
    });
    (portions, descriptor)
}

/// Says that there will be no more, and why.
pub(crate) fn fail(sender: &mpsc::Sender<io::Result<Bytes>>, error: io::Error) {
    if sender.blocking_send(Err(error)).is_err() {
        tracing::debug!("what was compressed is not wanted any more");
    }
}

fn compress(
    input: impl Read,
    output: Output,
    wanted: LayerCompression,
    read: &AtomicU64,
) -> io::Result<Descriptor> {
    let hashed = Hashed {
        output: io::BufWriter::with_capacity(PORTION, output),
        hasher: Sha256::new(),
        size: 0,
    };
    let mut encoder = Encoder::new(hashed, wanted)?;
    copy(input, &mut encoder, read)?;
    let mut hashed = encoder.finish()?;
    hashed.output.flush()?;
    let digest = Digest::sha256(&hashed.hasher.finalize().into());
    Ok(Descriptor::new(
        wanted.form.media_type(),
        digest,
        hashed.size,
    ))
}

/// Copies everything. `read` counts it.
pub(crate) fn copy(input: impl Read, output: &mut impl Write, read: &AtomicU64) -> io::Result<()> {
    let mut input = BufReader::with_capacity(PORTION, input);
    loop {
        let bytes = io::BufRead::fill_buf(&mut input)?;
        let count = bytes.len();
        if count == 0 {
            return Ok(());
        }
        output.write_all(bytes)?;
        io::BufRead::consume(&mut input, count);
        read.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// What makes a form. The same bytes give the same ones each time: no names, no times.
enum Encoder<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    fn new(output: W, wanted: LayerCompression) -> io::Result<Self> {
        Ok(match wanted.form {
            LayerForm::Plain => Self::Plain(output),
            LayerForm::Gzip => {
                let usual = flate2::Compression::default();
                let level = wanted.level.map_or(usual, flate2::Compression::new);
                Self::Gzip(GzEncoder::new(output, level))
            }
            LayerForm::Zstd => {
                let level = wanted.level.and_then(|level| i32::try_from(level).ok());
                let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let level = level.min(HIGHEST_ZSTD);
                Self::Zstd(zstd::Encoder::new(output, level)?)
            }
        })
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Hands what is written on.
pub(crate) struct Output(pub(crate) mpsc::Sender<io::Result<Bytes>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let portion = Bytes::copy_from_slice(bytes);
        match self.0.blocking_send(Ok(portion)) {
            Ok(()) => Ok(bytes.len()),
            Err(_given_up) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Hashed {
    output: io::BufWriter<Output>,
    hasher: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(media_type: &str) -> Descriptor {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        Descriptor::new(media_type, digest, 1)
    }

    #[test]
    fn only_what_is_not_compressed_is_written_anew_unless_it_is_forced() {
        let wanted = |form, force| LayerCompression {
            form,
            level: None,
            force,
        };
        use LayerForm::{Gzip, Plain, Zstd};
        let docker = "application/vnd.docker.image.rootfs.diff.tar";
        for (media_type, form, force, changes) in [
            (media_type::OCI_LAYER, Gzip, false, true),
            (docker, Zstd, false, true),
            (media_type::DOCKER_LAYER_GZIP, Zstd, false, false),
            (media_type::DOCKER_LAYER_GZIP, Zstd, true, true),
            (media_type::DOCKER_LAYER_GZIP, Gzip, true, false),
            (media_type::OCI_LAYER_ZSTD, Plain, false, false),
            (media_type::OCI_LAYER_ZSTD, Plain, true, true),
            (media_type::OCI_LAYER_ZSTD, Zstd, true, false),
        ] {
            let changed = wanted(form, force).changes(&of(media_type));
            assert_eq!(changed, changes, "{media_type} {form:?} {force}");
        }
    }

    #[tokio::test]
    async fn every_form_holds_the_same_and_levels_count() {
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|number| {
                (number.wrapping_mul(2_654_435_761) % 977)
                    .to_string()
                    .into_bytes()
            })
            .collect();
        let mut sizes = Vec::new();
        for (form, level) in [
            (LayerForm::Plain, None),
            (LayerForm::Gzip, Some(1)),
            (LayerForm::Gzip, Some(9)),
            (LayerForm::Zstd, Some(1)),
            (LayerForm::Zstd, Some(19)),
        ] {
            let wanted = LayerCompression {
                form,
                level,
                force: false,
            };
            let read = Arc::<AtomicU64>::default();
            let input = io::Cursor::new(text.clone());
            let (mut portions, made) = compressed(input, wanted, Arc::clone(&read));
            let mut written = Vec::new();
            while let Some(portion) = portions.recv().await {
                written.extend_from_slice(&portion.unwrap());
            }
            let made = made.await.unwrap();
            assert_eq!(made.size, written.len() as u64);
            assert_eq!(made.digest, crate::manifest::digest_of(&written));
            assert_eq!(LayerForm::of(&made), form);
            assert_eq!(read.load(Ordering::Relaxed), text.len() as u64);
            let mut plain = Vec::new();
            match form {
                LayerForm::Plain => plain = written,
                LayerForm::Gzip => {
                    let mut decoder = flate2::read::GzDecoder::new(written.as_slice());
                    decoder.read_to_end(&mut plain).unwrap();
                }
                LayerForm::Zstd => plain = zstd::decode_all(written.as_slice()).unwrap(),
            }
            assert!(plain == text);
            sizes.push(made.size);
        }
        assert!(sizes[1] > sizes[2] && sizes[3] > sizes[4], "{sizes:?}");
    }
}
