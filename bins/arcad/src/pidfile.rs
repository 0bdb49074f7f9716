//! The pid file: written at start, refused when the process it names is alive, removed at the end.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The pid file of this process; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file.
    ///
    /// # Errors
    /// Another live arcad is named by the file, or it cannot be written.
    pub(crate) fn write(path: &Path) -> anyhow::Result<Self> {
        if let Ok(text) = std::fs::read_to_string(path)
            && let Ok(pid) = text.trim().parse::<u32>()
            && pid != std::process::id()
            && is_daemon(pid)
        {
            bail!(
                "failed to start daemon, ensure docker is not running or delete {}: process with PID {pid} is still running",
                path.display()
            );
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(path, std::process::id().to_string())
            .with_context(|| format!("failed to write pid file {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the pid file was not removed");
        }
    }
}

/// Whether the process is a daemon that lives, not some other that got its number after a crash, nor
/// one that has ended and that nobody has waited for.
fn is_daemon(pid: u32) -> bool {
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
    let ended = |status: String| {
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_none_or(|state| state.trim_start().starts_with(['Z', 'X']))
    };
    file("comm").is_ok_and(|name| matches!(name.trim(), "arcad" | "dockerd"))
        && !file("status").map_or(true, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_overwritten_and_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/arca.pid");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "1").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(file);
        assert!(!path.exists());
    }
}
