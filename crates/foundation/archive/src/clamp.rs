//! Archives in which nothing is later than a time: the same files give the same bytes whenever they were
//! made.

use std::io::{BufRead, Read, Write};

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::error::Error;
use crate::fields;
use crate::header::pad;
use crate::pax::{self, Pax};
use crate::reader::{BLOCK, Kind, MAX_META, exact};

/// The largest number in eleven octal digits.
const MAX_OCTAL: i64 = 0o77_777_777_777;

/// Copies an archive; times of entries later than `latest`, in seconds since 1970, become that one. All
/// else stays as it is, byte for byte.
///
/// # Errors
/// As [`crate::Reader::next_entry`]; [`Error::Write`].
pub fn clamp_times(input: impl BufRead, out: impl Write, latest: i64) -> Result<(), Error> {
    let mut clamp = Clamp { input, out, latest };
    while clamp.entry()? {}
    clamp.out.flush().map_err(Error::Write)
}

struct Clamp<I, O> {
    input: I,
    out: O,
    latest: i64,
}

/// What the headers in front of an entry's own say of it.
#[derive(Default)]
struct Before {
    /// The PAX header with its records.
    pax: Option<(Header, Vec<u8>)>,
    said: Pax,
    path: Option<Vec<u8>>,
}

impl<I: BufRead, O: Write> Clamp<I, O> {
    /// Copies an entry with all its headers; `false` at the end, which is copied as well.
    fn entry(&mut self) -> Result<bool, Error> {
        let mut before = Before::default();
        loop {
            let Some(mut header) = self.header()? else {
                return Ok(false);
            };
            match header.entry_type() {
                EntryType::XHeader => {
                    let data = self.meta(&header)?;
                    before.said = Pax::parse(&data)?;
                    before.pax = Some((header, data));
                }
                EntryType::GNULongName => before.path = Some(self.passed(&mut header)?),
                EntryType::XGlobalHeader | EntryType::GNULongLink => {
                    self.passed(&mut header)?;
                }
                _ => {
                    self.own(header, before)?;
                    return Ok(true);
                }
            }
        }
    }

    /// Copies the entry's own header and its data.
    fn own(&mut self, mut header: Header, before: Before) -> Result<(), Error> {
        let numbers = filled(&header);
        let said = before.said;
        let path = said.path.or(before.path);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let has_data = fields::kind(&numbers, &path, None)? == Kind::File;
        let size = match (has_data, said.size) {
            (false, _) => 0,
            (true, Some(size)) => size,
            (true, None) => size_of(&numbers)?,
        };
        let modified = match said.mtime {
            Some(time) => time,
            None => (fields::mtime(&numbers)?, 0),
        };
        let late = self.is_late(modified);
        if late {
            set_time(&mut header, self.latest);
        }
        self.clamp_gnu(&mut header);
        if let Some((pax, data)) = before.pax {
            self.pax(pax, &data, late)?;
        }
        header.set_cksum();
        self.write(header.as_bytes())?;
        if header.entry_type() == EntryType::GNUSparse {
            self.sparse_headers(&header)?;
        }
        self.data(size)
    }

    fn is_late(&self, time: (i64, u32)) -> bool {
        time > (self.latest, 0)
    }

    /// Writes a PAX header without a time that the entry's own header has now; none when nothing is left
    /// to be said.
    fn pax(&mut self, mut header: Header, mut data: &[u8], late: bool) -> Result<(), Error> {
        let mut kept = Vec::new();
        while !data.is_empty() {
            let (key, value, rest) = pax::record(data)?;
            data = rest;
            match key {
                b"mtime" if late => {}
                b"atime" | b"ctime" if self.is_late(pax::time(value)?) => {
                    pax::push(&mut kept, key, self.latest.to_string().as_bytes());
                }
                _ => pax::push(&mut kept, key, value),
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        self.clamp_header(&mut header)?;
        header.set_size(kept.len() as u64);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(&kept)?;
        pad(&mut self.out, kept.len() as u64)
    }

    /// The times that GNU keeps in headers besides that of the last change.
    fn clamp_gnu(&self, header: &mut Header) {
        let latest = self.latest;
        let Some(gnu) = header.as_gnu_mut() else {
            return;
        };
        let late = |time: std::io::Result<u64>| {
            let time = time.ok().and_then(|time| i64::try_from(time).ok());
            time.is_some_and(|time| time > latest)
        };
        let (read, changed) = (late(gnu.atime()), late(gnu.ctime()));
        if read {
            gnu.atime = field(latest);
        }
        if changed {
            gnu.ctime = field(latest);
        }
    }

    fn clamp_header(&self, header: &mut Header) -> Result<(), Error> {
        if self.is_late((fields::mtime(&filled(header))?, 0)) {
            set_time(header, self.latest);
        }
        Ok(())
    }

    /// Copies a header that says something about another, and returns what it says.
    fn passed(&mut self, header: &mut Header) -> Result<Vec<u8>, Error> {
        let mut data = self.meta(header)?;
        self.clamp_header(header)?;
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(&data)?;
        pad(&mut self.out, data.len() as u64)?;
        if let Some(end) = data.iter().position(|byte| *byte == 0) {
            data.truncate(end);
        }
        Ok(data)
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        if self.input.fill_buf().map_err(Error::Read)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        exact(&mut self.input, &mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            self.write(&block)?;
            std::io::copy(&mut self.input, &mut self.out).map_err(Error::Write)?;
            return Ok(None);
        }
        fields::check_sum(&block)?;
        Ok(Some(Header::from_byte_slice(&block).clone()))
    }

    /// Reads the data of a header that describes another.
    fn meta(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = size_of(&filled(header))?;
        if size > MAX_META {
            return Err(Error::HeaderTooLarge {
                what: "header",
                size,
                limit: MAX_META,
            });
        }
        let whole = usize::try_from(size.next_multiple_of(BLOCK as u64)).unwrap_or(0);
        let mut data = vec![0; whole];
        exact(&mut self.input, &mut data)?;
        data.truncate(usize::try_from(size).unwrap_or(0));
        Ok(data)
    }

    /// Copies the blocks in which the map of a sparse file goes on (GNU's old format).
    fn sparse_headers(&mut self, header: &Header) -> Result<(), Error> {
        let mut goes_on = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while goes_on {
            let mut more = GnuExtSparseHeader::new();
            exact(&mut self.input, more.as_mut_bytes())?;
            self.write(more.as_bytes())?;
            goes_on = more.is_extended();
        }
        Ok(())
    }

    /// Copies data and what fills its last block up.
    fn data(&mut self, size: u64) -> Result<(), Error> {
        let whole = size.checked_next_multiple_of(BLOCK as u64);
        let whole = whole.ok_or(Error::Header("size"))?;
        let mut data = (&mut self.input).take(whole);
        let copied = std::io::copy(&mut data, &mut self.out).map_err(Error::Write)?;
        if copied == whole {
            Ok(())
        } else {
            Err(Error::Truncated)
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Write)
    }
}

/// The header with zeros where numbers are left blank, to be read.
fn filled(header: &Header) -> Header {
    let mut block = *header.as_bytes();
    fields::fill_blanks(&mut block);
    Header::from_byte_slice(&block).clone()
}

fn size_of(header: &Header) -> Result<u64, Error> {
    let size = header.entry_size();
    size.map_err(|_error| Error::Header("size"))
}

fn set_time(header: &mut Header, seconds: i64) {
    header.as_old_mut().mtime = field(seconds);
}

/// A time as headers have it: octal digits, or GNU's binary form for what these cannot hold.
fn field(seconds: i64) -> [u8; 12] {
    let mut field = [0; 12];
    if (0..=MAX_OCTAL).contains(&seconds) {
        for (to, from) in field.iter_mut().zip(format!("{seconds:011o}").bytes()) {
            *to = from;
        }
        return field;
    }
    if seconds < 0 {
        field.fill(0xff);
    } else if let Some(first) = field.first_mut() {
        *first = 0x80;
    }
    for (to, from) in field.iter_mut().skip(4).zip(seconds.to_be_bytes()) {
        *to = from;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, PackFormat, PackOptions, Packer, Reader};

    const LATEST: i64 = 1_000_000_000;

    fn entry(path: &str, mtime: i64, contents: &[u8]) -> Entry {
        Entry {
            path: path.into(),
            kind: Kind::File,
            mode: 0o640,
            uid: 3,
            gid: 4,
            mtime: (mtime, 0),
            size: contents.len() as u64,
            xattrs: Vec::new(),
            segments: None,
        }
    }

    fn packer() -> Packer<Vec<u8>> {
        let options = PackOptions {
            format: PackFormat::Tree,
            owner: None,
            mtime: None,
        };
        Packer::new(Vec::new(), options)
    }

    fn clamped(archive: &[u8], latest: i64) -> Vec<u8> {
        let mut out = Vec::new();
        clamp_times(archive, &mut out, latest).unwrap();
        out
    }

    /// The times in an archive.
    fn times(archive: &[u8]) -> Vec<(i64, u32)> {
        let mut reader = Reader::new(archive);
        let mut times = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            times.push(entry.mtime);
        }
        times
    }

    #[test]
    fn what_is_later_gets_the_time_and_all_else_stays() {
        let archive = |late: i64| {
            let mut packer = packer();
            for (path, mtime) in [("early", 5), ("late", late), (&"/long".repeat(60), -7)] {
                let mut entry = entry(path, mtime, path.as_bytes());
                entry.xattrs = vec![(b"user.a".to_vec(), b"1".to_vec())];
                packer.file(&entry, path.as_bytes()).unwrap();
            }
            packer.finish().unwrap()
        };
        let one = archive(LATEST + 9);
        let other = archive(LATEST << 20);
        assert_ne!(one, other);
        assert_eq!(clamped(&one, LATEST), clamped(&other, LATEST));
        assert_eq!(
            times(&clamped(&other, LATEST)),
            [(5, 0), (LATEST, 0), (-7, 0)]
        );
        assert_eq!(clamped(&one, LATEST + 9), one);
        let mut reader = Reader::new(one.as_slice());
        let clamped = clamped(&one, LATEST);
        let mut same = Reader::new(clamped.as_slice());
        while let Some(before) = reader.next_entry().unwrap() {
            let after = same.next_entry().unwrap().unwrap();
            assert_eq!(after.path, before.path);
            assert_eq!((after.mode, after.uid, after.gid), (0o640, 3, 4));
            assert_eq!(after.xattrs, before.xattrs);
            let mut contents = Vec::new();
            same.read_to_end(&mut contents).unwrap();
            assert_eq!(contents, after.path);
        }
    }

    #[test]
    fn times_that_octal_digits_cannot_hold_are_written_too() {
        let mut packer = packer();
        packer.file(&entry("a", 99, b""), b"").unwrap();
        let archive = packer.finish().unwrap();
        assert_eq!(times(&clamped(&archive, -5)), [(-5, 0)]);
        let mut header = Header::new_gnu();
        set_time(&mut header, MAX_OCTAL + 1);
        assert_eq!(fields::mtime(&header).unwrap(), MAX_OCTAL + 1);
    }

    #[test]
    fn fractions_and_the_times_of_reading_are_clamped() {
        let mut records = Vec::new();
        for key in ["mtime", "atime", "ctime"] {
            let late = format!("{LATEST}.25");
            pax::push(&mut records, key.as_bytes(), late.as_bytes());
        }
        let mut archive = Vec::new();
        for (kind, data) in [
            (EntryType::XHeader, records.as_slice()),
            (EntryType::Regular, b"x"),
        ] {
            let mut header = Header::new_gnu();
            header.set_path("f").unwrap();
            header.set_mode(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(u64::MAX >> 20);
            header.as_gnu_mut().unwrap().set_atime(u64::MAX >> 20);
            header.set_entry_type(kind);
            header.set_size(data.len() as u64);
            header.set_cksum();
            archive.extend_from_slice(header.as_bytes());
            archive.extend_from_slice(data);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        archive.extend_from_slice(&[0; 2 * BLOCK]);
        let clamped = clamped(&archive, LATEST);
        assert_eq!(times(&clamped), [(LATEST, 0)]);
        let text = String::from_utf8_lossy(&clamped);
        assert!(!text.contains("mtime="), "{text}");
        assert!(text.contains(&format!("atime={LATEST}\n")), "{text}");
        let own = Header::from_byte_slice(&clamped[2 * BLOCK..3 * BLOCK]);
        let read = own.as_gnu().unwrap().atime().unwrap();
        assert_eq!(read, LATEST.unsigned_abs());
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let mut packer = packer();
        packer.file(&entry("a", 1, b"data"), b"data").unwrap();
        let archive = packer.finish().unwrap();
        for length in [100, 512, 700] {
            let cut = clamp_times(&archive[..length], std::io::sink(), 0);
            assert!(matches!(cut, Err(Error::Truncated)), "{length}: {cut:?}");
        }
    }
}
