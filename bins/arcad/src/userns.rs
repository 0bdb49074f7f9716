//! The user namespace of containers: made by the shim program, kept by a file of the exec root.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use arca_engine::Config;
use arca_types::IdRange;

use crate::accounts;
use crate::settings::Settings;

/// `NSFS_MAGIC` of linux/magic.h.
const NAMESPACES: rustix::fs::FsWord = 0x6e73_6673;

/// Makes the user namespace that the settings ask for, unless it is there, and tells the services of it.
///
/// # Errors
/// There is no such user, or the host cannot do it.
pub(crate) fn prepare(settings: &Settings, config: &mut Config) -> anyhow::Result<()> {
    let dir = settings.exec_root.join("userns");
    let Some(ids) = accounts::find(&settings.userns_remap)? else {
        // One that is there stays: containers may run in it, and the setting may come back.
        return Ok(());
    };
    let text = |ranges: &[IdRange]| {
        let shown: Vec<String> = ranges.iter().map(IdRange::to_string).collect();
        shown.join(",")
    };
    let (users, groups) = (text(&ids.users), text(&ids.groups));
    // What has been made for other IDs is another one.
    let path = dir.join(format!("{:016x}", hash(&format!("{users} {groups}"))));
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    forget_others(&dir, &path)?;
    if !is_kept(&path) {
        make(
            &config.runtime.shim,
            &path,
            (&users, &groups),
            &settings.data_root,
        )
        .context("userns-remap is not possible on this host")?;
    }
    tracing::info!(users, groups, "containers have a user namespace");
    config.networks.users = Some(arca_networks::UserNamespace {
        path: path.clone(),
        program: config.runtime.shim.clone(),
    });
    config.containers.users = Some(arca_containers::UserNamespace { path, ids });
    Ok(())
}

/// Lets go of every user namespace of the exec root.
///
/// # Errors
/// One cannot be let go.
pub(crate) fn release(exec_root: &Path) -> anyhow::Result<()> {
    let dir = exec_root.join("userns");
    forget_others(&dir, &dir)
}

fn make(
    shim: &Path,
    path: &Path,
    (users, groups): (&str, &str),
    data_root: &Path,
) -> anyhow::Result<()> {
    let probe = data_root.join("userns-probe");
    let fresh = || -> std::io::Result<()> {
        if probe.exists() {
            std::fs::remove_dir_all(&probe)?;
        }
        std::fs::create_dir_all(&probe)
    };
    fresh().with_context(|| format!("create {}", probe.display()))?;
    let output = Command::new(shim)
        .arg("userns")
        .arg(path)
        .args([users, groups])
        .arg(&probe)
        .stdin(Stdio::null())
        .output();
    let cleaned = std::fs::remove_dir_all(&probe);
    let output = output.with_context(|| format!("cannot run {}", shim.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        bail!("{}", said.split_once(": ").map_or(said, |(_, why)| why));
    }
    cleaned.with_context(|| format!("remove {}", probe.display()))
}

/// Lets go of namespaces that no container is started in any more; those that run keep theirs.
fn forget_others(dir: &Path, ours: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("list {}", dir.display()))?,
    };
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", dir.display()))?
            .path();
        if path == ours || path == ours.with_extension("files") {
            continue;
        }
        if is_kept(&path) {
            rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH)
                .with_context(|| format!("unmount {}", path.display()))?;
        }
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// Is the file a namespace?
fn is_kept(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == NAMESPACES)
}

/// FNV-1a: the name has to be the same in every run.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
