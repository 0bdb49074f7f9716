//! The kernel does what archives say, and no more. These need root.

mod hostile;
mod layers;
mod pack;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, XattrFlags};
use tempfile::TempDir;

use crate::{
    Entry, Error, ExtractOptions, Extracted, Kind, PackFormat, PackOptions, Packer, Whiteouts,
    extract, open_root,
};

const TREE: PackOptions = PackOptions {
    format: PackFormat::Tree,
    owner: None,
    mtime: None,
};

const LAYER: PackOptions = PackOptions {
    format: PackFormat::Layer,
    owner: None,
    mtime: None,
};

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: (1_000_000, 0),
        size: 0,
        xattrs: Vec::new(),
        segments: None,
    }
}

/// An archive of these entries; files have their own path as contents.
fn archive(entries: &[(&str, Kind)]) -> Vec<u8> {
    let mut packer = Packer::new(Vec::new(), TREE);
    for (path, kind) in entries {
        let mut entry = entry(path, kind.clone());
        let contents = if *kind == Kind::File {
            path.as_bytes()
        } else {
            &[]
        };
        entry.size = contents.len() as u64;
        packer.file(&entry, contents).unwrap();
    }
    packer.finish().unwrap()
}

fn link(target: &str) -> Kind {
    Kind::Symlink(target.into())
}

fn hard(target: &str) -> Kind {
    Kind::HardLink(target.into())
}

fn overlay() -> ExtractOptions {
    ExtractOptions {
        whiteouts: Whiteouts::Overlay,
        ..ExtractOptions::default()
    }
}

fn unpack(archive: &[u8], options: &ExtractOptions) -> (TempDir, Result<Extracted, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let done = extract(archive, root(dir.path()), options);
    (dir, done)
}

fn root(path: &Path) -> OwnedFd {
    open_root(path).unwrap()
}

fn read(dir: &TempDir, path: &str) -> String {
    fs::read_to_string(dir.path().join(path)).unwrap()
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn xattr(path: &Path, name: &str) -> Vec<u8> {
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
    value[..length].to_vec()
}

/// A tree with one of everything.
fn everything() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("etc/sub")).unwrap();
    fs::write(at("etc/passwd"), "root").unwrap();
    fs::write(at("setuid"), "x".repeat(5000)).unwrap();
    std::os::unix::fs::chown(at("setuid"), Some(7), Some(3_000_000)).unwrap();
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o4751)).unwrap();
    set_xattr(&at("setuid"), "user.note", b"a=\0b\n");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&at("setuid"), "security.capability", &capability);
    set_xattr(&at("etc"), "user.dir", b"yes");
    symlink("etc/passwd", at("link")).unwrap();
    symlink("/nowhere/".repeat(15), at("long-link")).unwrap();
    fs::hard_link(at("etc/passwd"), at("etc/sub/same")).unwrap();
    let deep = at(&format!("{}/{}", "d".repeat(120), "e".repeat(200)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("ümlaut"), "deep").unwrap();
    let fifo = Mode::from_raw_mode(0o620);
    let cwd = rustix::fs::CWD;
    rustix::fs::mknodat(cwd, at("fifo"), rustix::fs::FileType::Fifo, fifo, 0).unwrap();
    let device = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(cwd, at("null"), kind, Mode::from_raw_mode(0o666), device).unwrap();
    fs::set_permissions(at("etc/sub"), fs::Permissions::from_mode(0o1777)).unwrap();
    Command::new("touch")
        .args(["-d", "@12345"])
        .arg(at("etc/sub"))
        .arg(at("etc"))
        .status()
        .unwrap();
    dir
}
