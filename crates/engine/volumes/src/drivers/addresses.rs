//! Servers that network file systems are on: the kernel wants their addresses, people write names.

use std::net::{IpAddr, ToSocketAddrs as _};

/// Looks up what dockerd looks up: the name behind `addr=` of NFS and CIFS, or else the host of a CIFS share.
/// Returns the device and the options as mount(2) gets them.
///
/// # Errors
/// In dockerd's words, when there is no such host.
pub(super) fn resolved(
    kind: &str,
    device: &str,
    options: &str,
) -> Result<(String, String), String> {
    let (mut device, mut options) = (device.to_owned(), options.to_owned());
    if !kind.starts_with("nfs") && kind != "cifs" {
        return Ok((device, options));
    }
    let parts: Vec<&str> = options.split(',').collect();
    let given = parts.iter().find_map(|part| part.strip_prefix("addr="));
    if let Some(host) = given.filter(|host| !host.is_empty()) {
        let address = look_up(host)?.to_string();
        let told = |part: &&str| match part.strip_prefix("addr=") {
            Some(name) if name == host => format!("addr={address}"),
            _ => (*part).to_owned(),
        };
        options = parts.iter().map(told).collect::<Vec<_>>().join(",");
    } else if kind == "cifs"
        && let Some((host, share)) = device.strip_prefix("//").and_then(|d| d.split_once('/'))
        && !host.is_empty()
    {
        device = format!("//{}/{share}", look_up(host)?);
    }
    Ok((device, options))
}

/// The address of a host, of version 4 if it has one.
fn look_up(host: &str) -> Result<IpAddr, String> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = plain.parse() {
        return Ok(address);
    }
    let all: Vec<IpAddr> = (plain, 0)
        .to_socket_addrs()
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default();
    let found = all.iter().find(|address| address.is_ipv4()).or(all.first());
    found.copied().ok_or_else(|| {
        format!("error resolving passed in network volume address: lookup {host}: no such host")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind, the device and the options, and what mount(2) gets.
    type Case = (
        (&'static str, &'static str, &'static str),
        (&'static str, &'static str),
    );

    #[test]
    fn names_of_servers_become_addresses_where_dockerd_looks_them_up() {
        let cases: [Case; 10] = [
            (
                ("nfs", ":/x", "addr=localhost,ro"),
                (":/x", "addr=127.0.0.1,ro"),
            ),
            (
                ("nfs", ":/x", "addr=10.0.0.7,nolock"),
                (":/x", "addr=10.0.0.7,nolock"),
            ),
            (
                ("nfs4", ":/x", "rw,addr=localhost"),
                (":/x", "rw,addr=127.0.0.1"),
            ),
            // Another option that ends alike is left alone.
            (
                ("nfs", ":/x", "clientaddr=localhost,addr=localhost"),
                (":/x", "clientaddr=localhost,addr=127.0.0.1"),
            ),
            // Without an address, the host of an NFS export is the kernel's business.
            (("nfs", "localhost:/x", "rw"), ("localhost:/x", "rw")),
            (
                ("cifs", "//localhost/share/a b", "user=a"),
                ("//127.0.0.1/share/a b", "user=a"),
            ),
            (
                ("cifs", "//localhost/share", "addr=localhost,user=a"),
                ("//localhost/share", "addr=127.0.0.1,user=a"),
            ),
            (("cifs", "//10.0.0.7/share", ""), ("//10.0.0.7/share", "")),
            (
                ("ext4", "/dev/x", "addr=localhost"),
                ("/dev/x", "addr=localhost"),
            ),
            (("none", "/x", "bind"), ("/x", "bind")),
        ];
        for ((kind, device, options), (to, with)) in cases {
            let found = resolved(kind, device, options).unwrap();
            assert_eq!(
                found,
                (to.to_owned(), with.to_owned()),
                "{kind} {device} {options}"
            );
        }
        let error = resolved("nfs", ":/x", "addr=no.such.host.invalid").unwrap_err();
        assert!(
            error.starts_with(
                "error resolving passed in network volume address: lookup no.such.host.invalid"
            ),
            "{error}"
        );
    }
}
