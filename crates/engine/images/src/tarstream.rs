//! Tar archives read from a stream of bytes, member by member, without a disk in between.
//!
//! Only names, sizes and content matter here: an archive of images is never unpacked by its own names.

mod header;

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use crate::error::Error;
pub(crate) use header::checksum_is_right;
use header::{Extension, Header};

/// The bytes of a request or an answer, as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Tar's unit.
const BLOCK: usize = 512;
/// Extended headers up to this many bytes are read.
const EXTENSION_LIMIT: u64 = 1024 * 1024;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A hard or symbolic link, with its target as it is written.
    Link(String),
    Other,
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// Bytes of content that follow.
    pub(crate) size: u64,
}

/// A stream with a look ahead.
pub(crate) struct Source {
    stream: ByteStream,
    ahead: VecDeque<Bytes>,
}

impl Source {
    pub(crate) fn new(stream: ByteStream) -> Self {
        Self {
            stream,
            ahead: VecDeque::new(),
        }
    }

    /// Returns the next bytes, at most `limit`; `None` at the end.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<Bytes>, Error> {
        loop {
            let chunk = match self.ahead.pop_front() {
                Some(chunk) => chunk,
                None => match self.stream.next().await {
                    Some(chunk) => chunk.map_err(Error::Read)?,
                    None => return Ok(None),
                },
            };
            if chunk.is_empty() {
                continue;
            }
            let mut chunk = chunk;
            if chunk.len() > limit {
                let rest = chunk.split_off(limit);
                self.ahead.push_front(rest);
            }
            return Ok(Some(chunk));
        }
    }

    /// Returns the next `length` bytes, fewer at the end only.
    pub(crate) async fn take(&mut self, length: usize) -> Result<Bytes, Error> {
        let Some(first) = self.next(length).await? else {
            return Ok(Bytes::new());
        };
        if first.len() == length {
            return Ok(first);
        }
        let mut taken = BytesMut::from(first.as_ref());
        while taken.len() < length {
            match self.next(length - taken.len()).await? {
                Some(chunk) => taken.extend_from_slice(&chunk),
                None => break,
            }
        }
        Ok(taken.freeze())
    }

    /// Returns the next `length` bytes without taking them.
    pub(crate) async fn peek(&mut self, length: usize) -> Result<Bytes, Error> {
        let taken = self.take(length).await?;
        self.put_back(taken.clone());
        Ok(taken)
    }

    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.ahead.push_front(bytes);
    }

    /// Gives the stream back, with what was looked at.
    pub(crate) fn into_stream(self) -> ByteStream {
        let ahead: Vec<std::io::Result<Bytes>> = self.ahead.into_iter().map(Ok).collect();
        Box::pin(futures_util::stream::iter(ahead).chain(self.stream))
    }
}

/// An archive that is being read.
pub(crate) struct TarStream {
    source: Source,
    /// Bytes of the current member that have not been taken.
    left: u64,
    padding: u64,
}

impl TarStream {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            left: 0,
            padding: 0,
        }
    }

    /// Returns the next member; what was not taken of the last one is passed over. `None` at the end of
    /// the archive, which may also be the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Member>, Error> {
        let mut extension = Extension::default();
        loop {
            self.skip(self.left + self.padding).await?;
            (self.left, self.padding) = (0, 0);
            let block = self.source.take(BLOCK).await?;
            if block.is_empty() || block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::parse(&block)?;
            self.open(header.size)?;
            match header.kind {
                b'x' | b'L' | b'K' => {
                    let content = self.extension().await?;
                    extension.read(header.kind, &content)?;
                }
                b'g' => {}
                _ => return self.member(header, extension).map(Some),
            }
        }
    }

    fn member(&mut self, header: Header, extension: Extension) -> Result<Member, Error> {
        let size = extension.size.unwrap_or(header.size);
        let link = extension.link.unwrap_or(header.link);
        let kind = match header.kind {
            b'0' | 0 | b'7' => Kind::File,
            b'5' => Kind::Directory,
            b'1' | b'2' => Kind::Link(link),
            _ => Kind::Other,
        };
        // A link or a directory has no content, whatever its header says.
        let size = if matches!(kind, Kind::File | Kind::Other) {
            size
        } else {
            0
        };
        self.open(size)?;
        let path = extension.path.unwrap_or(header.path);
        Ok(Member {
            path: clean(&path),
            kind,
            size,
        })
    }

    fn open(&mut self, size: u64) -> Result<(), Error> {
        if size > u64::MAX / 2 {
            return Err(Error::Archive("a member is larger than can be".to_owned()));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// Returns the next bytes of the current member, or `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX);
        match self.source.next(limit).await? {
            Some(chunk) => {
                self.left -= chunk.len() as u64;
                Ok(Some(chunk))
            }
            None => Err(truncated()),
        }
    }

    /// Looks at the first bytes of the current member.
    pub(crate) async fn peek(&mut self, length: usize) -> Result<Bytes, Error> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(length);
        self.source.peek(length).await
    }

    /// Returns what is left of the current member as a whole.
    pub(crate) async fn content(&mut self, limit: u64) -> Result<Bytes, Error> {
        if self.left > limit {
            return Err(Error::Archive(format!(
                "a document of {} bytes is too large",
                self.left
            )));
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let content = self.source.take(wanted).await?;
        self.left -= content.len() as u64;
        if self.left > 0 {
            Err(truncated())
        } else {
            Ok(content)
        }
    }

    async fn extension(&mut self) -> Result<Bytes, Error> {
        self.content(EXTENSION_LIMIT).await
    }

    async fn skip(&mut self, mut length: u64) -> Result<(), Error> {
        while length > 0 {
            let limit = usize::try_from(length).unwrap_or(usize::MAX);
            match self.source.next(limit).await? {
                Some(chunk) => length -= chunk.len() as u64,
                None => return Err(truncated()),
            }
        }
        Ok(())
    }
}

fn truncated() -> Error {
    Error::Archive("unexpected EOF".to_owned())
}

/// `./a//b/` becomes `a/b`. Names are keys here, so `..` needs no resolving: it matches nothing.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a header as tar does.
    pub(crate) fn header(path: &str, kind: u8, link: &str, size: u64) -> Vec<u8> {
        let mut block = vec![0_u8; BLOCK];
        block[..path.len()].copy_from_slice(path.as_bytes());
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..263].copy_from_slice(b"ustar\0");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    /// Makes a member with content.
    pub(crate) fn file(path: &str, content: &[u8]) -> Vec<u8> {
        let mut member = header(path, b'0', "", content.len() as u64);
        member.extend_from_slice(content);
        member.resize(member.len().next_multiple_of(BLOCK), 0);
        member
    }

    /// A stream that hands the bytes over in odd portions.
    pub(crate) fn stream(bytes: Vec<u8>) -> ByteStream {
        let chunks: Vec<_> = bytes
            .chunks(777)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        Box::pin(futures_util::stream::iter(chunks))
    }

    async fn read(bytes: Vec<u8>) -> Result<Vec<(Member, Bytes)>, Error> {
        let mut tar = TarStream::new(Source::new(stream(bytes)));
        let mut members = Vec::new();
        while let Some(member) = tar.next().await? {
            members.push((member, tar.content(1 << 20).await?));
        }
        Ok(members)
    }

    #[tokio::test]
    async fn members_are_read_with_their_content() {
        let mut archive = file("./a", b"hello");
        archive.extend(header("dir/", b'5', "", 0));
        archive.extend(header("l", b'2', "../a", 0));
        archive.extend(file("b", &[7; 5000]));
        archive.extend([0; 1024]);
        let members = read(archive).await.unwrap();
        let names: Vec<_> = members
            .iter()
            .map(|(member, _)| member.path.as_str())
            .collect();
        assert_eq!(names, ["a", "dir", "l", "b"]);
        assert_eq!(members[0].1, "hello");
        assert_eq!(members[2].0.kind, Kind::Link("../a".to_owned()));
        assert_eq!(members[3].1, vec![7; 5000]);
    }

    #[tokio::test]
    async fn extended_headers_are_heard() {
        let mut archive = header("x", b'x', "", 18 + 11);
        archive.extend_from_slice(b"18 path=long/name\n11 mtime=1\n");
        archive.resize(1024, 0);
        archive.extend(file("short", b"1"));
        archive.extend(header("l", b'L', "", 5));
        archive.extend_from_slice(b"other");
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        archive.extend(file("short", b"2"));
        let members = read(archive).await.unwrap();
        assert_eq!(members[0].0.path, "long/name");
        assert_eq!(
            (members[1].0.path.as_str(), members[1].1.as_ref()),
            ("other", b"2".as_slice())
        );
    }

    #[tokio::test]
    async fn broken_archives_are_refused() {
        let whole = file("a", &[1; 1000]);
        for cut in [100, 600, 1100] {
            assert!(
                matches!(read(whole[..cut].to_vec()).await, Err(Error::Archive(_))),
                "{cut}"
            );
        }
        let mut wrong = whole.clone();
        wrong[0] = b'b';
        assert!(matches!(read(wrong).await, Err(Error::Archive(_))));
        let mut pax = header("x", b'x', "", 10);
        pax.extend_from_slice(b"99 path=x\n");
        pax.resize(1024, 0);
        assert!(matches!(read(pax).await, Err(Error::Archive(_))));
        let mut huge = header("a", b'0', "", 0);
        huge[124..136].copy_from_slice(&[
            0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ]);
        huge[148..156].fill(b' ');
        let sum: u64 = huge.iter().map(|byte| u64::from(*byte)).sum();
        huge[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(matches!(read(huge).await, Err(Error::Archive(_))));
    }
}
