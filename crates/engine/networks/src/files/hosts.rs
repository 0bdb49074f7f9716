//! `/etc/hosts`.

use std::fmt::Write as _;

use crate::spec::Sandbox;

/// The lines of every container's file, address and names.
const BASE: &[(&str, &str)] = &[
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
];

/// The file without anything of its container.
pub(super) fn base() -> String {
    compose(&[], &[])
}

/// The whole file: extra lines, then the container's own.
pub(super) fn compose(extra: &[(String, String)], own: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut line = |address: &str, names: &str| {
        // Writing to a String does not fail.
        let _infallible = writeln!(text, "{address}\t{names}");
    };
    BASE.iter()
        .for_each(|(address, names)| line(address, names));
    extra
        .iter()
        .chain(own)
        .for_each(|(address, names)| line(address, names));
    text
}

/// The addresses of a container with its names: the full one, and the first part of it.
pub(super) fn own(sandbox: &Sandbox, hostname: &str, domainname: &str) -> Vec<(String, String)> {
    let full = if domainname.is_empty() {
        hostname.to_owned()
    } else {
        format!("{hostname}.{domainname}")
    };
    let names = match full.split_once('.') {
        Some((short, _)) => format!("{full} {short}"),
        None => full,
    };
    let addresses = sandbox.endpoints.iter().flat_map(|endpoint| {
        let ipv4 = endpoint.ipv4.map(|net| net.addr().to_string());
        ipv4.into_iter()
            .chain(endpoint.ipv6.map(|net| net.addr().to_string()))
    });
    addresses.map(|address| (address, names.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_dockerd_writes_it() {
        let extra = [("1.2.3.4".to_owned(), "a".to_owned())];
        let own = [("172.17.0.2".to_owned(), "foo.dom.example foo".to_owned())];
        assert_eq!(
            compose(&extra, &own),
            "127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n\
             1.2.3.4\ta\n\
             172.17.0.2\tfoo.dom.example foo\n"
        );
    }
}
