//! What a build takes from outside, as it was found: what a statement of its provenance names.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use arca_types::{Digest, Platform};

use crate::job::Job;

/// Something from outside that a build used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Material {
    /// An image, by the name that was asked for.
    Image {
        /// The name in full.
        reference: String,
        /// The platform that was asked for.
        platform: Option<Platform>,
        /// What the name stood for: a manifest or index at the registry, the chain of layers (`ChainID` of the
        /// OCI image configuration) of an image that was here.
        digest: Digest,
    },
    /// An image in an OCI layout of the client.
    OciLayout {
        /// The name with a digest.
        reference: String,
        /// The platform that was asked for.
        platform: Option<Platform>,
    },
    /// A commit of a git repository.
    Git {
        /// `remote#reference`, with whatever credentials the client wrote.
        url: String,
        /// The commit, hexadecimal.
        commit: String,
    },
    /// A file from a web server.
    Http {
        /// Its address, with whatever credentials the client wrote.
        url: String,
        /// Of its content.
        digest: Digest,
    },
    /// A directory of the client, by its name in the session; what was in it is not known.
    Local(String),
}

/// The name of an image as it was asked for.
fn image(material: &Material) -> Option<&str> {
    match material {
        Material::Image { reference, .. } => Some(reference),
        _ => None,
    }
}

impl Job {
    /// What it has used so far. An image that was asked for by its tag is not named a second time by what the tag
    /// stood for.
    #[must_use]
    pub fn materials(&self) -> Vec<Material> {
        let used = self.0.materials.lock();
        let used = used.unwrap_or_else(PoisonError::into_inner);
        let tagged: BTreeSet<&str> = used.iter().filter_map(image).collect();
        let again = |material: &&Material| {
            let whole = image(material).and_then(|name| name.split_once('@'));
            whole.is_some_and(|(name, _)| tagged.contains(name))
        };
        used.iter().filter(|one| !again(one)).cloned().collect()
    }

    /// It has used this.
    pub(crate) fn has_used(&self, material: Material) {
        let used = self.0.materials.lock();
        used.unwrap_or_else(PoisonError::into_inner)
            .insert(material);
    }
}
