//! Which process of the host has a port: for the text of an error alone.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::types::{Protocol, PublishedPort};

/// The state of a TCP socket that listens, in `/proc/net/tcp` (proc_net(5)).
const LISTENS: &str = "0A";

/// The process that keeps the port from being bound, such as `nginx, process 812`; `None` when it is not
/// found.
pub(super) fn of(port: &PublishedPort) -> Option<String> {
    let (tables, state): (&[&str], _) = match port.protocol {
        Protocol::Tcp => (&["tcp", "tcp6"], Some(LISTENS)),
        Protocol::Udp => (&["udp", "udp6"], None),
        Protocol::Sctp => return None,
    };
    let inode = tables.iter().find_map(|table| {
        let text = fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).ok()?;
        text.lines()
            .skip(1)
            .find_map(|line| inode(line, port, state))
    })?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    // Beside processes there are other files, and links such as `self`.
    let is_process = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let mut processes = processes.map(|entry| entry.path()).filter(is_process);
    processes.find_map(|process| {
        let files = fs::read_dir(process.join("fd")).ok()?.flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets
            .any(|target| target.as_os_str() == wanted.as_str())
            .then(|| describe(&process))?
    })
}

fn describe(process: &Path) -> Option<String> {
    let name = fs::read_to_string(process.join("comm")).ok()?;
    let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
    Some(format!("{}, process {pid}", name.trim_end()))
}

/// The socket of a line, when it is in the way of the port.
fn inode(line: &str, port: &PublishedPort, state: Option<&str>) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let (ip, number) = fields.nth(1)?.split_once(':')?;
    let now = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let is_port = u16::from_str_radix(number, 16) == Ok(port.host_port);
    let is_state = state.is_none_or(|state| state == now);
    let ip = address(ip)?;
    let is_address = ip == port.host_ip || ip.is_unspecified() || port.host_ip.is_unspecified();
    (is_port && is_state && is_address).then_some(inode)
}

/// An address as the kernel prints it: words of the machine's byte order.
fn address(digits: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..digits.len()).step_by(8) {
        let word = u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    crate::netlink::address::parse_ip(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = PublishedPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: IpAddr::from([0; 4]),
            host_port: listener.local_addr().unwrap().port(),
        };
        let owner = of(&port).unwrap();
        assert!(
            owner.ends_with(&format!(", process {}", std::process::id())),
            "{owner}"
        );
        let other = PublishedPort {
            host_ip: IpAddr::from([127, 0, 0, 9]),
            ..port
        };
        assert_eq!(of(&other), None);
    }
}
