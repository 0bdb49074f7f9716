//! `/etc/resolv.conf`: the host's, with what the container wants instead, without what it cannot reach.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::DnsSettings;

/// Where hosts keep it.
pub(super) const PATH: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the servers that it asks itself.
pub(super) const SYSTEMD_PATH: &str = "/run/systemd/resolve/resolv.conf";
/// The address of a container's own resolver.
const INTERNAL: &str = "127.0.0.11";
/// The address of systemd-resolved.
const SYSTEMD: &str = "127.0.0.53";
/// The servers of a container whose host has none that it can reach.
const DEFAULTS: &[&str] = &["8.8.8.8", "8.8.4.4"];
/// The same, where IPv6 can be reached.
const DEFAULTS_IPV6: &[&str] = &["2001:4860:4860::8888", "2001:4860:4860::8844"];

/// A resolver configuration of the host.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Which servers a container can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Both,
}

/// What is done to the host's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    /// Nothing: the container is on the host's network.
    None,
    /// Those that only the host reaches are left out.
    Legacy(Family),
    /// The container asks arca, and arca asks them.
    Internal,
}

/// A configuration, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
    other: Vec<String>,
}

impl Source {
    /// The addresses of its servers.
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        parse(&self.text)
            .servers
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect()
    }

    /// Whether its only server is systemd-resolved.
    pub(super) fn is_systemd_stub(&self) -> bool {
        parse(&self.text).servers == [SYSTEMD]
    }
}

fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => parsed.servers.extend(words.next()),
            // The last one counts.
            Some("search" | "domain") => parsed.search = words.collect(),
            Some("options") => parsed.options.extend(words),
            _ => parsed.other.push(line.to_owned()),
        }
    }
    parsed
}

/// What is said about the file at its end.
#[derive(Debug, Default)]
struct Remarks {
    lines: Vec<String>,
    overrides: Vec<&'static str>,
    /// Where the option `ndots` comes from.
    ndots: Option<&'static str>,
}

/// Composes the file.
pub(super) fn compose(source: &Source, wanted: &DnsSettings, transform: Transform) -> String {
    let mut parsed = parse(&source.text);
    let mut remarks = Remarks {
        ndots: has_ndots(&parsed.options).then_some("host"),
        ..Remarks::default()
    };
    prefer(&mut parsed, wanted, &mut remarks);
    adapt(&mut parsed, wanted, transform, &mut remarks);
    let from = match transform {
        Transform::None => "",
        Transform::Legacy(_) => " (legacy)",
        Transform::Internal => " (internal resolver)",
    };
    let mut text = written(&parsed);
    let mut line = |line: String| {
        // Writing to a String does not fail.
        let _infallible = writeln!(text, "{line}");
    };
    line(format!(
        "\n# Based on host file: '{}'{from}",
        source.path.display()
    ));
    remarks
        .lines
        .iter()
        .for_each(|remark| line(format!("# {remark}")));
    line(format!("# Overrides: [{}]", remarks.overrides.join(" ")));
    if let Some(from) = remarks.ndots {
        line(format!("# Option ndots from: {from}"));
    }
    text
}

/// Puts what the container wants in the place of what the host has.
fn prefer(parsed: &mut Parsed, wanted: &DnsSettings, remarks: &mut Remarks) {
    if !wanted.servers.is_empty() {
        remarks.overrides.push("nameservers");
        parsed.servers = wanted.servers.iter().map(ToString::to_string).collect();
    }
    if !wanted.search.is_empty() {
        remarks.overrides.push("search");
        parsed.search.clone_from(&wanted.search);
        if parsed.search == ["."] {
            parsed.search.clear();
        }
    }
    if !wanted.options.is_empty() {
        remarks.overrides.push("options");
        parsed.options.clone_from(&wanted.options);
        remarks.ndots = has_ndots(&parsed.options).then_some("override");
    }
}

/// Leaves out what the container cannot reach, or leads everything through its own resolver.
fn adapt(parsed: &mut Parsed, wanted: &DnsSettings, transform: Transform, remarks: &mut Remarks) {
    match transform {
        Transform::Legacy(family) if wanted.servers.is_empty() => {
            parsed.servers.retain(|server| is_reachable(server, family));
            if parsed.servers.is_empty() {
                let ipv6 = if family == Family::Both {
                    DEFAULTS_IPV6
                } else {
                    &[]
                };
                parsed.servers = DEFAULTS
                    .iter()
                    .chain(ipv6)
                    .map(|ip| (*ip).to_owned())
                    .collect();
                remarks.lines.push("Used default nameservers.".to_owned());
            }
        }
        Transform::Internal => {
            remarks.lines.push(format!(
                "ExtServers: [{}]",
                outside(&parsed.servers, wanted)
            ));
            parsed.servers = vec![INTERNAL.to_owned()];
            if remarks.ndots.is_none() {
                remarks.ndots = Some("internal");
                parsed.options.push("ndots:0".to_owned());
            }
        }
        Transform::None | Transform::Legacy(_) => {}
    }
}

/// The servers that arca asks, with a mark on those of the host.
fn outside(servers: &[String], wanted: &DnsSettings) -> String {
    if !wanted.servers.is_empty() {
        return servers.join(" ");
    }
    servers
        .iter()
        .map(|server| format!("host({server})"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn written(parsed: &Parsed) -> String {
    let mut lines = vec![
        "# Generated by arca.".to_owned(),
        "# This file can be edited; arca will not make further changes once it".to_owned(),
        "# has been modified.".to_owned(),
        String::new(),
    ];
    lines.extend(
        parsed
            .servers
            .iter()
            .map(|server| format!("nameserver {server}")),
    );
    if !parsed.search.is_empty() {
        lines.push(format!("search {}", parsed.search.join(" ")));
    }
    if !parsed.options.is_empty() {
        lines.push(format!("options {}", parsed.options.join(" ")));
    }
    lines.extend(parsed.other.iter().cloned());
    lines.push(String::new());
    lines.join("\n")
}

fn has_ndots(options: &[String]) -> bool {
    options.iter().any(|option| option.starts_with("ndots:"))
}

/// Whether a container with a network of its own reaches a server of the host.
fn is_reachable(server: &str, family: Family) -> bool {
    // A zone belongs to an interface of the host.
    match server.parse::<IpAddr>() {
        Ok(ip) => !ip.is_loopback() && (ip.is_ipv4() || family == Family::Both),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            path: PathBuf::from(PATH),
            text: text.to_owned(),
        }
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect()
    }

    const LEGACY: Transform = Transform::Legacy(Family::Ipv4);

    #[test]
    fn the_hosts_servers_and_domains_are_taken_over() {
        let host =
            source("# x\nnameserver 10.0.0.1\nsearch a.b c\noptions ndots:2\nsortlist 1.2.3.0\n");
        let text = compose(&host, &DnsSettings::default(), LEGACY);
        assert_eq!(
            lines(&text),
            [
                "nameserver 10.0.0.1",
                "search a.b c",
                "options ndots:2",
                "sortlist 1.2.3.0"
            ]
        );
        assert!(text.ends_with(
            "\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n\
             # Option ndots from: host\n"
        ));
    }

    #[test]
    fn what_the_container_wants_takes_the_place_of_the_hosts() {
        let host = source("nameserver 10.0.0.1\nsearch a.b\n");
        let wanted = DnsSettings {
            servers: vec!["1.1.1.1".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            search: vec![".".to_owned()],
            options: vec!["ndots:3".to_owned()],
        };
        let text = compose(&host, &wanted, LEGACY);
        assert_eq!(
            lines(&text),
            [
                "nameserver 1.1.1.1",
                "nameserver 127.0.0.1",
                "options ndots:3"
            ]
        );
        assert!(text.ends_with(
            "# Overrides: [nameservers search options]\n# Option ndots from: override\n"
        ));
    }

    #[test]
    fn servers_that_only_the_host_reaches_are_left_out() {
        let host = source("nameserver 127.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\n");
        let text = compose(&host, &DnsSettings::default(), LEGACY);
        assert_eq!(lines(&text), ["nameserver 8.8.8.8", "nameserver 8.8.4.4"]);
        assert!(text.contains("# Used default nameservers.\n"));
        let both = compose(
            &host,
            &DnsSettings::default(),
            Transform::Legacy(Family::Both),
        );
        assert_eq!(lines(&both).len(), 4);
        let as_it_is = compose(&host, &DnsSettings::default(), Transform::None);
        assert_eq!(lines(&as_it_is).len(), 3);
    }

    #[test]
    fn a_container_with_a_resolver_of_its_own_asks_that() {
        let host = source("nameserver 10.255.255.53\n");
        let text = compose(&host, &DnsSettings::default(), Transform::Internal);
        assert_eq!(lines(&text), ["nameserver 127.0.0.11", "options ndots:0"]);
        assert!(text.ends_with(
            "\n# Based on host file: '/etc/resolv.conf' (internal resolver)\n\
             # ExtServers: [host(10.255.255.53)]\n# Overrides: []\n\
             # Option ndots from: internal\n"
        ));
    }

    #[test]
    fn a_stub_of_systemd_is_recognised() {
        assert!(source("nameserver 127.0.0.53\noptions edns0\n").is_systemd_stub());
        assert!(!source("nameserver 127.0.0.53\nnameserver 1.1.1.1\n").is_systemd_stub());
        assert!(!source("").is_systemd_stub());
    }
}
