//! The kernel does what archives say, and no more. These need root.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags, XattrFlags};
use tempfile::TempDir;

use crate::{
    Entry, Error, ExtractOptions, Extracted, Kind, PackFormat, PackOptions, Packer, Whiteouts,
    copy_tree, extract, header, open_root, pack, remove_tree, tree_size,
};

const TREE: PackOptions = PackOptions {
    format: PackFormat::Tree,
    owner: None,
};
const LAYER: PackOptions = PackOptions {
    format: PackFormat::Layer,
    owner: None,
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

/// Every one of these is refused, and nothing outside of the root is touched by it.
#[test]
fn hostile_archives_are_refused() {
    let cases: [(&str, Vec<(&str, Kind)>); 10] = [
        ("dots", vec![("../escape", Kind::File)]),
        ("dots inside", vec![("a/../../escape", Kind::File)]),
        ("symlink out", vec![("l", link("../../escape"))]),
        ("hard link out", vec![("h", hard("../../../etc/passwd"))]),
        ("hard link to the root", vec![("h", hard("/"))]),
        ("whiteout of dots", vec![(".wh...", Kind::File)]),
        ("whiteout of a dot", vec![("a/.wh..", Kind::File)]),
        ("whiteout of nothing", vec![(".wh.", Kind::File)]),
        ("below a file", vec![("f", Kind::File), ("f/g", Kind::File)]),
        (
            "below a link in a circle",
            vec![("l", link("l")), ("l/g", Kind::File)],
        ),
    ];
    for (name, entries) in cases {
        let (dir, done) = unpack(&archive(&entries), &overlay());
        assert!(done.is_err(), "{name}");
        assert!(
            !dir.path().parent().unwrap().join("escape").exists(),
            "{name}"
        );
    }
}

#[test]
fn links_and_absolute_paths_stay_inside() {
    let victim = tempfile::tempdir().unwrap();
    let outside = victim.path().to_str().unwrap();
    let bytes = archive(&[
        ("/etc/absolute", Kind::File),
        (&outside[1..], Kind::Directory),
        ("out", link(outside)),
        ("out/file", Kind::File),
        ("up", link("/../../..")),
        ("up/top", Kind::File),
        ("proc", link("/proc/self/root")),
        ("h", hard("/etc/absolute")),
    ]);
    let (dir, done) = unpack(&bytes, &ExtractOptions::default());
    assert!(
        matches!(done, Err(Error::SymlinkOutsideRoot { .. })),
        "{done:?}"
    );
    let bytes = archive(&[
        ("/etc/absolute", Kind::File),
        (&outside[1..], Kind::Directory),
        ("out", link(outside)),
        ("out/file", Kind::File),
        ("h", hard("/etc/absolute")),
    ]);
    let (inside, done) = unpack(&bytes, &ExtractOptions::default());
    done.unwrap();
    drop(dir);
    assert_eq!(
        fs::read_dir(victim.path()).unwrap().count(),
        0,
        "a file got out"
    );
    assert_eq!(
        read(&inside, &format!("{}/file", &outside[1..])),
        "out/file"
    );
    assert_eq!(read(&inside, "h"), "/etc/absolute");
}

#[test]
fn reserved_attributes_are_refused() {
    let mut entry = entry("dir", Kind::Directory);
    entry
        .xattrs
        .push((b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec()));
    let mut packer = Packer::new(Vec::new(), TREE);
    packer.file(&entry, b"").unwrap();
    let (_dir, done) = unpack(&packer.finish().unwrap(), &overlay());
    assert!(matches!(done, Err(Error::ReservedXattr { .. })), "{done:?}");
}

#[test]
fn limits_hold() {
    let bytes = archive(&[("aaaa", Kind::File), ("bbbb", Kind::File)]);
    let few = ExtractOptions {
        max_entries: Some(1),
        ..ExtractOptions::default()
    };
    assert!(matches!(
        unpack(&bytes, &few).1,
        Err(Error::TooManyEntries(1))
    ));
    let small = ExtractOptions {
        max_bytes: Some(7),
        ..ExtractOptions::default()
    };
    assert!(matches!(unpack(&bytes, &small).1, Err(Error::TooLarge(7))));
    // A size that nothing stands behind.
    let mut huge = entry("huge", Kind::File);
    huge.size = u64::MAX / 4;
    let mut bytes = Vec::new();
    header::write(&mut bytes, &huge).unwrap();
    bytes.extend([0; 4096]);
    assert!(matches!(
        unpack(&bytes, &ExtractOptions::default()).1,
        Err(Error::Truncated)
    ));
    // A name that would have to be held in memory.
    let mut name = tar::Header::new_gnu();
    name.set_entry_type(tar::EntryType::GNULongName);
    name.set_size(1 << 40);
    name.set_cksum();
    let refused = unpack(name.as_bytes(), &ExtractOptions::default()).1;
    assert!(
        matches!(refused, Err(Error::HeaderTooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_truncated_archive_is_refused_wherever_it_ends() {
    let mut bytes = Vec::new();
    pack(root(everything().path()), &mut bytes, TREE).unwrap();
    for end in (1..bytes.len() - 1024)
        .step_by(97)
        .filter(|end| end % 512 != 0)
    {
        let (_dir, done) = unpack(&bytes[..end], &ExtractOptions::default());
        assert!(matches!(done, Err(Error::Truncated)), "{end}: {done:?}");
    }
    bytes[700] ^= 1;
    bytes[3] ^= 1;
    assert!(matches!(
        unpack(&bytes, &ExtractOptions::default()).1,
        Err(Error::Header(_))
    ));
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

/// A poor man's fuzzer: whatever is done to an archive, reading it ends, and stays inside.
#[test]
fn mutilated_archives_are_read_without_harm() {
    let mut original = Vec::new();
    pack(root(everything().path()), &mut original, TREE).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap()
    };
    for _ in 0..700 {
        let mut bytes = original.clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % bytes.len();
            bytes[at] = u8::try_from(next() % 256).unwrap();
            if next() % 3 == 0 {
                // With a sum that fits, so that the field itself is looked at.
                let start = at / 512 * 512;
                let header: &mut [u8] = &mut bytes[start..start + 512];
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let mut reader = crate::Reader::new(bytes.as_slice());
        while let Ok(Some(_)) = reader.next_entry() {}
        let limits = ExtractOptions {
            max_bytes: Some(1 << 20),
            ..overlay()
        };
        drop(unpack(&bytes, &limits));
    }
}
