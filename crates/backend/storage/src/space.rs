//! How much room the disk has.

use crate::error::Error;
use crate::storage::Storage;

/// The room of the file system that storage is on, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What ordinary users may use of it.
    pub total: u64,
    /// What of that is free.
    pub available: u64,
}

impl Space {
    /// How much of it is used, in percent, rounded up.
    #[must_use]
    pub fn used_percent(self) -> u8 {
        let used = self.total.saturating_sub(self.available);
        let percent = used.saturating_mul(100).div_ceil(self.total.max(1));
        u8::try_from(percent).unwrap_or(100)
    }

    /// The bytes that have to be freed so that no more than `percent` are used.
    #[must_use]
    pub fn excess(self, percent: u8) -> u64 {
        let allowed = u128::from(self.total) * u128::from(percent) / 100;
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        let used = self.total.saturating_sub(self.available);
        used.saturating_sub(allowed)
    }
}

impl Storage {
    /// Asks the file system (statvfs(3)).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn space(&self) -> Result<Space, Error> {
        self.blocking(|inner| {
            let root = inner.paths.root();
            let stat = rustix::fs::statvfs(root).map_err(Error::io("measure", root))?;
            // What is reserved for root is neither used nor free, as with df(1).
            let reserved = stat.f_bfree.saturating_sub(stat.f_bavail);
            let blocks = stat.f_blocks.saturating_sub(reserved);
            Ok(Space {
                total: blocks.saturating_mul(stat.f_frsize),
                available: stat.f_bavail.saturating_mul(stat.f_frsize),
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_in_bytes() {
        let space = Space {
            total: 1000,
            available: 149,
        };
        assert_eq!(space.used_percent(), 86);
        assert_eq!(space.excess(80), 51);
        assert_eq!(space.excess(90), 0);
    }
}
