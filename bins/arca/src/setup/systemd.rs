//! Units of the engine: a socket that starts it, and the service behind it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::files::Manifest;

const SERVICE: &str = include_str!("../../../../packaging/systemd/arca.service");
const SOCKET: &str = include_str!("../../../../packaging/systemd/arca.socket");
const DOCKER_SOCKET: &str = include_str!("../../../../packaging/systemd/docker-socket.conf");

/// Writes the units, unless a package brought them.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_units(
    manifest: &mut Manifest,
    bin: &Path,
    docker_socket: bool,
) -> anyhow::Result<()> {
    let units = Path::new("/etc/systemd/system");
    let packaged = Path::new("/usr/lib/systemd/system/arca.service");
    if !manifest.at(packaged).exists() {
        let service = SERVICE.replace("@BINDIR@", &bin.to_string_lossy());
        manifest.write(&units.join("arca.service"), service.as_bytes(), 0o644)?;
        manifest.write(&units.join("arca.socket"), SOCKET.as_bytes(), 0o644)?;
    }
    if docker_socket {
        let path = units.join("arca.socket.d/docker-socket.conf");
        manifest.write(&path, DOCKER_SOCKET.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Whether systemd is the host's service manager (sd_booted(3)).
pub(crate) fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Docker's own socket has to be free: a link, or what an engine that ended has left.
///
/// # Errors
/// Another engine has it.
pub(crate) fn check_docker_socket() -> anyhow::Result<()> {
    let link = Path::new("/run/docker.sock");
    let is_file = std::fs::symlink_metadata(link).is_ok_and(|found| !found.is_symlink());
    // Not tried: that would start an engine whose socket systemd holds.
    let bound = std::fs::read_to_string("/proc/net/unix").context("/proc/net/unix")?;
    if is_file && is_bound(&bound) {
        bail!(
            "/run/docker.sock is another engine's: stop that first (systemctl disable --now docker.socket \
             docker.service)"
        );
    }
    Ok(())
}

/// Whether a table of unix sockets (proc_net(5), `unix`) has Docker's.
fn is_bound(table: &str) -> bool {
    let path = |line: &str| line.split_whitespace().nth(7).map(str::to_owned);
    table
        .lines()
        .filter_map(path)
        .any(|path| path == "/run/docker.sock" || path == "/var/run/docker.sock")
}

/// Starts the socket, now and at boot; a running engine is restarted, its containers run on.
///
/// # Errors
/// systemd refuses.
pub(crate) fn start() -> anyhow::Result<()> {
    reload()?;
    systemctl(&["enable", "arca.socket", "arca.service"])?;
    systemctl(&["try-restart", "arca.service"])?;
    systemctl(&["start", "arca.socket"])
}

/// Ends the engine for good. What systemd does not know needs no stopping.
pub(crate) fn stop() {
    for arguments in [
        ["disable", "arca.socket", "arca.service"],
        ["stop", "arca.socket", "arca.service"],
    ] {
        if let Err(error) = systemctl(&arguments) {
            eprintln!("arca: {error:#}");
        }
    }
}

/// Has systemd read the units again.
///
/// # Errors
/// systemd refuses.
pub(crate) fn reload() -> anyhow::Result<()> {
    systemctl(&["daemon-reload"])
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    super::accounts::run(Command::new("systemctl").arg("--quiet").args(arguments))
        .with_context(|| format!("systemctl {}", arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_on_is_free() {
        let head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let line = |path: &str| {
            format!("{head}0000000000000000: 00000002 00000000 00010000 0001 01 4711 {path}\n")
        };
        assert!(!is_bound(head));
        assert!(!is_bound(&line("/run/arca.sock")));
        assert!(!is_bound(&line("")));
        assert!(is_bound(&line("/run/docker.sock")));
        assert!(is_bound(&line("/var/run/docker.sock")));
    }
}
