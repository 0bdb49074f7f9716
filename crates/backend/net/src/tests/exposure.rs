//! Who reaches published ports.

use super::*;

/// Runs nft in the namespace of the test.
fn nft(rules: &str) {
    let output = std::process::Command::new("nft")
        .arg(rules)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What another machine, or with `outside` false the host, sees; it tries as long as a client's kernel does.
async fn reached(world: &World, outside: bool, address: &'static str) -> Option<String> {
    let path = outside.then(|| world.net.netns_path("outside"));
    outside_of_runtime(move || {
        let connect = || {
            let mut stream =
                TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_millis(2500))
                    .ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        };
        match path {
            Some(path) => Netns::open(&path).unwrap().enter(|| Ok(connect())).unwrap(),
            None => connect(),
        }
    })
    .await
}

async fn published(exposure: Exposure, host_ip: &str) -> (World, Reservation) {
    let world = World::new();
    world.outside();
    world.net.ensure_network(bridge("br1", 1)).await.unwrap();
    let own = EndpointConfig {
        exposure,
        ..endpoint("br1", 1, 2)
    };
    let mut config = sandbox("a", vec![own]);
    let specs = [port(Protocol::Tcp, host_ip, 8080)];
    let reserved = world.publish(&mut config, &specs).await;
    world.serve("a", "0.0.0.0:80");
    (world, reserved)
}

/// As hosts have it: nobody gets in but loopback and answers.
const DROP: &str = "add table inet host; add chain inet host input { type filter hook input priority 0; \
                    policy drop; }; add rule inet host input iif lo accept; \
                    add rule inet host input ct state established accept";

#[test]
fn with_the_hosts_firewall_its_rules_decide_and_the_client_is_seen() {
    in_namespace(async {
        let (world, _reserved) = published(Exposure::Firewall, "0.0.0.0").await;
        // Nothing in the way: the second attempt of the client's kernel gets through, the next ones at once.
        let seen = reached(&world, true, "192.0.2.1:8080").await;
        assert_eq!(seen.as_deref(), Some("192.0.2.2"));
        let begin = Instant::now();
        assert!(reached(&world, true, "192.0.2.1:8080").await.is_some());
        assert!(begin.elapsed() < Duration::from_millis(700));
        // The host lets nobody in: who was let in before is forgotten at once.
        nft(DROP);
        let until = Instant::now() + Duration::from_secs(10);
        while reached(&world, true, "192.0.2.1:8080").await.is_some() {
            assert!(Instant::now() < until, "the host's rules do not count");
        }
        // The host itself goes on.
        let own = reached(&world, false, "127.0.0.1:8080").await;
        assert_eq!(own.as_deref(), Some("10.77.1.1"));
        // A rule as for any program of the host opens the port.
        nft("add rule inet host input tcp dport 8080 accept");
        let seen = reached(&world, true, "192.0.2.1:8080").await;
        assert_eq!(seen.as_deref(), Some("192.0.2.2"));
    });
}

#[test]
fn the_hosts_rules_do_not_count_for_open_ports_nor_a_checked_one_for_others() {
    in_namespace(async {
        let (world, _reserved) = published(Exposure::Open, "0.0.0.0").await;
        nft(DROP);
        assert!(reached(&world, true, "192.0.2.1:8080").await.is_some());
        drop(world);
    });
    in_namespace(async {
        // A checked port at one address leaves the same port of another address to the host's programs.
        let (world, _reserved) = published(Exposure::Firewall, "192.0.2.1").await;
        let program = TcpListener::bind("10.77.1.1:8080").unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = program.accept() {
                write!(stream, "program").unwrap();
            }
        });
        let seen = reached(&world, true, "10.77.1.1:8080").await;
        assert_eq!(seen.as_deref(), Some("program"));
        let seen = reached(&world, true, "192.0.2.1:8080").await;
        assert_eq!(seen.as_deref(), Some("192.0.2.2"));
    });
}

#[test]
fn with_loopback_alone_the_host_gets_through_and_nobody_else() {
    in_namespace(async {
        let (world, _reserved) = published(Exposure::Loopback, "").await;
        assert!(reached(&world, false, "127.0.0.1:8080").await.is_some());
        assert!(reached(&world, false, "[::1]:8080").await.is_some());
        assert!(reached(&world, true, "192.0.2.1:8080").await.is_none());
        assert!(reached(&world, true, "10.77.1.2:80").await.is_none());
    });
}
