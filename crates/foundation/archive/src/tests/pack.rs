//! What is packed, read, copied and removed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

use super::{TREE, archive, everything, read, root, unpack, xattr};
use crate::{ExtractOptions, Kind, Packer, extract, pack, remove_tree, tree_size};

#[test]
fn what_is_packed_unpacks_to_the_same() {
    let original = everything();
    let mut first = Vec::new();
    pack(root(original.path()), &mut first, TREE).unwrap();

    let (copy, done) = unpack(&first, &ExtractOptions::default());
    let done = done.unwrap();
    let mut second = Vec::new();
    pack(root(copy.path()), &mut second, TREE).unwrap();

    assert!(first == second, "the archives differ");
    assert_eq!(done.entries, 12);
    let size = |dir: &TempDir| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        tree_size(rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap()).unwrap()
    };
    assert_eq!(size(&copy), size(&original));
    assert_eq!(done.bytes, size(&copy));
    let setuid = copy.path().join("setuid");
    let meta = fs::metadata(&setuid).unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.uid(), meta.gid()),
        (0o4751, 7, 3_000_000)
    );
    assert_eq!(xattr(&setuid, "user.note"), b"a=\0b\n");
    assert_eq!(xattr(&setuid, "security.capability").len(), 20);
    let meta = fs::metadata(copy.path().join("etc/sub")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o1777, 12345));
    assert_eq!(
        fs::metadata(copy.path().join("etc/passwd"))
            .unwrap()
            .nlink(),
        2
    );
    assert!(
        fs::metadata(copy.path().join("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn gnu_tar_reads_what_is_packed() {
    let original = everything();
    let mut bytes = Vec::new();
    pack(root(original.path()), &mut bytes, TREE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.tar");
    fs::write(&file, &bytes).unwrap();
    let listed = Command::new("tar").arg("-tf").arg(&file).output().unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 12);
}

#[test]
fn archives_of_gnu_tar_unpack_with_their_holes() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    let pwrite = |data: &[u8], at: u64| rustix::io::pwrite(&sparse, data, at).unwrap();
    for part in 0..30 {
        pwrite(b"part", part * (1 << 20));
    }
    sparse.set_len(40 << 20).unwrap();
    fs::write(source.join("n".repeat(200)), "long").unwrap();
    for format in ["gnu", "posix", "ustar"] {
        let file = dir.path().join(format);
        let name = if format == "ustar" { "sparse" } else { "." };
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&source).arg(format!("--format={format}"));
        if format != "ustar" {
            tar.arg("--sparse");
        }
        assert!(
            tar.arg("-cf")
                .arg(&file)
                .arg(name)
                .status()
                .unwrap()
                .success()
        );

        let bytes = fs::read(&file).unwrap();
        let (copy, done) = unpack(&bytes, &ExtractOptions::default());
        done.unwrap();

        let copied = copy.path().join("sparse");
        assert!(
            fs::read(&copied).unwrap() == fs::read(source.join("sparse")).unwrap(),
            "{format}"
        );
        if format != "ustar" {
            assert!(fs::metadata(&copied).unwrap().blocks() < 1000, "{format}");
            assert_eq!(read(&copy, &"n".repeat(200)), "long");
        }
    }
}

#[test]
fn an_archive_can_go_below_a_directory_and_to_another_owner() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("real")).unwrap();
    symlink("/real", dir.path().join("work")).unwrap();
    let options = ExtractOptions {
        below: b"work".to_vec(),
        owner: Some((12, 34)),
        ..ExtractOptions::default()
    };
    extract(
        archive(&[("new/f", Kind::File)]).as_slice(),
        root(dir.path()),
        &options,
    )
    .unwrap();
    for path in ["real/new", "real/new/f"] {
        let meta = fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12, 34), "{path}");
    }
}

#[test]
fn one_entry_is_packed_under_another_name() {
    let original = everything();
    let mut packer = Packer::new(Vec::new(), TREE);
    packer
        .add(root(original.path()), b"etc", b"renamed")
        .unwrap();
    packer
        .add(root(original.path()), b"link", b"the-link")
        .unwrap();
    let (dir, done) = unpack(&packer.finish().unwrap(), &ExtractOptions::default());
    done.unwrap();
    assert_eq!(read(&dir, "renamed/sub/same"), "root");
    assert_eq!(
        fs::read_link(dir.path().join("the-link")).unwrap(),
        Path::new("etc/passwd")
    );
}

#[test]
fn a_tree_of_any_depth_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("top")).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut current = rustix::fs::open(dir.path().join("top"), flags, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&current, "down", Mode::RWXU).unwrap();
        let mut file = fs::File::from(
            rustix::fs::openat(&current, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap(),
        );
        file.write_all(b"x").unwrap();
        current = rustix::fs::openat(&current, "down", flags, Mode::empty()).unwrap();
    }
    remove_tree(root(dir.path()), b"top").unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
