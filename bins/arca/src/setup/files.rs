//! Files that setup writes, and the list by which it takes them away again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Where the list is kept.
const LIST: &str = "/var/lib/arca-setup.json";

/// What was written: absolute paths, as the installed host sees them.
#[derive(Debug)]
pub(crate) struct Manifest {
    root: PathBuf,
    list: List,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// With the SHA-256 of the content.
    files: BTreeMap<PathBuf, String>,
    /// Directories that were made for them.
    directories: BTreeSet<PathBuf>,
}

impl Manifest {
    /// The list of the host in `root`; empty where setup has not been.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let root = root.to_owned();
        let path = below(&root, Path::new(LIST));
        let list = match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| path.display().to_string())?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => List::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self { root, list })
    }

    /// Where a path of the host lies now.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        below(&self.root, path)
    }

    /// Writes a file, whole or not at all: what runs goes on with the file it was started from.
    ///
    /// # Errors
    /// A file is there that setup did not write, or it cannot be written.
    pub(crate) fn write(&mut self, path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
        let target = self.at(path);
        let failed = || format!("cannot write {}", target.display());
        let new = digest(content);
        if let Ok(found) = std::fs::read(&target) {
            let found = digest(&found);
            if self.list.files.get(path) != Some(&found) && found != new {
                bail!("{} is not setup's: move it away", target.display());
            }
        }
        let parent = target.parent().with_context(failed)?;
        let directories = path.ancestors().skip(1);
        let missing = directories.take_while(|directory| !self.at(directory).exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        self.list.directories.extend(missing);
        std::fs::create_dir_all(parent).with_context(failed)?;
        let beside = parent.join(format!(".arca-setup.{}", std::process::id()));
        let written = std::fs::write(&beside, content)
            .and_then(|()| std::fs::set_permissions(&beside, Permissions::from_mode(mode)))
            .and_then(|()| std::fs::rename(&beside, &target));
        if written.is_err() {
            drop(std::fs::remove_file(&beside));
        }
        written.with_context(failed)?;
        self.list.files.insert(path.to_owned(), new);
        Ok(())
    }

    /// Keeps the list.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let path = self.at(Path::new(LIST));
        let failed = || format!("cannot write {}", path.display());
        let parent = path.parent().with_context(failed)?;
        std::fs::create_dir_all(parent).with_context(failed)?;
        let text = serde_json::to_vec_pretty(&self.list).with_context(failed)?;
        std::fs::write(&path, text).with_context(failed)
    }

    /// Removes what was written and not changed since, and the directories that were made for it, if nothing else is
    /// in them. Returns the files that were changed; they stay on the list.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn remove_all(&mut self) -> anyhow::Result<Vec<PathBuf>> {
        let mut kept = BTreeMap::new();
        for (path, expected) in std::mem::take(&mut self.list.files) {
            let target = self.at(&path);
            let failed = || format!("cannot remove {}", target.display());
            match std::fs::read(&target) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(failed),
                Ok(found) if digest(&found) != expected => {
                    kept.insert(path, expected);
                }
                Ok(_) => std::fs::remove_file(&target).with_context(failed)?,
            }
        }
        let mut directories = std::mem::take(&mut self.list.directories);
        // What is in a directory comes behind it.
        while let Some(directory) = directories.pop_last() {
            if kept.keys().any(|path| path.starts_with(&directory)) {
                self.list.directories.insert(directory);
                continue;
            }
            let target = self.at(&directory);
            match std::fs::remove_dir(&target).map_err(|error| (error.kind(), error)) {
                Ok(()) | Err((ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty, _)) => {}
                Err((_, error)) => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {}", target.display()));
                }
            }
        }
        self.list.files = kept;
        if self.list.files.is_empty() {
            remove_if_there(&self.at(Path::new(LIST)))?;
        } else {
            self.save()?;
        }
        Ok(self.list.files.keys().cloned().collect())
    }
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a tree in which nothing is mounted.
///
/// # Errors
/// Something is mounted in it, or it cannot be removed.
pub(crate) fn remove_tree(path: &Path) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    if let Some(point) = points.find(|point| Path::new(point).starts_with(path)) {
        bail!("{point} is mounted: {} is not removed", path.display());
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_removed_and_what_was_changed_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::open(root.path()).unwrap();
        let (unit, drop_in) = (
            Path::new("/etc/systemd/system/a.service"),
            Path::new("/etc/systemd/system/a.socket.d/b.conf"),
        );
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        manifest.write(unit, b"one", 0o644).unwrap();
        manifest.write(drop_in, b"two", 0o644).unwrap();
        manifest.save().unwrap();
        std::fs::write(manifest.at(unit), "changed").unwrap();

        let mut manifest = Manifest::open(root.path()).unwrap();
        assert_eq!(manifest.remove_all().unwrap(), [unit]);
        assert!(manifest.at(unit).exists());
        assert!(!manifest.at(drop_in).parent().unwrap().exists());

        std::fs::write(manifest.at(unit), "one").unwrap();
        let mut manifest = Manifest::open(root.path()).unwrap();
        assert!(manifest.remove_all().unwrap().is_empty());
        assert!(!manifest.at(Path::new(LIST)).exists());
        // Only the directory that was there before is there.
        let left = std::fs::read_dir(manifest.at(Path::new("/etc"))).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_file_of_somebody_else_is_not_written_over() {
        let root = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::open(root.path()).unwrap();
        let path = Path::new("/usr/local/bin/arcad");
        std::fs::create_dir_all(manifest.at(path).parent().unwrap()).unwrap();
        std::fs::write(manifest.at(path), "another program").unwrap();
        let error = manifest.write(path, b"ours", 0o755).unwrap_err();
        assert!(
            error.to_string().ends_with("is not setup's: move it away"),
            "{error}"
        );
        assert_eq!(
            std::fs::read(manifest.at(path)).unwrap(),
            b"another program"
        );
        std::fs::remove_file(manifest.at(path)).unwrap();
        manifest.write(path, b"ours", 0o755).unwrap();
        manifest.write(path, b"ours, newer", 0o755).unwrap();
        assert_eq!(std::fs::read(manifest.at(path)).unwrap(), b"ours, newer");
    }
}
