//! A manifest or an index is read or refused.
#![no_main]

use arca_images::check_manifest;
use libfuzzer_sys::fuzz_target;

const KINDS: [&str; 4] = [
    "",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

fuzz_target!(|data: &[u8]| {
    if let [first, rest @ ..] = data {
        let _outcome = check_manifest(rest, KINDS[usize::from(*first) % KINDS.len()]);
    }
});
