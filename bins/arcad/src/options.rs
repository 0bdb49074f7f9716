//! The table of options: the flag, the key in `daemon.json`, the type, and whether arca honours it.
//!
//! The names are dockerd's. An option that arca does not honour is known here all the same, so that
//! giving it a value other than the one arca always has is refused by name instead of ignored.

use crate::cli::Program;

/// The type of an option's value, as far as checking its text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`; as a flag also without a value.
    Bool,
    /// A decimal integer.
    Int,
    /// Any text.
    Text,
    /// One IP address.
    Ip,
    /// Bytes, with an optional unit: `64m`.
    Size,
    /// Texts; the flag may be repeated.
    List,
    /// IP addresses; the flag may be repeated or hold several, separated by commas.
    Ips,
    /// Listen addresses.
    Hosts,
    /// `key=value` texts.
    Labels,
    /// Mirrors of a registry: URLs.
    Mirrors,
    /// `key=value` as an object.
    Map,
    /// `name=soft[:hard]` as an object of ulimits.
    Ulimits,
    /// `base=<cidr>,size=<bits>` as a list of pools.
    Pools,
    /// `name=path` as an object of runtimes.
    Runtimes,
    /// An object that only the file can hold.
    Object,
}

/// Whether arca does what the option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// Yes.
    Honoured,
    /// Only when it says what arca does anyway: this JSON value; of an object, these members or some of them.
    Only(&'static str),
    /// Never, with the reason.
    Removed(&'static str),
}

/// One option of the daemon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt {
    /// The flag without dashes; empty when only the file has it.
    pub(crate) flag: &'static str,
    /// One-letter form of the flag.
    pub(crate) short: Option<char>,
    /// The key in the file; empty when only a flag exists.
    pub(crate) key: &'static str,
    /// The type of its value.
    pub(crate) kind: Kind,
    /// Whether arca honours it.
    pub(crate) support: Support,
    /// One line for `--help`.
    pub(crate) help: &'static str,
}

/// Makes the table: `[('letter')] "flag" / "key": kind, support, "help";`.
macro_rules! options {
    (@letter) => { None };
    (@letter $letter:literal) => { Some($letter) };
    ($($(($letter:literal))? $flag:literal / $key:literal: $kind:expr, $support:expr, $help:literal;)*) => {
        /// Every option, in the order of `--help`.
        pub(crate) const OPTIONS: &[Opt] = &[$(
            Opt {
                flag: $flag,
                short: options!(@letter $($letter)?),
                key: $key,
                kind: $kind,
                support: $support,
                help: $help,
            },
        )*];
    };
}

use Kind::{
    Bool, Hosts, Int, Ip, Ips, Labels, List, Map, Mirrors, Object, Pools, Runtimes, Size, Text,
    Ulimits,
};
use Support::{Honoured, Only, Removed};

const CORS: &str = "DEPRECATED: The \"api-cors-header\" config parameter and the dockerd \
    \"--api-cors-header\" option have been removed; use a reverse proxy if you need CORS headers";

/// What is there without being asked for, and what is not there at all.
const FEATURES: &str = r#"{"buildkit": true, "cdi": true, "containerd-snapshotter": false}"#;

options! {
    "add-runtime" / "runtimes": Runtimes, Honoured, "Register an additional OCI compatible runtime";
    "allow-direct-routing" / "allow-direct-routing": Bool, Honoured, "Allow remote access to published ports on container IP addresses";
    "api-cors-header" / "api-cors-header": Text, Removed(CORS), "";
    "authorization-plugin" / "authorization-plugins": List, Only("[]"), "Authorization plugins to load";
    "bip" / "bip": Text, Honoured, "IPv4 address for the default bridge";
    "bip6" / "bip6": Text, Honoured, "IPv6 address for the default bridge";
    ('b') "bridge" / "bridge": Text, Honoured, "Name of the default network's bridge (made when it is missing)";
    "cdi-spec-dir" / "cdi-spec-dirs": List, Honoured, "CDI specification directories to use";
    "certs-dir" / "certs-dir": Text, Honoured, "Certificates and hosts.toml of registries (default: certs.d in /etc/arca and /etc/docker)";
    "cgroup-parent" / "cgroup-parent": Text, Honoured, "Set parent cgroup for all containers";
    "config-file" / "": Text, Honoured, "Daemon configuration file";
    "containerd" / "containerd": Text, Only("\"\""), "containerd grpc address";
    "containerd-namespace" / "containerd-namespace": Text, Only("\"moby\""), "Containerd namespace to use";
    "containerd-plugins-namespace" / "containerd-plugins-namespace": Text, Only("\"plugins.moby\""), "Containerd namespace to use for plugins";
    "cpu-rt-period" / "cpu-rt-period": Int, Only("0"), "Limit the CPU real-time period of the parent cgroup";
    "cpu-rt-runtime" / "cpu-rt-runtime": Int, Only("0"), "Limit the CPU real-time runtime of the parent cgroup";
    "cri-containerd" / "cri-containerd": Bool, Only("false"), "start containerd with cri";
    "data-root" / "data-root": Text, Honoured, "Root directory of persistent state";
    ('D') "debug" / "debug": Bool, Honoured, "Enable debug mode";
    "default-address-pool" / "default-address-pools": Pools, Honoured, "Default address pools for local networks";
    "default-cgroupns-mode" / "default-cgroupns-mode": Text, Honoured, "Default mode for containers cgroup namespace (\"host\" | \"private\")";
    "default-gateway" / "default-gateway": Ip, Honoured, "Default gateway IPv4 address for the default bridge network";
    "default-gateway-v6" / "default-gateway-v6": Ip, Honoured, "Default gateway IPv6 address for the default bridge network";
    "default-ipc-mode" / "default-ipc-mode": Text, Honoured, "Default mode for containers ipc (\"shareable\" | \"private\")";
    "default-network-opt" / "default-network-opts": Object, Honoured, "Default network options";
    "default-runtime" / "default-runtime": Text, Honoured, "Default OCI runtime for containers";
    "default-shm-size" / "default-shm-size": Size, Honoured, "Default shm size for containers";
    "default-ulimit" / "default-ulimits": Ulimits, Honoured, "Default ulimits for containers";
    "dns" / "dns": Ips, Honoured, "DNS server to use";
    "dns-opt" / "dns-opts": List, Honoured, "DNS options to use";
    "dns-search" / "dns-search": List, Honoured, "DNS search domains to use";
    "exec-opt" / "exec-opts": List, Honoured, "Runtime execution options";
    "exec-root" / "exec-root": Text, Honoured, "Root directory for execution state files";
    "experimental" / "experimental": Bool, Honoured, "Tell clients that experimental features are enabled";
    "feature" / "features": Map, Only(FEATURES), "Enable feature in the daemon";
    "" / "builder": Object, Honoured, "What the build cache keeps and what builds may do: see above";
    "exposure" / "exposure": Text, Honoured, "Who reaches published ports (\"open\" | \"firewall\" | \"loopback\")";
    "fixed-cidr" / "fixed-cidr": Text, Honoured, "IPv4 subnet for the default bridge network";
    "fixed-cidr-v6" / "fixed-cidr-v6": Text, Honoured, "IPv6 subnet for the default bridge network";
    ('G') "group" / "group": Text, Honoured, "Group for the unix socket";
    ('H') "host" / "hosts": Hosts, Honoured, "Daemon socket(s) to listen on";
    "host-gateway-ip" / "host-gateway-ips": Ips, Honoured, "IP addresses that host-gateway resolves to";
    "http-proxy" / "http-proxy": Text, Honoured, "HTTP proxy URL to use for outgoing traffic";
    "https-proxy" / "https-proxy": Text, Honoured, "HTTPS proxy URL to use for outgoing traffic";
    "icc" / "icc": Bool, Honoured, "Enable inter-container communication for the default bridge network";
    "" / "image-gc": Object, Honoured, "When unused images are removed: see above";
    "init" / "init": Bool, Honoured, "Run an init in the container to forward signals and reap processes";
    "init-path" / "init-path": Text, Honoured, "Path to the init binary";
    "insecure-registry" / "insecure-registries": List, Honoured, "Enable insecure registry communication";
    "ip" / "ip": Ip, Honoured, "Host IP for port publishing from the default bridge network";
    "ip-forward" / "ip-forward": Bool, Honoured, "Enable IP forwarding in system configuration";
    "ip-forward-no-drop" / "ip-forward-no-drop": Bool, Honoured, "Accepted: arca never sets the policy of the FORWARD chain";
    "ip-masq" / "ip-masq": Bool, Honoured, "Enable IP masquerading for the default bridge network";
    "ip6tables" / "ip6tables": Bool, Only("true"), "Enable addition of IPv6 firewall rules";
    "iptables" / "iptables": Bool, Only("true"), "Enable addition of firewall rules";
    "ipv6" / "ipv6": Bool, Honoured, "Enable IPv6 networking for the default bridge network";
    "label" / "labels": Labels, Honoured, "Set key=value labels to the daemon";
    "live-restore" / "live-restore": Bool, Honoured, "Accepted: containers always outlive arcad";
    "log-driver" / "log-driver": Text, Honoured, "Default driver for container logs";
    "log-format" / "log-format": Text, Honoured, "Set the logging format (\"text\"|\"json\")";
    ('l') "log-level" / "log-level": Text, Honoured, "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")";
    "log-opt" / "log-opts": Map, Honoured, "Default log driver options for containers";
    "max-concurrent-downloads" / "max-concurrent-downloads": Int, Honoured, "Set the max concurrent downloads";
    "max-concurrent-uploads" / "max-concurrent-uploads": Int, Honoured, "Set the max concurrent uploads";
    "max-download-attempts" / "max-download-attempts": Int, Honoured, "Set the max download attempts for each pull";
    "metrics-addr" / "metrics-addr": Text, Only("\"\""), "Set default address and port to serve the metrics api on";
    "mtu" / "mtu": Int, Honoured, "MTU of bridge networks that name none";
    "network-control-plane-mtu" / "network-control-plane-mtu": Int, Only("1500"), "Network Control plane MTU";
    "no-new-privileges" / "no-new-privileges": Bool, Honoured, "Set no-new-privileges by default for new containers";
    "no-proxy" / "no-proxy": Text, Honoured, "Hosts for which the proxy is skipped";
    "node-generic-resource" / "node-generic-resources": List, Only("[]"), "Advertise user-defined resource";
    ('p') "pidfile" / "pidfile": Text, Honoured, "Path to use for daemon PID file";
    "" / "proxies": Object, Honoured, "Proxies of arcad itself: see above";
    "raw-logs" / "raw-logs": Bool, Honoured, "Full timestamps without ANSI coloring";
    "restart-on-unhealthy" / "restart-on-unhealthy": Bool, Honoured, "Restart containers when their health check fails";
    "registry-mirror" / "registry-mirrors": Mirrors, Honoured, "Preferred registry mirror";
    "rootless" / "rootless": Bool, Only("false"), "Enable rootless mode";
    "seccomp-profile" / "seccomp-profile": Text, Honoured, "Path to seccomp profile; \"unconfined\" disables the default profile";
    "selinux-enabled" / "selinux-enabled": Bool, Only("false"), "Enable selinux support";
    "shim" / "": Text, Honoured, "Path to arca-shim (default: beside arcad)";
    "shutdown-timeout" / "shutdown-timeout": Int, Honoured, "Accepted: arcad ends without its containers";
    ('s') "storage-driver" / "storage-driver": Text, Honoured, "Storage driver to use (\"overlay2\"|\"vfs\")";
    "storage-opt" / "storage-opts": List, Honoured, "Storage driver options";
    "swarm-default-advertise-addr" / "swarm-default-advertise-addr": Text, Only("\"\""), "Default address for swarm advertised address";
    "teardown" / "": Bool, Honoured, "Remove bridges, firewall tables and the like from the kernel, and exit (no container may run)";
    "tls" / "tls": Bool, Only("false"), "Use TLS; implied by --tlsverify";
    "tlscacert" / "tlscacert": Text, Only("\"\""), "Trust certs signed only by this CA";
    "tlscert" / "tlscert": Text, Only("\"\""), "Path to TLS certificate file";
    "tlskey" / "tlskey": Text, Only("\"\""), "Path to TLS key file";
    "tlsverify" / "tlsverify": Bool, Only("false"), "Use TLS and verify the remote";
    "userland-proxy" / "userland-proxy": Bool, Honoured, "Carry by a proxy the connections that the kernel cannot redirect";
    "userland-proxy-path" / "userland-proxy-path": Text, Honoured, "Accepted: arca starts no proxy";
    "userns-remap" / "userns-remap": Text, Honoured, "User/Group setting for user namespaces";
    "validate" / "": Bool, Honoured, "Validate daemon configuration and exit";
    ('v') "version" / "": Bool, Honoured, "Print version information and quit";
    ('h') "help" / "": Bool, Honoured, "Print usage";
}

/// The option with this flag.
pub(crate) fn by_flag(flag: &str) -> Option<&'static Opt> {
    OPTIONS
        .iter()
        .find(|option| !option.flag.is_empty() && option.flag == flag)
}

/// The option with this one-letter flag.
pub(crate) fn by_short(letter: char) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

/// The option with this key in the file.
pub(crate) fn by_key(key: &str) -> Option<&'static Opt> {
    OPTIONS
        .iter()
        .find(|option| !option.key.is_empty() && option.key == key)
}

/// The text of `--help`: what is honoured; the rest is known only to be refused by name.
pub(crate) fn usage(program: &Program) -> String {
    let mut text = format!(
        "\nUsage:\t{} [OPTIONS]\n\nA container engine that speaks the Docker Engine API.\n\nOptions:\n",
        program.name
    );
    for option in OPTIONS {
        if option.flag.is_empty() || option.support != Honoured {
            continue;
        }
        let letter = option
            .short
            .map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = match option.kind {
            Bool => "",
            Int => " int",
            Size => " bytes",
            Text | Ip => " string",
            _ => " list",
        };
        let flag = format!("{letter}--{}{value}", option.flag);
        text.push_str(&format!("  {flag:<38}  {}\n", option.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_letter_or_key_occurs_twice() {
        for (n, one) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[n + 1..] {
                assert!(
                    one.flag.is_empty() || one.flag != other.flag,
                    "{}",
                    one.flag
                );
                assert!(one.key.is_empty() || one.key != other.key, "{}", one.key);
                assert!(
                    one.short.is_none() || one.short != other.short,
                    "{}",
                    one.flag
                );
            }
        }
    }

    #[test]
    fn the_only_values_are_json() {
        for option in OPTIONS {
            if let Only(text) = option.support {
                serde_json::from_str::<serde_json::Value>(text).unwrap();
            }
        }
    }

    /// The tables of `docs/CONFIGURATION.md`.
    fn tables() -> String {
        let flag = |option: &Opt| match option.flag {
            "" => String::new(),
            flag => format!("`--{flag}`"),
        };
        let key = |option: &Opt| match option.key {
            "" => String::new(),
            key => format!("`{key}`"),
        };
        let mut text = "## Honoured\n\n| flag | key | type | |\n|---|---|---|---|\n".to_owned();
        for option in OPTIONS.iter().filter(|o| o.support == Honoured) {
            let (flag, key) = (flag(option), key(option));
            let kind = format!("{:?}", option.kind).to_lowercase();
            let help = option.help.replace('|', "\\|");
            text.push_str(&format!("| {flag} | {key} | {kind} | {help} |\n"));
        }
        text.push_str("\n## Known, and refused with another value\n\n");
        text.push_str("| flag | key | the one value |\n|---|---|---|\n");
        for option in OPTIONS {
            let (flag, key) = (flag(option), key(option));
            match option.support {
                Honoured => {}
                Only(value) => text.push_str(&format!("| {flag} | {key} | `{value}` |\n")),
                Removed(_) => text.push_str(&format!("| {flag} | {key} | none: removed |\n")),
            }
        }
        text
    }

    /// The members that an object of the file may have.
    fn members<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Vec<String> {
        let refused = serde_json::from_value::<T>(value).map(drop).unwrap_err();
        let text = refused.to_string();
        let (_, expected) = text.split_once("expected ").unwrap();
        let names = expected.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    }

    #[test]
    fn the_page_names_every_member_of_the_objects() {
        use crate::objects::{Pool, Runtime};
        use serde_json::json;

        let page = include_str!("../../../docs/CONFIGURATION.md");
        let none = || json!({"nosuch": 1});
        let lists = [
            members::<crate::builds::Builder>(none()),
            members::<crate::builds::Builder>(json!({"gc": none()})),
            members::<crate::builds::Builder>(json!({"gc": {"policy": [none()]}})),
            members::<crate::builds::Builder>(json!({"entitlements": none()})),
            members::<crate::builds::Builder>(json!({"history": none()})),
            members::<crate::image_gc::ImageGc>(none()),
            members::<Pool>(none()),
            members::<Runtime>(none()),
        ];
        let is_member = |name: &&String| name.starts_with(char::is_lowercase);
        for name in lists.iter().flatten().filter(is_member) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }

    /// `ARCA_BLESS=1` writes the page anew.
    #[test]
    fn the_page_of_options_is_true() {
        const MARK: &str = "<!-- options -->\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, found) = page.split_once(MARK).unwrap();
        if std::env::var_os("ARCA_BLESS").is_some() {
            std::fs::write(path, format!("{head}{MARK}\n{}", tables())).unwrap();
        } else {
            assert_eq!(found.trim(), tables().trim());
        }
    }
}
