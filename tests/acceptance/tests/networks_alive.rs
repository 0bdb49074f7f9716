//! Packets and names do not depend on a daemon that is alive.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use arca_testkit::{
    Engine, Flow, Greeter, Machine, Options, Transport, eventually, lookup, program, rounds,
};

/// The port of the server.
const PORT: u16 = 9000;
/// The port of the host where it is published.
const PUBLISHED: u16 = 9001;

/// How long arcad is away: `ARCA_TEST_ROUNDS` seconds, a minute at most.
fn away() -> Duration {
    Duration::from_secs(rounds(4).min(60))
}

/// A server and a client on a network, another machine, and all that is on the way between them.
struct Bed {
    machine: Machine,
    server: String,
    client: String,
    net: String,
    _greeter: Greeter,
}

impl Bed {
    fn new(engine: &Engine) -> Self {
        let [net, server, client] = ["net", "server", "client"].map(|what| engine.name(what));
        engine.docker(&["network", "create", "--ipv6", &net]).ok();
        for (name, ports) in [(&server, &["tcp", "udp"][..]), (&client, &[])] {
            let ports: Vec<String> = ports
                .iter()
                .map(|by| format!("-p={PUBLISHED}:{PORT}/{by}"))
                .collect();
            let mut run = vec!["run", "-d", "--network", &net, "--name", name];
            run.extend(ports.iter().map(String::as_str));
            run.extend(["busybox", "sleep", "600"]);
            engine.docker(&run).ok();
        }
        Self {
            machine: Machine::beside(engine),
            _greeter: Greeter::start(&engine.container_netns(&server), PORT),
            server,
            client,
            net,
        }
    }

    /// Connections and flows between the containers and from the other machine, by IPv4 and IPv6, and
    /// questions for a name.
    fn load(&self, engine: &Engine) -> Vec<(String, Flow)> {
        let client = engine.container_netns(&self.client);
        let machine = self.machine.netns().path();
        let mut load = vec![("DNS".to_owned(), Flow::of_names(&client, &self.server))];
        for ipv6 in [false, true] {
            let address = engine.in_container(&self.client, || {
                lookup(&self.server, ipv6, Duration::from_secs(5))
            });
            let address = *address.unwrap().first().unwrap();
            let host: IpAddr = if ipv6 {
                Machine::HOST[1]
            } else {
                Machine::HOST[0]
            }
            .parse()
            .unwrap();
            for by in [Transport::Tcp, Transport::Udp] {
                for (from, to) in [
                    (client.as_path(), SocketAddr::new(address, PORT)),
                    (machine, SocketAddr::new(host, PUBLISHED)),
                ] {
                    load.push((format!("{by:?} {to}"), Flow::start(from, to, by)));
                }
            }
        }
        load
    }
}

/// Ends the flows: all of them went on, and nothing was lost.
fn nothing_is_lost(load: Vec<(String, Flow)>) {
    for (what, flow) in load {
        let told = flow.end();
        assert_eq!(told.lost, 0, "{what}: {told:?}");
        assert!(told.answered > 50, "{what}: {told:?}");
        eprintln!("{what}: {told:?}");
    }
}

/// The name servers' processes of an engine, with the file that each runs.
fn name_servers(engine: &Engine) -> Vec<(String, u64)> {
    let root = engine.exec_root();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        let program = words.next().unwrap_or_default().ends_with("/arca-dns");
        if program && words.next() == root.to_str() {
            let name = process.file_name().to_string_lossy().into_owned();
            // It may end now.
            let file = std::fs::metadata(process.path().join("exe"));
            found.extend(file.map(|file| (name, file.ino())));
        }
    }
    found
}

/// Puts programs of this build into a directory, each by a rename, as a package manager does.
fn install(directory: &Path, names: &[&str]) {
    for name in names {
        let new = directory.join(format!("{name}.new"));
        std::fs::copy(program(name), &new).unwrap();
        std::fs::rename(new, directory.join(name)).unwrap();
    }
}

/// The name of a container that comes now is known to who was there before, by one of its addresses.
#[track_caller]
fn assert_late_name_is_known(engine: &Engine, bed: &Bed, ipv6: bool) {
    let late = engine.name("late");
    let rest = ["--network", bed.net.as_str(), "busybox", "sleep", "600"];
    engine.run_detached(&late, &rest).ok();
    let found = engine.in_container(&bed.client, || lookup(&late, ipv6, Duration::from_secs(5)));
    assert_eq!(found.unwrap().len(), 1);
}

#[test]
fn packets_and_names_go_on_while_the_daemon_is_away() {
    let engine = Engine::start();
    if !engine.is_own() {
        // A shared engine is not killed.
        return;
    }
    let bed = Bed::new(&engine);
    let load = bed.load(&engine);
    let before = name_servers(&engine);
    assert_eq!(before.len(), 1, "{before:?}");
    let client = engine.container_netns(&bed.client);
    engine.kill_9();
    let killed = Instant::now();
    let while_away = Flow::of_names(&client, &format!("{}.{}", bed.server, bed.net));
    while killed.elapsed() < away() {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(while_away.end().lost, 0);
    engine.launch();
    assert_eq!(name_servers(&engine), before);
    // Names that come later are known, too.
    assert_late_name_is_known(&engine, &bed, true);
    nothing_is_lost(load);
}

#[test]
fn packets_and_names_go_on_while_every_program_is_replaced() {
    let programs = tempfile::tempdir().unwrap();
    install(
        programs.path(),
        &["arcad", "arca-shim", "arca-init", "arca-dns"],
    );
    let engine = Engine::start_with(Options {
        programs: Some(programs.path().to_owned()),
        ..Options::default()
    });
    if !engine.is_own() {
        // A shared engine is not upgraded.
        return;
    }
    let bed = Bed::new(&engine);
    let load = bed.load(&engine);
    let before = name_servers(&engine);
    install(programs.path(), &["arca-shim", "arca-init", "arca-dns"]);
    let file = std::fs::metadata(programs.path().join("arca-dns")).unwrap();
    for end in [Engine::stop, Engine::kill_9] {
        end(&engine);
        engine.launch();
        // The process of the new program has taken over, and stays.
        let now = eventually("the former process ends", || {
            let now = name_servers(&engine);
            (now.len() == 1).then_some(now)
        });
        assert_ne!(now, before);
        assert!(
            now.iter().all(|(_, number)| *number == file.ino()),
            "{now:?}"
        );
    }
    assert_late_name_is_known(&engine, &bed, false);
    nothing_is_lost(load);
}
