//! A DNS message is answered or dropped, and the answer carries the question's number.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(answer) = arca_net::dns_survives(data) {
        assert_eq!(answer.get(..2), data.get(..2));
    }
});
