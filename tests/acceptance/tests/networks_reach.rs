//! Who reaches whom: a table of where from, where to and by what, each for what has to pass and for what
//! must not, by IPv4 and IPv6, TCP and UDP.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use arca_testkit::{Engine, Greeter, Machine, Transport, eventually_within, lookup, seen};
use serde_json::Value;

/// Longer than an answer takes, shorter than a test may.
const PATIENCE: Duration = Duration::from_millis(900);
/// The port of every server.
const PORT: u16 = 8000;
/// Every container with the network it is on.
const CONTAINERS: [(&str, &str); 8] = [
    ("server", "plain"),
    ("near", "plain"),
    ("far", "other"),
    ("secret", "internal"),
    ("inside", "internal"),
    ("silent", "quiet"),
    ("mute", "quiet"),
    ("routed", "routed"),
];

/// Where a packet begins.
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
    /// The address of a container, at the server's own port.
    Address(&'static str),
    /// The published port of the server on the plain network, at the gateway of a container.
    Published(&'static str),
    /// The same, on the loopback of who asks.
    Loopback,
    /// The same, at the address that other machines know the host by.
    FromAfar,
    /// The port that is published on the host's loopback alone: there,
    OwnLoopback,
    /// at the gateway of a container,
    OwnGateway(&'static str),
    /// at the address that other machines know the host by.
    OwnFromAfar,
}

use To::{Address, FromAfar, Loopback, Name, OwnFromAfar, OwnGateway, OwnLoopback, Published};

const CASES: &[(Whence, To, bool)] = &[
    // The same network: by name, alias, address, and by the published port and back (hairpin).
    (Container("near"), Name("server"), true),
    (Container("near"), Name("alias"), true),
    (Container("near"), Address("server"), true),
    (Container("near"), Published("near"), true),
    (Container("near"), FromAfar, true),
    (Container("near"), OwnGateway("near"), false),
    (Container("near"), Loopback, false),
    (Container("near"), OwnLoopback, false),
    (Container("server"), Name("server"), true),
    (Container("server"), Address("server"), true),
    (Container("server"), Published("near"), true),
    (Container("server"), FromAfar, true),
    // Another network.
    (Container("far"), Name("server"), false),
    (Container("far"), Name("alias"), false),
    (Container("far"), Address("server"), false),
    (Container("far"), Published("near"), true),
    (Container("far"), Published("far"), true),
    (Container("far"), FromAfar, true),
    (Container("far"), OwnGateway("far"), false),
    (Container("far"), OwnFromAfar, false),
    (Container("far"), Address("secret"), false),
    // An internal network.
    (Container("inside"), Name("secret"), true),
    (Container("inside"), Address("secret"), true),
    (Container("inside"), Name("server"), false),
    (Container("inside"), Address("server"), false),
    (Container("inside"), Published("near"), false),
    (Container("inside"), FromAfar, false),
    // A network whose containers do not talk to each other.
    (Container("mute"), Address("silent"), false),
    (Container("mute"), Name("silent"), false),
    (Container("mute"), Address("server"), false),
    (Container("mute"), Published("near"), true),
    // A network whose published ports are at the containers' own addresses.
    (Host, Address("routed"), true),
    (Outside, Address("routed"), true),
    (Container("routed"), Address("server"), false),
    (Container("routed"), Published("near"), true),
    // The host.
    (Host, Address("server"), true),
    (Host, Address("secret"), true),
    (Host, Address("silent"), true),
    (Host, Published("near"), true),
    (Host, FromAfar, true),
    (Host, Loopback, true),
    (Host, OwnLoopback, true),
    (Host, OwnGateway("near"), false),
    // Another machine.
    (Outside, Address("server"), false),
    (Outside, Address("secret"), false),
    (Outside, Address("silent"), false),
    (Outside, FromAfar, true),
    (Outside, Published("near"), true),
    (Outside, OwnFromAfar, false),
];

/// Containers on networks of every kind, with IPv4 and IPv6, each with a server.
struct Bed {
    engine: Engine,
    networks: Vec<String>,
    greeters: Vec<Greeter>,
    /// Another machine, on a link to the host.
    outside: Machine,
}

fn name_of(engine: &Engine, what: &str) -> String {
    let pid = std::process::id();
    format!("{what}-reach-{pid}-{}", engine.is_own())
}

impl Bed {
    fn new() -> Self {
        let engine = Engine::start();
        let outside = Machine::beside(&engine);
        let mut bed = Self {
            engine,
            networks: Vec::new(),
            greeters: Vec::new(),
            outside,
        };
        bed.network("plain", &[]);
        bed.network("other", &[]);
        bed.network("internal", &["--internal"]);
        bed.network("quiet", &["com.docker.network.bridge.enable_icc=false"]);
        let routed = ["4", "6"]
            .map(|family| format!("com.docker.network.bridge.gateway_mode_ipv{family}=routed"));
        bed.network("routed", &[&routed[0], &routed[1]]);
        // dockerd fails to publish a port by two addresses when it is to choose the ports of both.
        let free = bed.engine.free_address();
        let local = free.rsplit(':').next().unwrap();
        let mut published = vec!["--network-alias".to_owned(), "alias".to_owned()];
        for protocol in ["tcp", "udp"] {
            for wish in [
                "",
                &format!("127.0.0.1:{local}:"),
                &format!("[::1]:{local}:"),
            ] {
                published.extend(["-p".to_owned(), format!("{wish}{PORT}/{protocol}")]);
            }
        }
        for (what, network) in CONTAINERS {
            let flags = match what {
                "server" => published.clone(),
                "routed" => ["tcp", "udp"].map(|by| format!("-p={PORT}/{by}")).to_vec(),
                _ => Vec::new(),
            };
            bed.container(what, network, &flags);
        }
        bed
    }

    fn network(&mut self, what: &str, options: &[&str]) {
        let name = name_of(&self.engine, what);
        let mut create = vec!["network", "create", "--ipv6"];
        for option in options {
            match option.starts_with("--") {
                true => create.push(option),
                false => create.extend(["-o", option]),
            }
        }
        create.push(&name);
        self.engine.docker(&create).ok();
        self.networks.push(name);
    }

    fn container(&mut self, what: &str, network: &str, flags: &[String]) {
        let name = name_of(&self.engine, what);
        let network = name_of(&self.engine, network);
        let mut run = vec!["run", "-d", "--name", &name, "--network", &network];
        run.extend(["--network-alias", what]);
        run.extend(flags.iter().map(String::as_str));
        run.extend(["busybox", "sleep", "600"]);
        self.engine.docker(&run).ok();
        let netns = self.engine.container_netns(&name);
        self.greeters.push(Greeter::start(&netns, PORT));
    }

    fn endpoint(&self, container: &str, key: &str) -> IpAddr {
        let (_, network) = CONTAINERS.iter().find(|one| one.0 == container).unwrap();
        let inspected = self.engine.inspect(&name_of(&self.engine, container));
        let network = name_of(&self.engine, network);
        let path = format!("/NetworkSettings/Networks/{network}/{key}");
        let text = inspected.pointer(&path).and_then(Value::as_str);
        text.unwrap().parse().unwrap()
    }

    /// The published port: everywhere, or on loopback alone.
    fn port(&self, way: Way, own: bool) -> u16 {
        let inspected = self.engine.inspect(&name_of(&self.engine, "server"));
        let protocol = match way.by {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let path = format!("/NetworkSettings/Ports/{PORT}~1{protocol}");
        let bindings = inspected.pointer(&path).and_then(Value::as_array).unwrap();
        let wanted = match (own, way.ipv6) {
            (true, false) => "127.0.0.1",
            (true, true) => "::1",
            (false, true) => "::",
            (false, false) => "0.0.0.0",
        };
        let found = bindings.iter().find(|one| one["HostIp"] == wanted).unwrap();
        found["HostPort"].as_str().unwrap().parse().unwrap()
    }

    /// Where exactly; none when there is nobody of this name.
    fn target(&self, from: Whence, to: To, way: Way) -> Option<SocketAddr> {
        let Way { ipv6, .. } = way;
        let [address, gateway] = match ipv6 {
            true => ["GlobalIPv6Address", "IPv6Gateway"],
            false => ["IPAddress", "Gateway"],
        };
        let loopback: IpAddr = if ipv6 { "::1" } else { "127.0.0.1" }.parse().unwrap();
        let host: IpAddr = Machine::HOST[usize::from(ipv6)].parse().unwrap();
        let (ip, port) = match to {
            Name(name) => {
                let addresses = self.enter(from, || lookup(name, ipv6, Duration::from_secs(5)));
                (*addresses?.first()?, PORT)
            }
            Address(container) => (self.endpoint(container, address), PORT),
            Published(container) => (self.endpoint(container, gateway), self.port(way, false)),
            Loopback => (loopback, self.port(way, false)),
            FromAfar => (host, self.port(way, false)),
            OwnLoopback => (loopback, self.port(way, true)),
            OwnGateway(container) => (self.endpoint(container, gateway), self.port(way, true)),
            OwnFromAfar => (host, self.port(way, true)),
        };
        Some(SocketAddr::new(ip, port))
    }

    fn enter<T: Send>(&self, from: Whence, work: impl FnOnce() -> T + Send) -> T {
        match from {
            Container(what) => self.engine.in_container(&name_of(&self.engine, what), work),
            Host => self.engine.in_netns(work),
            Outside => self.outside.enter(work),
        }
    }

    /// What the server sees of who asks; none when nothing passes.
    fn seen(&self, from: Whence, to: To, way: Way) -> Option<IpAddr> {
        let target = self.target(from, to, way)?;
        self.enter(from, || seen(target, way.by, PATIENCE))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.greeters.clear();
        for (what, _) in CONTAINERS {
            let name = name_of(&self.engine, what);
            let path = format!("/containers/{name}?force=1");
            self.engine.http().delete(&path);
        }
        for network in &self.networks {
            self.engine.http().delete(&format!("/networks/{network}"));
        }
    }
}

/// By what.
#[derive(Debug, Clone, Copy)]
struct Way {
    ipv6: bool,
    by: Transport,
}

const WAYS: [Way; 4] = [
    Way {
        ipv6: false,
        by: Transport::Tcp,
    },
    Way {
        ipv6: false,
        by: Transport::Udp,
    },
    Way {
        ipv6: true,
        by: Transport::Tcp,
    },
    Way {
        ipv6: true,
        by: Transport::Udp,
    },
];

fn run(mut command: Command, arguments: &str) {
    command.args(arguments.split(' '));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Every case that is not as it should be.
fn wrong(bed: &Bed) -> Vec<String> {
    let ask = |from: Whence, to: To, expected: bool, way: Way| {
        let passed = bed.seen(from, to, way);
        let wrong = passed.is_some() != expected;
        wrong.then(|| format!("{from:?} -> {to:?}, {way:?}: {passed:?}"))
    };
    // Those that must not pass take their time: all at once.
    std::thread::scope(|scope| {
        let mut asked = Vec::new();
        for (from, to, expected) in CASES.iter().copied() {
            for way in WAYS {
                asked.push(scope.spawn(move || ask(from, to, expected, way)));
            }
        }
        let answers = asked.into_iter().map(|one| one.join().unwrap());
        answers.flatten().collect()
    })
}

const TCP: Way = WAYS[0];

#[test]
fn what_has_to_pass_passes_and_nothing_else() {
    let bed = Bed::new();
    assert_eq!(wrong(&bed), Vec::<String>::new());
    // Whoever comes from elsewhere is seen with its own address.
    for way in WAYS {
        let machine: IpAddr = Machine::OWN[usize::from(way.ipv6)].parse().unwrap();
        assert_eq!(bed.seen(Outside, FromAfar, way), Some(machine), "{way:?}");
    }
    let Some(host) = bed.engine.netns() else {
        return;
    };
    // Another firewall takes everything away, ours too: it comes back by itself.
    let nft = |arguments: &str| run(host.command("nft"), arguments);
    nft("flush ruleset");
    eventually_within(Duration::from_secs(1), "the rules are back", || {
        bed.seen(Outside, FromAfar, TCP)
    });
    // A host that lets nobody in is no reason for containers not to be reached, nor to be reached more.
    nft("add table inet strict");
    nft("add chain inet strict input { type filter hook input priority 0 ; policy drop ; }");
    nft("add rule inet strict input iif lo accept");
    nft("add rule inet strict input ct state established accept");
    nft("add rule inet strict input meta l4proto ipv6-icmp accept");
    for (to, passes) in [
        (FromAfar, true),
        (OwnFromAfar, false),
        (Address("server"), false),
    ] {
        for way in WAYS {
            let passed = bed.seen(Outside, to, way).is_some();
            assert_eq!(passed, passes, "{to:?} {way:?}");
        }
    }
    assert!(bed.seen(Container("near"), Name("server"), TCP).is_some());
}
