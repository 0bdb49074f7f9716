//! Whatever a registry or an archive says: it is read or refused.

use arca_images::{ImageConfig, check_manifest};
use arca_types::Reference;
use proptest::prelude::*;

use crate::kit::{INDEX, MANIFEST, Sample};

/// A JSON document of which some bytes are others.
fn broken(document: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    changes.prop_map(move |changes| {
        let mut document = document.clone();
        for (at, byte) in changes {
            let at = at.index(document.len());
            document[at] = byte;
        }
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn manifests_are_read_or_refused(
        bytes in broken(Sample::new(&["one", "two"]).manifest),
        index in any::<bool>(),
    ) {
        let _outcome = check_manifest(&bytes, if index { INDEX } else { MANIFEST });
    }

    #[test]
    fn configurations_are_read_or_refused(bytes in broken(Sample::new(&["one"]).config)) {
        if let Ok(config) = ImageConfig::parse(&bytes) {
            let again = config.to_bytes().unwrap();
            prop_assert_eq!(ImageConfig::parse(&again).unwrap(), config);
        }
    }

    #[test]
    fn references_are_read_as_they_are_written(text in "[a-zA-Z0-9._:/@-]{1,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let again: Reference = reference.to_string().parse().unwrap();
            prop_assert_eq!(again.to_string(), reference.to_string());
            let familiar: Reference = reference.familiar().parse().unwrap();
            prop_assert_eq!(familiar.to_string(), reference.to_string());
        }
    }
}
