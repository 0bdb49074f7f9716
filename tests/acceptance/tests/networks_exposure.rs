//! Who reaches a published port is what the daemon, the network or a label say: by TCP and UDP, IPv4 and
//! IPv6.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arca_testkit::{Engine, Greeter, Machine, NetNs, Options, Transport, seen};

/// As long as it takes a client's kernel to try twice.
const PATIENCE: Duration = Duration::from_millis(2500);
/// The port of every server in its container.
const PORT: u16 = 8000;
/// An input chain that lets nobody in but loopback, and neighbours' questions.
const STRICT: [&str; 5] = [
    "add table inet strict",
    "add chain inet strict input { type filter hook input priority 0 ; policy drop ; }",
    "add rule inet strict input iif lo accept",
    "add rule inet strict input meta l4proto ipv6-icmp accept",
    "add rule inet strict input ct state established accept",
];
/// IPv4 or IPv6, and by what.
const WAYS: [(usize, Transport); 4] = [
    (0, Transport::Tcp),
    (0, Transport::Udp),
    (1, Transport::Tcp),
    (1, Transport::Udp),
];
/// The published port of each server, its network, what its label says, and whether the strict host lets
/// another machine in.
const SERVERS: [(u16, &str, &str, bool); 7] = [
    (8001, "daemon", "", false),
    (8002, "open", "", true),
    (8003, "loopback", "", false),
    (8004, "open", "loopback", false),
    (8005, "loopback", "open", true),
    (8006, "open", "firewall", false),
    // Without IPv6 of its own, which a proxy serves.
    (8007, "bridge", "", false),
];

fn nft(host: &NetNs, arguments: &str) {
    let mut command = host.command("nft");
    let output = command.args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
}

struct Bed {
    engine: Engine,
    machine: Machine,
    greeters: Vec<Greeter>,
}

impl Bed {
    fn new(engine: Engine) -> Self {
        let machine = Machine::beside(&engine);
        for exposure in ["daemon", "open", "loopback"] {
            let option = format!("arca.exposure={exposure}");
            let mut create = vec!["network", "create", "--ipv6", exposure];
            if exposure != "daemon" {
                create.extend(["-o", &option]);
            }
            engine.docker(&create).ok();
        }
        let mut greeters = Vec::new();
        for (port, network, label, _) in SERVERS {
            let name = port.to_string();
            let publish = ["tcp", "udp"].map(|by| format!("-p={port}:{PORT}/{by}"));
            let label = format!("--label=arca.exposure={label}");
            let mut run = vec!["run", "-d", "--name", &name, "--network", network];
            run.extend(publish.iter().map(String::as_str));
            run.extend((!label.ends_with('=')).then_some(label.as_str()));
            run.extend(["busybox", "sleep", "600"]);
            engine.docker(&run).ok();
            greeters.push(Greeter::start(&engine.container_netns(&name), PORT));
        }
        Self {
            engine,
            machine,
            greeters,
        }
    }

    /// What each server sees of the other machine, or of the host by its address, by each way.
    fn all(&self, machine: bool, to: [&str; 2]) -> Vec<(u16, [Option<IpAddr>; 4])> {
        let ask = |port: u16, (family, by): (usize, Transport)| {
            let to = SocketAddr::new(to[family].parse().unwrap(), port);
            let ask = || seen(to, by, PATIENCE);
            match machine {
                true => self.machine.enter(ask),
                false => self.engine.in_netns(ask),
            }
        };
        std::thread::scope(|scope| {
            let asked = SERVERS.map(|(port, ..)| {
                let ways = WAYS.map(|way| scope.spawn(move || ask(port, way)));
                (port, ways)
            });
            asked
                .map(|(port, ways)| (port, ways.map(|one| one.join().unwrap())))
                .to_vec()
        })
    }
}

#[test]
fn published_ports_are_exposed_as_daemon_network_or_label_say() {
    let engine = Engine::start_with(Options {
        flags: vec!["--exposure=firewall".to_owned()],
        ..Options::default()
    });
    if !engine.is_own() {
        // Another engine has no such policy.
        return;
    }
    let bed = Bed::new(engine);
    let engine = &bed.engine;
    let host = engine.netns().unwrap();
    STRICT.iter().for_each(|line| nft(host, line));
    // Who comes from outside is seen with its own address.
    let own = WAYS.map(|(family, _)| Some(Machine::OWN[family].parse().unwrap()));
    for ((port, seen), (.., passes)) in bed.all(true, Machine::HOST).into_iter().zip(SERVERS) {
        let expected = if passes { own } else { [None; 4] };
        assert_eq!(seen, expected, "{port}");
    }
    // The host itself always gets there by loopback, and by its address where that is exposed.
    for (port, seen) in bed.all(false, ["127.0.0.1", "::1"]) {
        assert!(seen.iter().all(Option::is_some), "{port} {seen:?}");
    }
    for (port, seen) in bed.all(false, Machine::HOST) {
        let shut = [8003, 8004].contains(&port);
        assert!(
            seen.iter().all(|seen| seen.is_some() != shut),
            "{port} {seen:?}"
        );
    }
    let shown = engine.docker(&["port", "8003"]).ok();
    for by in ["tcp", "udp"] {
        for address in ["127.0.0.1", "[::1]"] {
            let line = format!("{PORT}/{by} -> {address}:8003");
            assert!(shown.contains(&line), "{shown}");
        }
    }
    // The host's own rule opens what obeys it; also when arcad is away, but for what a proxy serves.
    for by in ["tcp", "udp"] {
        nft(
            host,
            &format!("add rule inet strict input {by} dport {{ 8001, 8006, 8007 }} accept"),
        );
    }
    let now = bed.all(true, Machine::HOST);
    assert!(now[6].1.iter().all(Option::is_some), "{now:?}");
    engine.kill_9();
    let reached = |all: Vec<(u16, [Option<IpAddr>; 4])>| {
        for ((port, seen), (.., passes)) in all.into_iter().zip(SERVERS) {
            let expected = match port {
                8001 | 8006 => own,
                8007 => [own[0], own[1], None, None],
                _ if passes => own,
                _ => [None; 4],
            };
            assert_eq!(seen[..2], expected[..2], "{port}");
            assert!(port == 8007 || seen == expected, "{port} {seen:?}");
        }
    };
    reached(bed.all(true, Machine::HOST));
    engine.launch();
    reached(bed.all(true, Machine::HOST));
    drop(bed.greeters);
}

#[test]
fn an_exposure_that_there_is_not_is_refused() {
    let engine = Engine::start();
    if !engine.is_own() {
        // Another engine has no such policy.
        return;
    }
    let label = "arca.exposure=nobody";
    let refused = engine.docker(&["run", "--rm", "--label", label, "busybox", "true"]);
    let refused = refused.expect(125);
    assert!(
        refused.stderr.contains("invalid exposure: nobody"),
        "{}",
        refused.stderr
    );
    engine
        .docker(&["network", "create", "-o", label, "bad"])
        .expect(1);
}
