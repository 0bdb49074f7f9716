//! A name is read as it is written.
#![no_main]

use arca_types::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let again: Reference = reference.to_string().parse().unwrap();
        assert_eq!(again.to_string(), reference.to_string());
    }
});
