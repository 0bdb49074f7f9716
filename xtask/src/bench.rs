//! `cargo xtask bench`: measures engines with `scripts/bench`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Hands the arguments to the script.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(root.join("scripts/bench"))
        .args(arguments)
        .status()
        .context("scripts/bench: python3 is needed")?;
    if !status.success() {
        bail!("scripts/bench: {status}");
    }
    Ok(())
}
