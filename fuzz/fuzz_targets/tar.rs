//! A layer is unpacked or refused, and nothing beside its root is touched.
#![no_main]

use arca_archive::{ExtractOptions, Whiteouts, extract, open_root};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let jail = tempfile::tempdir().unwrap();
    let root = jail.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let options = ExtractOptions {
        whiteouts: Whiteouts::Overlay,
        ..ExtractOptions::default()
    };
    let _outcome = extract(data, open_root(&root).unwrap(), &options);
    assert_eq!(std::fs::read_dir(jail.path()).unwrap().count(), 1);
});
