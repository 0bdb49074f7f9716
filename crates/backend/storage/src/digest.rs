//! Computing digests.

use arca_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// A digest under way.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// For what is to have the digest `expected`; SHA-256 when nothing is expected.
    pub(crate) fn of(expected: Option<&Digest>) -> Self {
        Self::new(expected.map_or(Algorithm::Sha256, Digest::algorithm))
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(data),
            Self::Sha512(hasher) => hasher.update(data),
        }
    }

    /// The digest of everything.
    pub(crate) fn digest(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::sha256(&hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::sha512(&hasher.finalize().into()),
        }
    }
}
