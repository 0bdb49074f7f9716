//! Hosts that are not empty: other firewalls, other engines, uplinks that change, and somebody who breaks
//! things.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use arca_testkit::{Engine, NetNs, eventually, eventually_within, program};

/// What a server says.
const GREETING: &str = "hello";

fn run_in(netns: &NetNs, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = netns.command(words.next().unwrap_or_default());
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Another machine at 192.0.2.2 behind the link `wan0` of the host.
fn outside(host: &NetNs) -> NetNs {
    let outside = NetNs::new();
    let name = outside.name();
    run_in(
        host,
        &format!("ip link add wan0 type veth peer name up0 netns {name}"),
    );
    for (netns, link, number) in [(host, "wan0", 1), (&outside, "up0", 2)] {
        run_in(netns, &format!("ip link set {link} up"));
        run_in(
            netns,
            &format!("ip address add 192.0.2.{number}/24 dev {link}"),
        );
    }
    run_in(&outside, "ip route add default via 192.0.2.1");
    outside
}

/// Whether the greeting comes; it tries as long as it takes a client's kernel to try twice.
fn greets(netns: &NetNs, address: &str) -> bool {
    let address = address.parse().unwrap();
    netns.enter(move || {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(2500))
        else {
            return false;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text.contains(GREETING)
    })
}

/// A container that greets at its port 8000, published at `port`.
fn server(engine: &Engine, port: u16, flags: &[&str]) -> String {
    let name = engine.name("server");
    let publish = format!("{port}:8000");
    let run = ["run", "-d", "--name", &name, "-p", &publish];
    let script = format!("exec nc -ll -p 8000 -e echo {GREETING}");
    let command = ["busybox", "sh", "-c", &script];
    engine.docker(&[&run[..], flags, &command].concat()).ok();
    let host = engine.netns().unwrap();
    eventually("the server listens", || {
        greets(host, &format!("127.0.0.1:{port}")).then_some(())
    });
    name
}

fn doctor(engine: &Engine) -> String {
    let mut command: Command = engine.netns().unwrap().command(program("arca"));
    command.arg("doctor");
    for (flag, path) in [
        ("--socket", engine.http().socket().to_owned()),
        ("--data-root", engine.data_root()),
        ("--exec-root", engine.exec_root()),
    ] {
        command.arg(flag).arg(path);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn warnings(engine: &Engine) -> String {
    let (status, info) = engine.http().get("/info");
    assert_eq!(status, 200);
    info.get("Warnings")
        .cloned()
        .unwrap_or_default()
        .to_string()
}

#[test]
fn rules_by_iptables_legacy_are_noticed_and_lived_with() {
    let engine = Engine::start();
    let Some(host) = engine.netns() else { return };
    let machine = outside(host);
    server(&engine, 8080, &[]);
    assert!(!warnings(&engine).contains("legacy"));
    run_in(host, "iptables-legacy -P INPUT DROP");
    run_in(host, "iptables-legacy -A INPUT -i lo -j ACCEPT");
    run_in(host, "iptables-legacy -A FORWARD -s 10.9.9.9 -j DROP");
    assert!(greets(&machine, "192.0.2.1:8080"));
    assert!(warnings(&engine).contains("legacy iptables rules are in use"));
    assert!(doctor(&engine).contains("1 rules for forwarded packets"));
    run_in(host, "iptables-legacy -P FORWARD DROP");
    assert!(!greets(&machine, "192.0.2.1:8080"));
    assert!(doctor(&engine).contains("FORWARD drops what it does not know"));
    // As doctor says.
    run_in(host, "iptables-legacy -A FORWARD -i arca0 -j ACCEPT");
    run_in(host, "iptables-legacy -A FORWARD -o arca0 -j ACCEPT");
    assert!(greets(&machine, "192.0.2.1:8080"));
    assert!(engine.daemon_log().contains("arca"));
}

#[test]
fn another_engines_bridges_and_rules_are_left_alone() {
    let engine = Engine::start();
    let Some(host) = engine.netns() else { return };
    let subnets = || {
        let (_, listed) = engine.http().get("/networks");
        listed.to_string()
    };
    assert!(subnets().contains("172.17.0.0/16"));
    engine.stop();
    run_in(host, "ip link del arca0");
    for line in [
        "ip link add docker0 type bridge",
        "ip link set docker0 up",
        "ip address add 172.17.0.1/16 dev docker0",
        "ip link add br-0123456789ab type bridge",
        "ip address add 172.18.0.1/16 dev br-0123456789ab",
        "ip link set br-0123456789ab up",
        "nft add table ip filter",
        "nft add table ip nat",
        "nft add chain ip filter DOCKER",
        "nft add chain ip filter DOCKER-USER",
        "nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
        "nft add rule ip filter FORWARD jump DOCKER-USER",
        "nft add rule ip filter FORWARD oifname docker0 jump DOCKER",
        "nft add chain ip nat POSTROUTING { type nat hook postrouting priority 100 ; }",
        "nft add rule ip nat POSTROUTING ip saddr 172.17.0.0/16 oifname != docker0 masquerade",
    ] {
        run_in(host, line);
    }
    let theirs = || {
        let rules = run_in(host, "nft --stateless list table ip filter");
        let links = run_in(host, "ip -4 -o address show dev docker0");
        let other = run_in(host, "ip -4 -o address show dev br-0123456789ab");
        rules + &links + &other + &run_in(host, "nft --stateless list table ip nat")
    };
    let before = theirs();
    engine.launch();
    let net = engine.name("net");
    engine.docker(&["network", "create", &net]).ok();
    let shown = subnets();
    for subnet in ["172.17.0.0/16", "172.18.0.0/16"] {
        assert!(!shown.contains(subnet), "{shown}");
    }
    let machine = outside(host);
    server(&engine, 8080, &[]);
    assert!(warnings(&engine).contains("the firewall chain FORWARD of the table ip filter"));
    assert!(!greets(&machine, "192.0.2.1:8080"));
    assert_eq!(theirs(), before);
    run_in(
        host,
        "nft add rule ip filter DOCKER-USER iifname arca0 accept",
    );
    run_in(
        host,
        "nft add rule ip filter DOCKER-USER oifname arca0 accept",
    );
    assert!(greets(&machine, "192.0.2.1:8080"));
    engine.docker(&["network", "rm", &net]).ok();
}

#[test]
fn a_link_of_somebody_else_is_used_and_stays_as_it_is() {
    let engine = Engine::start();
    let Some(host) = engine.netns() else { return };
    for line in [
        "ip link add adm0 type bridge",
        "ip address add 10.88.0.1/24 dev adm0",
        "ip link add vethadm type veth peer name vethtoo",
        "ip link set vethadm master adm0",
        "ip link set adm0 mtu 1400",
    ] {
        run_in(host, line);
    }
    let net = engine.name("net");
    let on = |link: &str, subnet: &str| {
        let name = format!("com.docker.network.bridge.name={link}");
        let create = ["network", "create", "-o", &name, "--subnet", subnet, &net];
        engine.docker(&create)
    };
    let refused = on("vethtoo", "10.88.7.0/24").expect(1);
    let words = "existing interface vethtoo is not a bridge";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    run_in(host, "ip link show vethtoo");
    on("adm0", "10.88.8.0/24").ok();
    let container = engine.name("container");
    let run = ["run", "-d", "--name", &container, "--network", &net];
    engine
        .docker(&[&run[..], &["busybox", "sleep", "600"]].concat())
        .ok();
    let all = || run_in(host, "ip -4 address show dev adm0");
    assert!(
        all().contains("10.88.0.1/24") && all().contains("10.88.8.1/24"),
        "{}",
        all()
    );
    engine.kill_9();
    engine.launch();
    run_in(host, "ip link show vethadm");
    engine
        .docker(&["exec", &container, "ping", "-c1", "-W2", "10.88.8.1"])
        .ok();
    engine.docker(&["rm", "-f", &container]).ok();
    engine.docker(&["network", "rm", &net]).ok();
    assert!(
        all().contains("10.88.0.1/24") && all().contains("mtu 1400"),
        "{}",
        all()
    );
    run_in(host, "ip link show vethadm");
}

#[test]
fn what_somebody_breaks_is_repaired_and_told() {
    let engine = Engine::start();
    let Some(host) = engine.netns() else { return };
    let net = engine.name("net");
    let created = engine.docker(&["network", "create", &net]).ok();
    let bridge = format!("br-{}", created.get(..12).unwrap());
    let (one, other) = (engine.name("one"), engine.name("other"));
    for name in [&one, &other] {
        let run = ["run", "-d", "--name", name, "--network", &net, "busybox"];
        engine.docker(&[&run[..], &["sleep", "600"]].concat()).ok();
    }
    let reaches = || {
        let ping = ["exec", &one, "ping", "-c1", "-W1", &other];
        (engine.docker(&ping).code == 0).then_some(())
    };
    eventually("at first", reaches);
    let mut events = engine.events("{\"type\":[\"network\"]}");
    for (damage, told) in [
        (
            format!("ip link set {bridge} down"),
            format!("the bridge {bridge} was down"),
        ),
        (
            format!("ip address flush dev {bridge}"),
            "the address ".to_owned(),
        ),
        (
            format!("ip link del {bridge}"),
            format!("the bridge {bridge} was removed"),
        ),
        (
            "nft flush ruleset".to_owned(),
            "the nftables table ".to_owned(),
        ),
    ] {
        run_in(host, &damage);
        let repaired = events.wait_for("repair", |event| {
            let reason = event["Actor"]["Attributes"]["reason"].as_str();
            reason.is_some_and(|reason| reason.starts_with(&told))
        });
        let name = repaired["Actor"]["Attributes"]["name"].as_str();
        assert_eq!(name == Some(&net), !damage.starts_with("nft"), "{repaired}");
        eventually_within(Duration::from_secs(3), &damage, reaches);
    }
    assert!(warnings(&engine).contains("changed from outside and repaired"));
    assert!(doctor(&engine).contains("changed from outside and repaired"));
}

#[test]
fn networks_follow_the_size_of_the_uplinks_packets() {
    let engine = Engine::start();
    let Some(host) = engine.netns() else { return };
    let _machine = outside(host);
    run_in(host, "ip route add default via 192.0.2.2 dev wan0");
    run_in(host, "ip link add tun0 mtu 1380 type bridge");
    run_in(host, "ip link set tun0 up");
    let (net, fixed) = (engine.name("net"), engine.name("fixed"));
    let mtu = |network: &str| {
        let run = ["run", "--rm", "--network", network, "busybox", "cat"];
        let file = ["/sys/class/net/eth0/mtu"];
        engine.docker(&[&run[..], &file].concat()).ok()
    };
    engine.docker(&["network", "create", &net]).ok();
    let option = "com.docker.network.driver.mtu=1450";
    engine
        .docker(&["network", "create", "-o", option, &fixed])
        .ok();
    assert_eq!(mtu(&net), "1500");
    run_in(host, "ip route add default dev tun0 metric 50");
    eventually("the network follows", || {
        (mtu(&net) == "1380").then_some(())
    });
    eventually("the default one, too", || {
        (mtu("bridge") == "1380").then_some(())
    });
    assert_eq!(mtu(&fixed), "1450");
    // As dockerd shows it: what nobody asked for is no option.
    let (_, shown) = engine.http().get(&format!("/networks/{net}"));
    assert_eq!(shown["Options"], serde_json::json!({}));
    for network in [&net, &fixed] {
        engine.docker(&["network", "rm", network]).ok();
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_who_has_it() {
    let engine = Engine::start();
    let (first, second) = (engine.name("first"), engine.name("second"));
    let publish = "127.0.0.1:48713:80";
    let run = ["run", "-d", "--name"];
    let sleep = ["-p", publish, "busybox", "sleep", "600"];
    engine.docker(&[&run[..], &[&first], &sleep].concat()).ok();
    let refused = engine
        .docker(&[&run[..], &[&second], &sleep].concat())
        .expect(125);
    let text = "Bind for 127.0.0.1:48713 failed: port is already allocated";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    if engine.is_own() {
        let owner = format!("(by container {first})");
        assert!(refused.stderr.contains(&owner), "{}", refused.stderr);
    }
    let sctp = ["run", "--rm", "-p", "48714:80/sctp", "busybox", "true"];
    let output = engine.docker(&sctp);
    let supported =
        std::fs::read_to_string("/proc/net/protocols").is_ok_and(|all| all.contains("SCTP"));
    if !supported {
        assert_eq!(output.code, 125);
        assert!(
            output.stderr.contains("protocol not supported"),
            "{}",
            output.stderr
        );
    }
}
