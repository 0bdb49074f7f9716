//! Who this engine is, and whether the host was started since it ran last.

use std::path::Path;

use arca_store::{Batch, Durability, Record, Store};
use arca_types::random_hex;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The key of the only record.
const KEY: &str = "engine";

/// What identifies this engine for as long as its data lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IdentityRecord {
    id: String,
}

impl Record for IdentityRecord {
    const TABLE: &'static str = "identity";
    const VERSION: u32 = 1;
}

/// Returns the engine's ID, a UUID, making it the first time. It blocks.
///
/// # Errors
/// [`Error::Store`].
pub(crate) fn id(store: &Store) -> Result<String, Error> {
    if let Some(record) = store
        .table::<IdentityRecord>()
        .get(KEY)
        .map_err(Error::Store)?
    {
        return Ok(record.id);
    }
    let record = IdentityRecord { id: uuid() };
    let batch = Batch::new().put(KEY, &record).map_err(Error::Store)?;
    store
        .commit_blocking(batch, Durability::Process)
        .map_err(Error::Store)?;
    Ok(record.id)
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> String {
    let random = random_hex(16);
    let part = |from: usize, to: usize| random.get(from..to).unwrap_or_default();
    let (a, b, c, d, e) = (
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32),
    );
    format!("{a}-{b}-4{c}-a{d}-{e}")
}

/// Tells whether the host was started since [`rebooted`] was called last for `exec_root`. It blocks.
///
/// # Errors
/// [`Error::File`] when the boot's ID cannot be read.
pub(crate) fn is_rebooted(exec_root: &Path) -> Result<bool, Error> {
    Ok(noted(exec_root) != boot()?)
}

fn noted(exec_root: &Path) -> String {
    let text = std::fs::read_to_string(exec_root.join("boot-id")).unwrap_or_default();
    text.trim().to_owned()
}

fn boot() -> Result<String, Error> {
    arca_runtime::boot_id().map_err(Error::file("read", "the boot ID"))
}

/// Tells whether the host was started since this was called last for `exec_root`. It blocks.
///
/// # Errors
/// [`Error::File`] when the boot's ID cannot be read or written.
pub(crate) fn rebooted(exec_root: &Path) -> Result<bool, Error> {
    let path = exec_root.join("boot-id");
    let now = boot()?;
    if noted(exec_root) == now {
        return Ok(false);
    }
    std::fs::write(&path, format!("{now}\n")).map_err(Error::file("write", &path))?;
    // An exec root without the file is new, or on a filesystem that a reboot empties: nothing of it can
    // be of this boot either.
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_a_uuid_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("arca.db")).unwrap();
        let first = id(&store).unwrap();
        assert_eq!(first.len(), 36);
        assert_eq!(first.as_bytes()[14], b'4');
        assert_eq!(id(&store).unwrap(), first);
    }

    #[test]
    fn a_reboot_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_rebooted(dir.path()).unwrap());
        assert!(rebooted(dir.path()).unwrap());
        assert!(!rebooted(dir.path()).unwrap());
        assert!(!is_rebooted(dir.path()).unwrap());
        std::fs::write(dir.path().join("boot-id"), "another\n").unwrap();
        assert!(rebooted(dir.path()).unwrap());
    }
}
