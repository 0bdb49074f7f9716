//! Writing headers: ustar, and PAX for what does not fit.

use std::io::Write;

use tar::{EntryType, Header};

use crate::error::Error;
use crate::pax;
use crate::reader::{Entry, Kind};

/// The largest number in seven and in eleven octal digits.
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;

/// Writes the header of `entry`, preceded by a PAX header when it needs one.
pub(crate) fn write(out: &mut impl Write, entry: &Entry) -> Result<(), Error> {
    let mut path = entry.path.clone();
    if entry.kind == Kind::Directory && !path.ends_with(b"/") {
        path.push(b'/');
    }
    let (kind, link, device) = describe(&entry.kind);
    let mut extra = Vec::new();
    let mut header = Header::new_ustar();
    if !fits(&path) {
        pax::push(&mut extra, b"path", &path);
    }
    if !fits(link) {
        pax::push(&mut extra, b"linkpath", link);
    }
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, &path);
        fill(&mut ustar.linkname, link);
        ustar.set_device_major(device.0);
        ustar.set_device_minor(device.1);
    }
    for (key, id, set) in [
        (
            &b"uid"[..],
            entry.uid,
            Header::set_uid as fn(&mut Header, u64),
        ),
        (b"gid", entry.gid, Header::set_gid),
    ] {
        set(&mut header, u64::from(if id > MAX_ID { 0 } else { id }));
        if id > MAX_ID {
            pax::push(&mut extra, key, id.to_string().as_bytes());
        }
    }
    header.set_size(if entry.size > MAX_SIZE { 0 } else { entry.size });
    if entry.size > MAX_SIZE {
        pax::push(&mut extra, b"size", entry.size.to_string().as_bytes());
    }
    let seconds = u64::try_from(entry.mtime.0)
        .ok()
        .filter(|seconds| *seconds <= MAX_SIZE);
    header.set_mtime(seconds.unwrap_or(0));
    if seconds.is_none() {
        pax::push(&mut extra, b"mtime", entry.mtime.0.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        pax::push(&mut extra, &[pax::XATTR, name].concat(), value);
    }
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_cksum();
    if !extra.is_empty() {
        write_pax(out, &path, &extra)?;
    }
    out.write_all(header.as_bytes()).map_err(Error::Write)
}

/// Fills the last block of data of this size up with zeros.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> Result<(), Error> {
    let fill = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
    out.write_all([0_u8; 512].get(..fill).unwrap_or_default())
        .map_err(Error::Write)
}

fn write_pax(out: &mut impl Write, path: &[u8], extra: &[u8]) -> Result<(), Error> {
    let mut header = Header::new_ustar();
    if let Some(ustar) = header.as_ustar_mut() {
        let (_, name) = crate::path::split(path.strip_suffix(b"/").unwrap_or(path));
        fill(&mut ustar.name, &[b"PaxHeaders.0/", name].concat());
    }
    header.set_entry_type(EntryType::XHeader);
    header.set_size(extra.len() as u64);
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    out.write_all(header.as_bytes()).map_err(Error::Write)?;
    out.write_all(extra).map_err(Error::Write)?;
    pad(out, extra.len() as u64)
}

/// The type, the target of a link, and the device number.
fn describe(kind: &Kind) -> (EntryType, &[u8], (u32, u32)) {
    match kind {
        Kind::File => (EntryType::Regular, &[], (0, 0)),
        Kind::Directory => (EntryType::Directory, &[], (0, 0)),
        Kind::Symlink(target) => (EntryType::Symlink, target, (0, 0)),
        Kind::HardLink(target) => (EntryType::Link, target, (0, 0)),
        Kind::Char(major, minor) => (EntryType::Char, &[], (*major, *minor)),
        Kind::Block(major, minor) => (EntryType::Block, &[], (*major, *minor)),
        Kind::Fifo => (EntryType::Fifo, &[], (0, 0)),
    }
}

/// Old readers know ASCII and a hundred bytes.
fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

/// Copies as much as there is room for.
fn fill(field: &mut [u8; 100], value: &[u8]) {
    for (to, from) in field.iter_mut().zip(value) {
        *to = *from;
    }
}
