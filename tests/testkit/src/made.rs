//! Images made of nothing but numbers, while they are sent: of any size, and without a disk.

use std::io::{self, Write};

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Tar's unit.
const BLOCK: usize = 512;
/// What content repeats: gzip looks back 32 KiB only, so that it finds nothing to shorten.
const PORTION: usize = 1 << 20;

/// A layer with one file, `file<seed>`, whose bytes the seed says. They do not compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeLayer {
    /// Other seeds give other bytes.
    pub seed: u64,
    /// The bytes of the file.
    pub size: u64,
}

/// An image of such layers.
#[derive(Debug, Clone)]
pub struct MadeImage {
    /// Its name, with tag.
    pub name: String,
    /// Its layers, the lowest first.
    pub layers: Vec<MadeLayer>,
}

impl MadeLayer {
    /// The name of its one file.
    pub fn file(&self) -> String {
        format!("file{}", self.seed)
    }

    /// Writes its archive.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&header(&self.file(), self.size))?;
        let portion = portion(self.seed);
        let mut left = self.size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PORTION).min(PORTION);
            out.write_all(&portion[..length])?;
            left -= length as u64;
        }
        out.write_all(&vec![0; padding(self.size) + 2 * BLOCK])
    }

    /// The digest of its archive.
    pub fn digest(&self) -> String {
        let mut hashed = Hashed(Sha256::new());
        self.write(&mut hashed).unwrap();
        let sum = hashed.0.finalize();
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    fn archive_size(&self) -> u64 {
        let around = 3 * BLOCK + padding(self.size);
        self.size + around as u64
    }
}

/// Takes the digest of what is written.
struct Hashed(Sha256);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an archive of images as `docker save` makes it: each layer is in it once.
///
/// # Errors
/// Those of `out`.
pub fn write_archive(images: &[MadeImage], out: &mut impl Write) -> io::Result<()> {
    let mut layers: Vec<MadeLayer> = images
        .iter()
        .flat_map(|image| image.layers.clone())
        .collect();
    layers.sort_by_key(|layer| layer.seed);
    layers.dedup();
    let digests: Vec<String> = layers.iter().map(MadeLayer::digest).collect();
    let digest = |layer: &MadeLayer| {
        let at = layers.iter().position(|other| other == layer).unwrap();
        digests[at].clone()
    };
    let mut listed = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let config = json!({
            "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
            "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Cmd": ["x"], "Labels": {"number": number.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": image.layers.iter().map(digest).collect::<Vec<_>>()},
        });
        let name = format!("config{number}.json");
        member(out, &name, config.to_string().as_bytes())?;
        let files: Vec<String> = image.layers.iter().map(in_archive).collect();
        listed.push(json!({"Config": name, "RepoTags": [image.name], "Layers": files}));
    }
    for layer in &layers {
        out.write_all(&header(&in_archive(layer), layer.archive_size()))?;
        // A layer's archive is a whole number of blocks.
        layer.write(out)?;
    }
    let listed = serde_json::Value::Array(listed).to_string();
    member(out, "manifest.json", listed.as_bytes())?;
    out.write_all(&[0; 2 * BLOCK])
}

/// The archive of a layer in an archive of images.
fn in_archive(layer: &MadeLayer) -> String {
    format!("layer{}.tar", layer.seed)
}

fn member(out: &mut impl Write, name: &str, content: &[u8]) -> io::Result<()> {
    out.write_all(&header(name, content.len() as u64))?;
    out.write_all(content)?;
    out.write_all(&vec![0; padding(content.len() as u64)])
}

/// The header of an ordinary file (POSIX, ustar).
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap();
    (BLOCK - over) % BLOCK
}

fn portion(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(PORTION);
    while bytes.len() < PORTION {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    bytes
}
