//! Whatever bytes are unpacked: it ends, and nothing outside the root is touched.

#![cfg(test)]

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use arca_archive::{ExtractOptions, Whiteouts, extract, open_root};
use proptest::prelude::*;

/// Unpacks below `jail/root`, beside which a file stands that must stay as it is.
fn unpack(bytes: &[u8], whiteouts: Whiteouts) {
    let jail = tempfile::tempdir().unwrap();
    let root = jail.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(jail.path().join("outside"), "untouched").unwrap();
    let options = ExtractOptions {
        whiteouts,
        ..ExtractOptions::default()
    };
    let _outcome = extract(Cursor::new(bytes), open_root(&root).unwrap(), &options);
    let names = fs::read_dir(jail.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["outside", "root"]);
    let outside = fs::read_to_string(jail.path().join("outside")).unwrap();
    assert_eq!(outside, "untouched");
}

/// An archive with all kinds of entries, made by GNU tar.
fn sample() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let script = "mkdir -p d/e; echo one > d/one; ln d/one d/two; ln -s ../../outside d/link; \
        mkfifo d/fifo; : > d/.wh.gone; : > d/e/.wh..wh..opq; truncate -s 200K d/hole; echo x >> d/hole; \
        echo y > \"d/$(printf '%0150d' 7)\"";
    let mut made = Command::new("sh");
    made.args(["-ec", script]).current_dir(directory.path());
    assert!(made.status().unwrap().success());
    let archive = |format: &str, path: &Path| {
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(path)
            .args([format, "--sparse", "-cf", "-", "d"]);
        tar.output().unwrap().stdout
    };
    let mut bytes = archive("--format=posix", directory.path());
    // The second archive follows the end of the first: the blocks in between are cut off by chance.
    bytes.extend(archive("--format=gnu", directory.path()));
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nonsense_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        unpack(&bytes, Whiteouts::Overlay);
    }

    #[test]
    fn archives_with_broken_bytes_are_survived(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        length in any::<prop::sample::Index>(),
        overlay in any::<bool>(),
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(length.index(bytes.len() * 2).max(512));
        let whiteouts = if overlay { Whiteouts::Overlay } else { Whiteouts::Plain };
        unpack(&bytes, whiteouts);
    }

    /// Headers whose checksum is right, with any name, kind and target.
    #[test]
    fn well_formed_headers_stay_below_the_root(
        entries in proptest::collection::vec(
            ("[./a-c]{1,12}", "[./a-c]{0,12}", prop::sample::select(b"0123456LKxg".to_vec()), 0_u64..600),
            1..10,
        ),
    ) {
        let mut bytes = Vec::new();
        for (name, link, kind, size) in entries {
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..108].copy_from_slice(b"0000755\0");
            header[108..116].copy_from_slice(b"0000000\0");
            header[116..124].copy_from_slice(b"0000000\0");
            header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
            header[136..148].copy_from_slice(b"00000000000\0");
            header[148..156].copy_from_slice(b"        ");
            header[156] = kind;
            header[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header[257..265].copy_from_slice(b"ustar\x0000");
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes.extend(header);
            let data = usize::try_from(size).unwrap();
            bytes.resize(bytes.len() + data.next_multiple_of(512), b'.');
        }
        bytes.resize(bytes.len() + 1024, 0);
        unpack(&bytes, Whiteouts::Overlay);
    }
}
