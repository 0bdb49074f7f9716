//! Layers: what they take away, replace and keep.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use tempfile::TempDir;

use super::{LAYER, TREE, archive, everything, hard, link, overlay, read, root, unpack, xattr};
use crate::{Error, ExtractOptions, Kind, copy_tree, pack, tree_size};

#[test]
fn whiteouts_become_those_of_overlayfs_and_back() {
    let bytes = archive(&[
        ("dir", Kind::Directory),
        ("dir/.wh..wh..opq", Kind::File),
        ("dir/new", Kind::File),
        (".wh.gone", Kind::File),
        ("some/where/.wh.else", Kind::File),
        (".wh..wh.plnk", Kind::Directory),
        ("kept", Kind::File),
        (".wh.kept", Kind::File),
        (".wh.again", Kind::File),
        ("again", Kind::Directory),
    ]);
    let (dir, done) = unpack(&bytes, &overlay());
    done.unwrap();
    let at = |path: &str| dir.path().join(path);
    for gone in ["gone", "some/where/else"] {
        let meta = fs::symlink_metadata(at(gone)).unwrap();
        assert!(
            meta.file_type().is_char_device() && meta.rdev() == 0,
            "{gone}"
        );
    }
    for opaque in ["dir", "again"] {
        assert_eq!(
            xattr(&at(opaque), "trusted.overlay.opaque"),
            b"y",
            "{opaque}"
        );
    }
    assert_eq!(read(&dir, "kept"), "kept");
    assert!(!at(".wh..wh.plnk").exists());

    let mut packed = Vec::new();
    pack(root(dir.path()), &mut packed, LAYER).unwrap();
    let (second, done) = unpack(&packed, &ExtractOptions::default());
    done.unwrap();
    for path in [
        "dir/.wh..wh..opq",
        "dir/new",
        ".wh.gone",
        "some/where/.wh.else",
        "again",
    ] {
        assert!(second.path().join(path).exists(), "{path}");
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let bytes = archive(&[
        ("a", Kind::File),
        ("a", Kind::Directory),
        ("a/b", Kind::File),
        ("x/y/z", Kind::File),
        ("x", Kind::File),
        ("l", link("a")),
        ("l/through", Kind::File),
        ("l", Kind::Directory),
        ("l/own", Kind::File),
        ("h", Kind::File),
        ("h", hard("a/b")),
    ]);
    let (dir, done) = unpack(&bytes, &ExtractOptions::default());
    done.unwrap();
    assert_eq!(read(&dir, "a/through"), "l/through");
    assert_eq!(read(&dir, "l/own"), "l/own");
    assert!(!dir.path().join("l/through").exists());
    assert_eq!(read(&dir, "x"), "x");
    assert_eq!(read(&dir, "h"), "a/b");
}

#[test]
fn what_has_been_replaced_is_said_so() {
    for (entries, replaced) in [
        (&[("a", Kind::File), ("b", hard("a"))][..], false),
        (&[("a", Kind::File), ("a", Kind::File)], true),
        (&[("a", Kind::File), ("a", Kind::Directory)], true),
        (&[("a/b", Kind::File), ("a", Kind::File)], true),
        // What is in a whiteout is not unpacked.
        (&[(".wh.a", Kind::File)], true),
    ] {
        let (dir, done) = unpack(&archive(entries), &overlay());
        let done = done.unwrap();
        assert_eq!(done.replaced, replaced, "{entries:?}");
        let there = tree_size(fs::File::open(dir.path()).unwrap().into()).unwrap();
        assert_eq!(there == done.bytes, !replaced, "{entries:?}");
    }
}

#[test]
fn directories_are_kept_when_asked_to() {
    let options = ExtractOptions {
        keep_directories: true,
        ..ExtractOptions::default()
    };
    let (_dir, done) = unpack(
        &archive(&[("a", Kind::Directory), ("a", Kind::File)]),
        &options,
    );
    assert!(
        matches!(done, Err(Error::NonDirectoryOverDirectory { .. })),
        "{done:?}"
    );
    let (_dir, done) = unpack(
        &archive(&[("a", Kind::File), ("a", Kind::Directory)]),
        &options,
    );
    assert!(
        matches!(done, Err(Error::DirectoryOverNonDirectory { .. })),
        "{done:?}"
    );
}

#[test]
fn a_copied_tree_is_the_same_and_a_layer_goes_on_top() {
    let original = everything();
    let sparse = fs::File::create(original.path().join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    rustix::io::pwrite(&sparse, b"data", 32 << 20).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_tree(root(original.path()), root(copy.path()), false).unwrap();
    let packed = |dir: &TempDir| {
        let mut bytes = Vec::new();
        pack(root(dir.path()), &mut bytes, TREE).unwrap();
        bytes
    };
    assert!(packed(&original) == packed(&copy));
    assert!(fs::metadata(copy.path().join("sparse")).unwrap().blocks() < 1000);

    let layer = archive(&[
        ("etc", Kind::Directory),
        ("etc/.wh..wh..opq", Kind::File),
        ("etc/new", Kind::File),
        (".wh.setuid", Kind::File),
        (".wh.never-was", Kind::File),
        ("link", Kind::Directory),
    ]);
    let (upper, done) = unpack(&layer, &overlay());
    done.unwrap();
    copy_tree(root(upper.path()), root(copy.path()), true).unwrap();
    let names = fs::read_dir(copy.path().join("etc")).unwrap().count();
    assert_eq!((names, read(&copy, "etc/new").as_str()), (1, "etc/new"));
    assert!(!copy.path().join("setuid").exists());
    assert!(copy.path().join("link").is_dir());
    assert!(root(copy.path()).as_fd().try_clone_to_owned().is_ok());
}
