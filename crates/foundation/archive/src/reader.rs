//! Parsing: from bytes to entries.

use std::io::{self, BufRead, Read};

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::error::Error;
use crate::fields;
use crate::pax::{self, Pax};
use crate::sparse::{Map, Segment};

/// Everything in an archive is a multiple of this.
pub(crate) const BLOCK: usize = 512;
/// The longest extended header or long name that is held in memory.
pub(crate) const MAX_META: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its data follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target, not interpreted.
    Symlink(Vec<u8>),
    /// Another name of the entry of this path.
    HardLink(Vec<u8>),
    /// A character device: major and minor number.
    Char(u32, u32),
    /// A block device: major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry of an archive, without its data.
#[derive(Debug)]
pub struct Entry {
    /// The path as the archive has it: not cleaned, not checked.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with set-user-ID, set-group-ID and sticky bit.
    pub mode: u32,
    /// The numeric owner.
    pub uid: u32,
    /// The numeric group.
    pub gid: u32,
    /// The time of the last change: seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// The size of a regular file, with its holes; 0 for all else.
    pub size: u64,
    /// Extended attributes, names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The parts of a sparse file that the data consists of.
    pub(crate) segments: Option<Vec<Segment>>,
}

/// Reads the entries of an archive one after the other.
///
/// [`next_entry`](Self::next_entry) gives the next; its data is then read from the reader itself, which
/// is a [`BufRead`] that ends with the entry's data. Data that is not read is passed over. The data of a
/// sparse file is what the archive holds: its parts without the holes.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// What remains of the current entry's data.
    data: u64,
    /// The fill up to the next block behind it.
    padding: u64,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`. What follows the end of the archive is not read.
    pub fn new(input: R) -> Self {
        Self {
            input,
            data: 0,
            padding: 0,
            ended: false,
        }
    }

    /// Gives the input back, to read on behind the archive.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Reads the next entry; `None` at the end, which is two blocks of zeros or the end of the input.
    ///
    /// # Errors
    /// [`Error::Header`] and its like when the input is no archive, [`Error::Truncated`] when it ends
    /// early, [`Error::Read`] when it cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut pax = Pax::default();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(block) = self.header()? else {
                let described = pax != Pax::default() || long_name.is_some() || long_link.is_some();
                return if described {
                    Err(Error::Truncated)
                } else {
                    Ok(None)
                };
            };
            let header = Header::from_byte_slice(&block);
            let kind = header.entry_type();
            match kind {
                EntryType::XHeader => {
                    let data = self.meta(header, "PAX header")?;
                    pax = Pax::parse(&data)?;
                }
                EntryType::XGlobalHeader => drop(self.meta(header, "PAX header")?),
                EntryType::GNULongName => long_name = Some(self.name(header)?),
                EntryType::GNULongLink => long_link = Some(self.name(header)?),
                _ => {
                    if pax.path.is_none() {
                        pax.path = long_name.take();
                    }
                    if pax.link.is_none() {
                        pax.link = long_link.take();
                    }
                    return self.entry(header, pax).map(Some);
                }
            }
        }
    }

    /// Makes an entry of its header and what the headers before it said.
    fn entry(&mut self, header: &Header, pax: Pax) -> Result<Entry, Error> {
        let field = |what| move |_error: io::Error| Error::Header(what);
        let path = match (&pax.sparse.name, &pax.path) {
            (Some(path), _) | (None, Some(path)) => path.clone(),
            (None, None) => header.path_bytes().into_owned(),
        };
        let kind = fields::kind(header, &path, pax.link)?;
        let stored = match pax.size {
            Some(size) => size,
            None => header.entry_size().map_err(field("size"))?,
        };
        let has_data = kind == Kind::File;
        self.begin(if has_data { stored } else { 0 })?;
        let (mut size, mut segments) = (if has_data { stored } else { 0 }, None);
        if has_data && let Some((real, map)) = self.sparse_map(header, &pax.sparse)? {
            segments = Some(map.check(real, self.data)?);
            size = real;
        }
        let id = |pax: Option<u64>, header: io::Result<u64>, what| {
            let id = pax.map_or_else(|| header.map_err(field(what)), Ok)?;
            u32::try_from(id).map_err(|_too_large| Error::Header(what))
        };
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => (fields::mtime(header)?, 0),
        };
        Ok(Entry {
            path,
            kind,
            mode: header.mode().map_err(field("mode"))? & 0o7777,
            uid: id(pax.uid, header.uid(), "uid")?,
            gid: id(pax.gid, header.gid(), "gid")?,
            mtime,
            size,
            xattrs: pax.xattrs,
            segments,
        })
    }

    /// The real size and the map of a sparse file, in any of the three formats.
    fn sparse_map(
        &mut self,
        header: &Header,
        sparse: &pax::PaxSparse,
    ) -> Result<Option<(u64, Map)>, Error> {
        if header.entry_type() == EntryType::GNUSparse {
            return self.gnu_map(header).map(Some);
        }
        let Some(size) = sparse.size else {
            return Ok(None);
        };
        if sparse.in_data {
            return Ok(Some((size, self.map_in_data()?)));
        }
        let Some(map) = &sparse.map else {
            return Ok(None);
        };
        Ok(Some((size, Map::parse(map)?)))
    }

    /// The old GNU format: in the header, going on in blocks before the data.
    fn gnu_map(&mut self, header: &Header) -> Result<(u64, Map), Error> {
        let bad = |_error: io::Error| Error::Header("sparse");
        let gnu = header.as_gnu().ok_or(Error::Header("sparse"))?;
        let size = gnu.real_size().map_err(bad)?;
        let mut map = Map::default();
        for part in gnu.sparse.iter().filter(|part| !part.is_empty()) {
            map.push(part.offset().map_err(bad)?, part.length().map_err(bad)?)?;
        }
        let mut extended = gnu.is_extended();
        while extended {
            let mut more = GnuExtSparseHeader::new();
            exact(&mut self.input, more.as_mut_bytes())?;
            for part in more.sparse().iter().filter(|part| !part.is_empty()) {
                map.push(part.offset().map_err(bad)?, part.length().map_err(bad)?)?;
            }
            extended = more.is_extended();
        }
        Ok((size, map))
    }

    /// Format 1.0: decimal lines at the beginning of the data, filled up to a whole block.
    fn map_in_data(&mut self) -> Result<Map, Error> {
        let mut read = 0_u64;
        let count = self.line(&mut read)?;
        let mut map = Map::default();
        for _ in 0..count {
            let offset = self.line(&mut read)?;
            let length = self.line(&mut read)?;
            map.push(offset, length)?;
        }
        let mut fill = [0; BLOCK];
        let rest = usize::try_from(read.next_multiple_of(BLOCK as u64) - read).unwrap_or(0);
        self.read_exact(fill.get_mut(..rest).unwrap_or_default())
            .map_err(|_end| Error::Truncated)?;
        Ok(map)
    }

    fn line(&mut self, read: &mut u64) -> Result<u64, Error> {
        let mut line = Vec::new();
        let length = self
            .take(24)
            .read_until(b'\n', &mut line)
            .map_err(Error::Read)?;
        *read += length as u64;
        pax::number(
            line.strip_suffix(b"\n")
                .ok_or(Error::Header("malformed sparse map"))?,
        )
    }

    /// Reads the next header that is not zeros; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        self.skip()?;
        let mut block = [0; BLOCK];
        if self.ended || self.input.fill_buf().map_err(Error::Read)?.is_empty() {
            return Ok(None);
        }
        exact(&mut self.input, &mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            let mut second = [0; BLOCK];
            let more = !self.input.fill_buf().map_err(Error::Read)?.is_empty();
            if more {
                exact(&mut self.input, &mut second)?;
            }
            return if second.iter().all(|byte| *byte == 0) {
                Ok(None)
            } else {
                Err(Error::Header("data behind a block of zeros"))
            };
        }
        fields::check_sum(&block)?;
        fields::fill_blanks(&mut block);
        Ok(Some(block))
    }

    /// Reads the data of a header that describes the next one.
    fn meta(&mut self, header: &Header, what: &'static str) -> Result<Vec<u8>, Error> {
        let size = header
            .entry_size()
            .map_err(|_error| Error::Header("size"))?;
        if size > MAX_META {
            return Err(Error::HeaderTooLarge {
                what,
                size,
                limit: MAX_META,
            });
        }
        self.begin(size)?;
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_exact(&mut data)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Error::Truncated,
                _ => Error::Read(error),
            })?;
        self.skip()?;
        Ok(data)
    }

    fn name(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut name = self.meta(header, "long name")?;
        let end = name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn begin(&mut self, size: u64) -> Result<(), Error> {
        let end = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or(Error::Header("size"))?;
        (self.data, self.padding) = (size, end - size);
        Ok(())
    }

    /// Passes over what is left of the current entry. As Go's reader, it takes an archive that ends without the fill:
    /// the docker CLI writes such ones.
    fn skip(&mut self) -> Result<(), Error> {
        let padding = self.padding;
        let mut left = self.data + padding;
        (self.data, self.padding) = (0, 0);
        while left > 0 {
            let available = self.input.fill_buf().map_err(Error::Read)?.len();
            if available == 0 {
                return if left > padding {
                    Err(Error::Truncated)
                } else {
                    Ok(())
                };
            }
            let step = left.min(available as u64);
            self.input
                .consume(usize::try_from(step).unwrap_or(available));
            left -= step;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let available = self.input.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let limit = usize::try_from(self.data)
            .unwrap_or(usize::MAX)
            .min(available.len());
        Ok(available.get(..limit).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.data = self.data.saturating_sub(amount as u64);
        self.input.consume(amount);
    }
}

pub(crate) fn exact(input: &mut impl Read, buffer: &mut [u8]) -> Result<(), Error> {
    input
        .read_exact(buffer)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated,
            _ => Error::Read(error),
        })
}
