//! A configuration is read or refused, and written as it is read.
#![no_main]

use arca_images::ImageConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = ImageConfig::parse(data) {
        let bytes = config.to_bytes().unwrap();
        assert_eq!(ImageConfig::parse(&bytes).unwrap(), config);
    }
});
