//! Archives among files: is it one, and unpacking it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek as _};
use std::os::fd::BorrowedFd;

use arca_archive::{ExtractOptions, Whiteouts, open_in_root};
use rustix::fs::{FileType, OFlags};

use super::path;
use crate::Error;

/// Bytes of a header of tar.
const BLOCK: usize = 512;

/// Opens what a resolved path names as an archive; `None` when it is none.
pub(crate) fn archive(
    root: BorrowedFd<'_>,
    at: &[u8],
) -> Result<Option<Box<dyn BufRead + Send>>, Error> {
    let failed = |error| Error::errno("open", path::shown(at))(error);
    let Some(stat) = path::look(root, at).map_err(failed)? else {
        return Ok(None);
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = File::from(open_in_root(root, at, flags).map_err(failed)?);
    let read = |cause| Error::file("read", path::shown(at))(cause);
    if !is_tar(decoder(BufReader::new(&mut file))) {
        return Ok(None);
    }
    file.rewind().map_err(read)?;
    decoder(BufReader::with_capacity(128 << 10, file))
        .map(Some)
        .map_err(read)
}

/// Unpacks below `target`, a resolved path of a directory.
pub(crate) fn extract_to(
    archive: Box<dyn BufRead + Send>,
    root: BorrowedFd<'_>,
    target: &[u8],
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let options = ExtractOptions {
        whiteouts: Whiteouts::Plain,
        below: target.to_vec(),
        owner,
        ..ExtractOptions::default()
    };
    arca_archive::extract(archive, root, &options)
        .map(drop)
        .map_err(Error::Archive)
}

/// Does a whole header of tar come first?
fn is_tar(input: std::io::Result<Box<dyn BufRead + Send + '_>>) -> bool {
    let Ok(input) = input else {
        return false;
    };
    let mut block = Vec::with_capacity(BLOCK);
    let read = input.take(BLOCK as u64).read_to_end(&mut block);
    if read.is_err() || block.len() < BLOCK {
        return false;
    }
    let field = block.get(148..156).unwrap_or_default();
    let digits: String = field
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect();
    let Ok(expected) = u64::from_str_radix(&digits, 8) else {
        return false;
    };
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            let byte = if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            };
            u64::from(byte)
        })
        .sum();
    sum == expected && block.first() != Some(&0)
}

/// Decompresses by what the first bytes tell; what is not compressed stays as it is.
///
/// # Errors
/// When the first bytes cannot be read.
pub(crate) fn decoder<'a>(
    mut input: impl BufRead + Send + 'a,
) -> std::io::Result<Box<dyn BufRead + Send + 'a>> {
    let start = input.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => buffered(flate2::bufread::MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => buffered(zstd::stream::read::Decoder::with_buffer(input)?),
        [b'B', b'Z', b'h', ..] => buffered(bzip2::bufread::MultiBzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => buffered(lzma_rust2::XzReader::new(input, true)),
        _ => Box::new(input),
    })
}

fn buffered<'a>(input: impl Read + Send + 'a) -> Box<dyn BufRead + Send + 'a> {
    Box::new(BufReader::with_capacity(64 << 10, input))
}
