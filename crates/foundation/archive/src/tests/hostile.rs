//! Archives that mean harm, and broken ones.

use std::fs;

use super::{TREE, archive, entry, everything, hard, link, overlay, read, root, unpack};
use crate::{Error, ExtractOptions, Kind, Packer, Reader, extract, header, pack};

/// Every one of these is refused, and nothing outside of the root is touched by it.
#[test]
fn hostile_archives_are_refused() {
    let cases: [(&str, Vec<(&str, Kind)>); 7] = [
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
fn above_the_root_is_the_root() {
    let bytes = archive(&[
        ("../escape", Kind::File),
        ("a/../../up", Kind::File),
        ("h", hard("../../escape")),
        ("l", link("../../escape")),
        ("d/l", link("../../e")),
    ]);
    let (dir, done) = unpack(&bytes, &overlay());
    done.unwrap();
    assert_eq!(read(&dir, "escape"), "../escape");
    assert_eq!(read(&dir, "up"), "a/../../up");
    assert_eq!(read(&dir, "h"), "../escape");
    let target = |name| fs::read_link(dir.path().join(name)).unwrap();
    assert_eq!(target("l").to_str(), Some("../../escape"));
    assert!(!dir.path().parent().unwrap().join("escape").exists());
}

/// It was asked for that one.
#[test]
fn nothing_leads_out_of_a_directory_unpacked_in() {
    let below = ExtractOptions {
        below: b"d".to_vec(),
        ..ExtractOptions::default()
    };
    for (name, kind) in [
        ("../escape", Kind::File),
        ("a/../../escape", Kind::File),
        ("h", hard("../escape")),
        ("l", link("../escape")),
    ] {
        let inside = tempfile::tempdir().unwrap();
        fs::create_dir(inside.path().join("d")).unwrap();
        fs::write(inside.path().join("escape"), "").unwrap();
        let done = extract(&*archive(&[(name, kind)]), root(inside.path()), &below);
        let refused = matches!(
            done,
            Err(Error::OutsideRoot { .. }
                | Error::HardLinkOutsideRoot { .. }
                | Error::SymlinkOutsideRoot { .. })
        );
        assert!(refused, "{name}: {done:?}");
        assert_eq!(
            fs::read(inside.path().join("escape")).unwrap(),
            b"",
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
    done.unwrap();
    assert_eq!(read(&dir, "top"), "up/top");
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
    // In a header, or in the data of a file; the fill behind that may be missing.
    let (mut fills, mut at) = (Vec::new(), 0);
    loop {
        let mut reader = Reader::new(&bytes[at..]);
        if reader.next_entry().unwrap().is_none() {
            break;
        }
        std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        let end = bytes.len() - reader.into_inner().len();
        at = end.next_multiple_of(512);
        fills.push(end..=at);
    }
    for end in (1..bytes.len() - 1024).step_by(97) {
        let (_dir, done) = unpack(&bytes[..end], &ExtractOptions::default());
        let whole = fills.iter().any(|fill| fill.contains(&end));
        assert_eq!(done.is_ok(), whole, "{end}: {done:?}");
        assert!(
            matches!(done, Ok(_) | Err(Error::Truncated)),
            "{end}: {done:?}"
        );
    }
    bytes[700] ^= 1;
    bytes[3] ^= 1;
    assert!(matches!(
        unpack(&bytes, &ExtractOptions::default()).1,
        Err(Error::Header(_))
    ));
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
