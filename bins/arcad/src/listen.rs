//! Listening sockets: unix, TCP on loopback, and those that a service manager passes (`fd://`).

use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use listenfd::ListenFd;

/// One socket that clients connect to.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A unix socket; the path is removed at the end when arcad made it.
    Unix(tokio::net::UnixListener, Option<PathBuf>),
    /// A TCP socket on loopback.
    Tcp(tokio::net::TcpListener),
}

/// Opens every address of `hosts`.
///
/// # Errors
/// An address that cannot be bound, that another process serves, or that is not loopback.
pub(crate) fn open(hosts: &[String], group: &str) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for host in hosts {
        match host.split_once("://") {
            Some(("unix", path)) => listeners.push(unix(Path::new(path), group)?),
            Some(("tcp", address)) => listeners.extend(tcp(address)?),
            Some(("fd", which)) => listeners.extend(passed(which)?),
            _ => bail!("invalid bind address ({host})"),
        }
    }
    Ok(listeners)
}

/// Checks addresses without opening them.
///
/// # Errors
/// Of a kind that there is not, or a number that is not loopback.
pub(crate) fn check(hosts: &[String]) -> anyhow::Result<()> {
    for host in hosts {
        match host.split_once("://") {
            Some(("unix" | "fd", _)) => {}
            // Names are looked up at the start.
            Some(("tcp", address)) => address.parse().map_or(Ok(()), loopback)?,
            _ => bail!("invalid bind address ({host})"),
        }
    }
    Ok(())
}

fn loopback(address: SocketAddr) -> anyhow::Result<()> {
    if !address.ip().is_loopback() {
        bail!(
            "failed to load listeners: listen tcp {address}: arca serves TCP without TLS on loopback addresses only"
        );
    }
    Ok(())
}

fn unix(path: &Path, group: &str) -> anyhow::Result<Listener> {
    let failed = || format!("failed to load listeners: listen unix {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).with_context(failed)?;
    // Group and mode before anybody can have connected with more rights than meant: the umask of the
    // process leaves others out already, and connecting needs write permission.
    if let Some(gid) = group_id(group)? {
        chown(path, None, Some(gid)).with_context(failed)?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o660)).with_context(failed)?;
    listener.set_nonblocking(true).with_context(failed)?;
    let listener = tokio::net::UnixListener::from_std(listener).with_context(failed)?;
    Ok(Listener::Unix(listener, Some(path.to_owned())))
}

/// Removes a socket nobody serves; anything else at the path is left and is an error.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
        Ok(found) if !found.file_type().is_socket() => {
            bail!(
                "can't create unix socket {}: it exists and is not a socket",
                path.display()
            )
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            bail!(
                "failed to load listeners: {} is served by another process",
                path.display()
            )
        }
        Ok(_) => std::fs::remove_file(path)
            .with_context(|| format!("can't create unix socket {}", path.display())),
    }
}

/// The ID of a group by name or number; none when the default group does not exist.
fn group_id(group: &str) -> anyhow::Result<Option<u32>> {
    if group.is_empty() {
        return Ok(None);
    }
    let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
    match find_group(&file, group) {
        Some(gid) => Ok(Some(gid)),
        None if group == "docker" => {
            tracing::warn!(
                group,
                "could not change group of the socket: group not found"
            );
            Ok(None)
        }
        None => Err(anyhow!("group {group} not found")),
    }
}

fn find_group(file: &str, group: &str) -> Option<u32> {
    let named = file.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != group {
            return None;
        }
        fields.nth(1)?.parse().ok()
    });
    named.or_else(|| group.parse().ok())
}

fn tcp(address: &str) -> anyhow::Result<Vec<Listener>> {
    let failed = || format!("failed to load listeners: listen tcp {address}");
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().with_context(failed)?.collect();
    let mut listeners = Vec::new();
    for address in resolved {
        loopback(address)?;
        let listener = std::net::TcpListener::bind(address).with_context(failed)?;
        listener.set_nonblocking(true).with_context(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).with_context(failed)?;
        tracing::warn!(%address, "the API is served without authentication: every local user is root");
        listeners.push(Listener::Tcp(listener));
    }
    Ok(listeners)
}

/// Takes sockets that were passed (`sd_listen_fds(3)`): all of them, or the one with a number.
fn passed(which: &str) -> anyhow::Result<Vec<Listener>> {
    let mut fds = ListenFd::from_env();
    if fds.len() == 0 {
        bail!(
            "failed to load listeners: no sockets found via socket activation: make sure the service was started by systemd"
        );
    }
    let chosen: Vec<usize> =
        match which {
            "" | "*" => (0..fds.len()).collect(),
            number => {
                let number: usize = number.parse().with_context(|| {
                    format!("failed to parse systemd fd address: should be a number: {number}")
                })?;
                let index = number.checked_sub(3).filter(|index| *index < fds.len());
                vec![index.context(
                    "failed to load listeners: not that many file descriptors were passed",
                )?]
            }
        };
    let mut listeners = Vec::new();
    for index in chosen {
        if let Ok(Some(listener)) = fds.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Unix(
                tokio::net::UnixListener::from_std(listener)?,
                None,
            ));
        } else if let Ok(Some(listener)) = fds.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?));
        } else {
            bail!(
                "failed to load listeners: passed file descriptor {} is no stream listener",
                index + 3
            );
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_name_or_number() {
        let file = "root:x:0:\ndocker:x:998:me,you\n";
        assert_eq!(find_group(file, "docker"), Some(998));
        assert_eq!(find_group(file, "42"), Some(42));
        assert_eq!(find_group(file, "nobody"), None);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        let first = unix(&path, "").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(
            unix(&path, "")
                .unwrap_err()
                .to_string()
                .contains("served by another process")
        );
        drop(first);
    }

    #[tokio::test]
    async fn a_file_at_the_path_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        std::fs::write(&path, "mine").unwrap();
        assert!(unix(&path, "").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn tcp_is_for_loopback_alone() {
        assert!(
            tcp("192.0.2.1:2375")
                .unwrap_err()
                .to_string()
                .contains("loopback addresses only")
        );
        assert!(!tcp("127.0.0.1:0").unwrap().is_empty());
    }
}
