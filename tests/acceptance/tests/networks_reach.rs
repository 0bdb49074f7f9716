//! Who reaches whom: a table of where from, where to and by what, each for what has to pass and for what
//! must not.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use arca_testkit::{Engine, NetNs, eventually_within};
use serde_json::Value;

/// What a server says to everybody who connects.
const GREETING: &str = "hello";
/// Longer than an answer takes, shorter than a test may.
const PATIENCE: Duration = Duration::from_millis(700);
/// The port of every server.
const PORT: u16 = 8000;

/// Containers on networks of every kind, with IPv4 and IPv6.
struct Bed {
    engine: Engine,
    networks: Vec<String>,
    /// Another machine, on a link to the host, where the host is ours.
    outside: Option<NetNs>,
}

/// Where a connection begins.
#[derive(Debug, Clone, Copy)]
enum Whence {
    Container(&'static str),
    Host,
    Outside,
}

use Whence::{Container, Host, Outside};

/// Where it goes to.
#[derive(Debug, Clone, Copy)]
enum To {
    /// A name, at the server's own port.
    Name(&'static str),
    /// The address of a container on a network, at the server's own port.
    Address(&'static str, &'static str),
    /// The published port of the server on the plain network, at the gateway of a network.
    Published(&'static str),
    /// The same, on loopback.
    Loopback,
    /// The same, at the address that other machines know the host by.
    FromAfar,
    /// The port that is published on the host's loopback alone.
    LocalFromAfar,
}

use To::{Address, FromAfar, LocalFromAfar, Loopback, Name, Published};

const CASES: &[(Whence, To, bool)] = &[
    (Container("near"), Name("server"), true),
    (Container("near"), Name("alias"), true),
    (Container("near"), Address("server", "plain"), true),
    (Container("near"), Published("plain"), true),
    (Container("server"), Published("plain"), true),
    (Container("far"), Name("server"), false),
    (Container("far"), Address("server", "plain"), false),
    (Container("far"), Published("plain"), true),
    (Container("far"), Published("other"), true),
    (Container("inside"), Name("secret"), true),
    (Container("inside"), Address("secret", "internal"), true),
    (Container("inside"), Address("server", "plain"), false),
    (Container("inside"), Published("plain"), false),
    (Container("far"), Address("secret", "internal"), false),
    (Container("mute"), Address("silent", "quiet"), false),
    (Container("mute"), Name("silent"), false),
    (Container("mute"), Published("plain"), true),
    (Host, Address("server", "plain"), true),
    (Host, Address("secret", "internal"), true),
    (Host, Published("plain"), true),
    (Host, Loopback, true),
    (Outside, Address("server", "plain"), false),
    (Outside, Address("secret", "internal"), false),
    (Outside, FromAfar, true),
    (Outside, LocalFromAfar, false),
];

fn container_name(engine: &Engine, what: &str) -> String {
    let pid = std::process::id();
    format!("{what}-reach-{pid}-{}", engine.is_own())
}

impl Bed {
    fn new() -> Self {
        let mut bed = Self {
            outside: None,
            engine: Engine::start(),
            networks: Vec::new(),
        };
        bed.network("plain", &[]);
        bed.network("other", &[]);
        bed.network("internal", &["--internal"]);
        let quiet = ["-o", "com.docker.network.bridge.enable_icc=false"];
        bed.network("quiet", &quiet);
        // dockerd fails to publish a port by two addresses when it is to choose the ports of both.
        let local = format!("{}:8000", bed.engine.free_address());
        let published = ["--network-alias", "alias", "-p", "8000", "-p", &local];
        bed.container("server", "plain", &published);
        bed.container("near", "plain", &[]);
        bed.container("far", "other", &[]);
        bed.container("secret", "internal", &[]);
        bed.container("inside", "internal", &[]);
        bed.container("silent", "quiet", &[]);
        bed.container("mute", "quiet", &[]);
        bed.outside = bed.engine.netns().map(outside);
        bed
    }

    fn network(&mut self, what: &str, flags: &[&str]) {
        let name = container_name(&self.engine, what);
        let create = ["network", "create", "--ipv6"];
        self.engine
            .docker(&[&create[..], flags, &[&name]].concat())
            .ok();
        self.networks.push(name);
    }

    fn container(&self, what: &str, network: &str, flags: &[&str]) {
        let name = container_name(&self.engine, what);
        let network = container_name(&self.engine, network);
        let script = format!("exec nc -ll -p {PORT} -e echo {GREETING}");
        let run = ["run", "-d", "--name", &name, "--network", &network];
        let own = ["--network-alias", what];
        let command = ["busybox", "sh", "-c", &script];
        self.engine
            .docker(&[&run[..], &own, flags, &command].concat())
            .ok();
    }

    fn endpoint(&self, container: &str, network: &str) -> Value {
        let inspected = self
            .engine
            .inspect(&container_name(&self.engine, container));
        let network = container_name(&self.engine, network);
        let path = format!("/NetworkSettings/Networks/{network}");
        inspected.pointer(&path).cloned().unwrap_or_default()
    }

    /// The published port; on loopback alone, or everywhere.
    fn port(&self, ipv6: bool, local: bool) -> u16 {
        let inspected = self.engine.inspect(&container_name(&self.engine, "server"));
        let bindings = inspected
            .pointer("/NetworkSettings/Ports/8000~1tcp")
            .cloned();
        let wanted = match (local, ipv6) {
            (true, _) => "127.0.0.1",
            (false, true) => "::",
            (false, false) => "0.0.0.0",
        };
        let all = bindings.as_ref().and_then(Value::as_array).unwrap();
        let text = |binding: &Value, key: &str| {
            let text = binding.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let found = all.iter().find(|binding| text(binding, "HostIp") == wanted);
        text(found.unwrap(), "HostPort").parse().unwrap()
    }

    /// Where exactly; none when there is no such place in the family.
    fn target(&self, to: To, ipv6: bool) -> Option<(String, u16)> {
        let text = |value: Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
        let (address, gateway) = if ipv6 {
            ("GlobalIPv6Address", "IPv6Gateway")
        } else {
            ("IPAddress", "Gateway")
        };
        Some(match to {
            // The client takes the address of either family.
            Name(name) if !ipv6 => (name.to_owned(), PORT),
            Name(_) => return None,
            Address(container, network) => {
                (text(self.endpoint(container, network), address)?, PORT)
            }
            Published(network) => {
                let anybody = if network == "plain" { "near" } else { "far" };
                let gateway = text(self.endpoint(anybody, network), gateway)?;
                (gateway, self.port(ipv6, false))
            }
            Loopback => {
                let loopback = if ipv6 { "::1" } else { "127.0.0.1" };
                (loopback.to_owned(), self.port(ipv6, false))
            }
            FromAfar => {
                let host = if ipv6 { "2001:db8:7::1" } else { "192.0.2.1" };
                (host.to_owned(), self.port(ipv6, false))
            }
            LocalFromAfar if ipv6 => return None,
            LocalFromAfar => ("192.0.2.1".to_owned(), self.port(false, true)),
        })
    }

    /// Whether the greeting comes; none when the case is not one of this engine or family.
    fn passes(&self, from: Whence, to: To, ipv6: bool) -> Option<bool> {
        let (host, port) = self.target(to, ipv6)?;
        let socket = || -> Option<SocketAddr> {
            let ip = host.parse().ok()?;
            Some(SocketAddr::new(ip, port))
        };
        Some(match from {
            Container(name) => {
                let name = container_name(&self.engine, name);
                let script = format!("nc -w 1 {host} {port} </dev/null");
                let output = self.engine.docker(&["exec", &name, "sh", "-c", &script]);
                output.stdout.contains(GREETING)
            }
            Host => {
                let socket = socket()?;
                self.engine.in_netns(|| greets(socket))
            }
            Outside => {
                let (outside, socket) = (self.outside.as_ref()?, socket()?);
                outside.enter(|| greets(socket))
            }
        })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for what in [
            "server", "near", "far", "secret", "inside", "silent", "mute",
        ] {
            let name = container_name(&self.engine, what);
            self.engine
                .http()
                .delete(&format!("/containers/{name}?force=1"));
        }
        for network in &self.networks {
            self.engine.http().delete(&format!("/networks/{network}"));
        }
    }
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).is_ok() && text.contains(GREETING)
}

fn run(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn ip(netns: &NetNs, arguments: &str) {
    let mut command = netns.command("ip");
    command.args(arguments.split(' '));
    run(command);
}

/// Makes another machine, which sends everything to the host.
fn outside(host: &NetNs) -> NetNs {
    let outside = NetNs::new();
    let link = format!(
        "link add wan0 type veth peer name up0 netns {}",
        outside.name()
    );
    ip(host, &link);
    for (netns, link, number) in [(host, "wan0", 1), (&outside, "up0", 2)] {
        ip(netns, &format!("link set {link} up"));
        ip(
            netns,
            &format!("address add 192.0.2.{number}/24 dev {link}"),
        );
        let ipv6 = format!("address add 2001:db8:7::{number}/64 dev {link} nodad");
        ip(netns, &ipv6);
    }
    ip(&outside, "route add default via 192.0.2.1");
    ip(&outside, "-6 route add default via 2001:db8:7::1");
    outside
}

/// A neighbour does not get through a port published on IPv6 (docs/LIMITATIONS.md).
fn is_known(bed: &Bed, from: Whence, to: To, ipv6: bool) -> bool {
    let hairpin = matches!((from, to), (Container("near"), Published("plain")));
    bed.engine.is_own() && ipv6 && hairpin
}

/// Every case that is not as it should be.
fn wrong(bed: &Bed) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, to, expected) in CASES {
        for ipv6 in [false, true] {
            if is_known(bed, *from, *to, ipv6) {
                continue;
            }
            let passed = bed.passes(*from, *to, ipv6);
            if passed.is_some_and(|passed| passed != *expected) {
                wrong.push(format!("{from:?} -> {to:?}, IPv6 {ipv6}: {passed:?}"));
            }
        }
    }
    wrong
}

#[test]
fn what_has_to_pass_passes_and_nothing_else() {
    let bed = Bed::new();
    eventually_within(Duration::from_secs(10), "the servers listen", || {
        let near = bed.passes(Container("near"), Address("server", "plain"), false);
        let silent = bed.passes(Host, Address("silent", "quiet"), false);
        (near == Some(true) && silent == Some(true)).then_some(())
    });
    assert_eq!(wrong(&bed), Vec::<String>::new());
    let Some(host) = bed.engine.netns() else {
        return;
    };
    // Another firewall takes everything away, ours too: it comes back by itself.
    let nft = |arguments: &str| {
        let mut command = host.command("nft");
        command.args(arguments.split(' '));
        run(command);
    };
    nft("flush ruleset");
    eventually_within(Duration::from_secs(1), "the rules are back", || {
        bed.passes(Outside, FromAfar, false)
            .filter(|passes| *passes)
    });
    // A host that lets nobody in is no reason for containers not to be reached, nor to be reached more.
    nft("add table inet strict");
    nft("add chain inet strict input { type filter hook input priority 0 ; policy drop ; }");
    nft("add rule inet strict input iif lo accept");
    nft("add rule inet strict input ct state established accept");
    nft("add rule inet strict input meta l4proto ipv6-icmp accept");
    assert_eq!(bed.passes(Outside, FromAfar, false), Some(true));
    assert_eq!(bed.passes(Outside, LocalFromAfar, false), Some(false));
    let direct = Address("server", "plain");
    assert_eq!(bed.passes(Outside, direct, false), Some(false));
    assert_eq!(
        bed.passes(Container("near"), Name("server"), false),
        Some(true)
    );
}
