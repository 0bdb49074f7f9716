//! The backend against the kernel: the test's namespace is the host, a second one is another machine.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tempfile::TempDir;

use super::*;
use crate::firewall::has_table;
use crate::netlink::{Socket, address, link, route};
use crate::netns::Netns;
use crate::testing::in_namespace;

mod exposure;
mod repair;

const TABLE: &str = "arca-test";
const SHORT: Duration = Duration::from_millis(300);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn bridge(name: &str, subnet: u8) -> NetworkConfig {
    NetworkConfig {
        id: name.to_owned(),
        driver: DriverConfig::Bridge(BridgeConfig {
            name: name.to_owned(),
            mac: MacAddr([2, 0, 0, 0, 0, subnet]),
            addresses: vec![format!("10.77.{subnet}.1/24").parse().unwrap()],
            isolated: (false, false),
            mtu: 1500,
            follows_uplink: false,
            icc: true,
            masquerade: (true, true),
            internal: false,
            open: (false, false),
            routed: (false, false),
            trusted: Vec::new(),
        }),
    }
}

fn change(mut network: NetworkConfig, change: impl FnOnce(&mut BridgeConfig)) -> NetworkConfig {
    let DriverConfig::Bridge(config) = &mut network.driver else {
        unreachable!("only bridges are changed");
    };
    change(config);
    network
}

fn endpoint(network: &str, subnet: u8, host: u8) -> EndpointConfig {
    EndpointConfig {
        network: network.to_owned(),
        host_link: format!("veth{subnet:03}{host:04}"),
        interface: "eth0".to_owned(),
        mac: MacAddr::of_ipv4(Ipv4Addr::new(10, 77, subnet, host)),
        addresses: vec![format!("10.77.{subnet}.{host}/24").parse().unwrap()],
        gateways: vec![ip(&format!("10.77.{subnet}.1"))],
        publishes: true,
        routed: (false, false),
        exposure: Exposure::Open,
        sysctls: Vec::new(),
    }
}

fn sandbox(id: &str, endpoints: Vec<EndpointConfig>) -> SandboxConfig {
    SandboxConfig {
        id: id.to_owned(),
        remapped: false,
        endpoints,
        ports: Vec::new(),
        dns: None,
    }
}

/// The test's host, a directory of namespaces, and another machine at 192.0.2.2.
struct World {
    dir: TempDir,
    net: Net,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let net = Self::open(&dir);
        Self { dir, net }
    }

    fn open(dir: &TempDir) -> Net {
        Net::open(Config {
            netns_dir: dir.path().join("netns"),
            table: TABLE.to_owned(),
            ip_forward: true,
            userland_proxy: true,
            dns_program: None,
            users: None,
        })
        .unwrap()
    }

    /// Another backend on the same host, as after a restart.
    fn restart(&mut self) {
        self.net = Self::open(&self.dir);
    }

    /// Makes the other machine: it routes everything to the host.
    fn outside(&self) {
        std::fs::create_dir_all(self.dir.path().join("netns")).unwrap();
        let host = Netns::current().unwrap();
        Netns::create(&self.net.netns_path("outside"), |_| {
            let mut socket = Socket::route().unwrap();
            let pair = link::VethPair {
                name: "up0",
                master: 0,
                netns: std::os::fd::AsFd::as_fd(&host),
                peer: "wan0",
                mac: MacAddr([2, 1, 1, 1, 1, 1]),
                mtu: 1500,
            };
            socket.request(vec![link::new_veth(&pair)]).unwrap();
            let up = link::find(&mut socket, "up0").unwrap().unwrap().index;
            socket
                .request(vec![
                    link::set_up(1),
                    address::add(up, "192.0.2.2/24".parse().unwrap()),
                    route::add_default(ip("192.0.2.1"), up),
                ])
                .unwrap();
            Ok(())
        })
        .unwrap();
        let mut socket = Socket::route().unwrap();
        let wan = link::find(&mut socket, "wan0").unwrap().unwrap().index;
        socket
            .request(vec![
                address::add(wan, "192.0.2.1/24".parse().unwrap()),
                link::set_up(wan),
            ])
            .unwrap();
    }

    fn inside<T: Send>(&self, sandbox: &str, work: impl FnOnce() -> T + Send) -> T {
        Netns::open(&self.net.netns_path(sandbox))
            .unwrap()
            .enter(|| Ok(work()))
            .unwrap()
    }

    /// Serves one TCP connection after the other in a sandbox: tells each client its address.
    fn serve(&self, sandbox: &str, address: &str) {
        let listener = self.inside(sandbox, || TcpListener::bind(address).unwrap());
        std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                if write!(stream, "{}", peer.ip()).is_err() {
                    break;
                }
            }
        });
    }

    /// Echoes datagrams in a sandbox: tells each client its address.
    fn serve_udp(&self, sandbox: &str, address: &str) {
        let socket = self.inside(sandbox, || UdpSocket::bind(address).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                if socket
                    .send_to(peer.ip().to_string().as_bytes(), peer)
                    .is_err()
                {
                    break;
                }
            }
        });
    }

    async fn publish(&self, config: &mut SandboxConfig, specs: &[PortSpec]) -> Reservation {
        let reservation = self
            .net
            .ports()
            .reserve(specs, config.targets(), None)
            .unwrap();
        config.ports = reservation.ports();
        self.net.attach(config.clone()).await.unwrap();
        reservation
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for path in netns::list(&self.dir.path().join("netns")).unwrap() {
            netns::remove(&path).unwrap();
        }
    }
}

/// What a server says to who connects: the address it sees.
fn seen(address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, SHORT)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn seen_udp(address: &str) -> std::io::Result<String> {
    let any = if address.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(address)?;
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Blocking work beside the test's runtime, in the test's namespace: proxies go on meanwhile.
async fn outside_of_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn port(protocol: Protocol, host_ip: &str, host_port: u16) -> PortSpec {
    PortSpec {
        protocol,
        container_port: 80,
        host_ip: host_ip.parse().ok(),
        host_ports: Some((host_port, host_port)),
    }
}

fn links() -> Vec<String> {
    let mut socket = Socket::route().unwrap();
    let mut names: Vec<_> = link::list(&mut socket)
        .unwrap()
        .into_iter()
        .map(|link| link.name)
        .collect();
    names.sort();
    names
}

/// Waits until the kernel has removed the links of namespaces that are gone.
async fn until_links_are(expected: &[String]) {
    let until = Instant::now() + Duration::from_secs(5);
    while links() != expected {
        assert!(Instant::now() < until, "{:?} are not {expected:?}", links());
        tokio::task::yield_now().await;
    }
}

#[test]
fn sandboxes_of_one_network_reach_each_other_the_host_and_the_world_behind_its_address() {
    in_namespace(async {
        let world = World::new();
        world.outside();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        world
            .net
            .attach(sandbox("a", vec![endpoint("br1", 1, 2)]))
            .await
            .unwrap();
        world
            .net
            .attach(sandbox("b", vec![endpoint("br1", 1, 3)]))
            .await
            .unwrap();
        world.serve("b", "0.0.0.0:80");
        world.serve("outside", "0.0.0.0:80");
        let host = TcpListener::bind("10.77.1.1:80").unwrap();
        assert_eq!(
            world.inside("a", || seen("10.77.1.3:80")).unwrap(),
            "10.77.1.2"
        );
        assert_eq!(
            world.inside("a", || seen("192.0.2.2:80")).unwrap(),
            "192.0.2.1"
        );
        world
            .inside("a", || {
                TcpStream::connect_timeout(&host.local_addr().unwrap(), SHORT)
            })
            .unwrap();
        // The host reaches in; another machine does not without a published port.
        assert_eq!(seen("10.77.1.3:80").unwrap(), "10.77.1.1");
        world
            .inside("outside", || seen("10.77.1.3:80"))
            .unwrap_err();
    });
}

#[test]
fn a_published_port_is_reached_on_every_path() {
    in_namespace(async {
        let world = World::new();
        world.outside();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        world.net.ensure_network(bridge("br2", 2)).await.unwrap();
        let mut a = sandbox("a", vec![endpoint("br1", 1, 2)]);
        let specs = [port(Protocol::Tcp, "", 8080), port(Protocol::Udp, "", 8080)];
        let _ports = world.publish(&mut a, &specs).await;
        world
            .net
            .attach(sandbox("b", vec![endpoint("br1", 1, 3)]))
            .await
            .unwrap();
        world
            .net
            .attach(sandbox("c", vec![endpoint("br2", 2, 2)]))
            .await
            .unwrap();
        world.serve("a", "0.0.0.0:80");
        world.serve_udp("a", "0.0.0.0:80");
        for get in [seen, seen_udp] {
            // Another machine, with its own address.
            assert_eq!(
                world.inside("outside", || get("192.0.2.1:8080")).unwrap(),
                "192.0.2.2"
            );
            // The host, by its address and by loopback.
            let host = outside_of_runtime(move || get("192.0.2.1:8080"))
                .await
                .unwrap();
            assert_eq!(host, "192.0.2.1");
            let local = outside_of_runtime(move || get("127.0.0.1:8080"))
                .await
                .unwrap();
            assert_eq!(local, "10.77.1.1");
            // By IPv6, which the sandbox does not have: through the proxy.
            let six = outside_of_runtime(move || get("[::1]:8080")).await.unwrap();
            assert_eq!(six, "10.77.1.1");
            // A neighbour, the sandbox itself, and one of another network.
            assert_eq!(
                world.inside("b", || get("192.0.2.1:8080")).unwrap(),
                "10.77.1.1"
            );
            assert_eq!(
                world.inside("a", || get("192.0.2.1:8080")).unwrap(),
                "10.77.1.1"
            );
            assert_eq!(
                world.inside("a", || get("10.77.1.1:8080")).unwrap(),
                "10.77.1.1"
            );
            assert_eq!(
                world.inside("c", || get("192.0.2.1:8080")).unwrap(),
                "10.77.2.2"
            );
        }
        // What is not published is not reached from another network.
        world.inside("c", || seen("10.77.1.2:80")).unwrap_err();
    });
}

#[test]
fn a_port_on_loopback_is_not_reached_from_elsewhere() {
    in_namespace(async {
        let world = World::new();
        world.outside();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        let mut a = sandbox("a", vec![endpoint("br1", 1, 2)]);
        let _ports = world
            .publish(&mut a, &[port(Protocol::Tcp, "127.0.0.1", 8080)])
            .await;
        world
            .net
            .attach(sandbox("b", vec![endpoint("br1", 1, 3)]))
            .await
            .unwrap();
        world.serve("a", "0.0.0.0:80");
        let local = outside_of_runtime(|| seen("127.0.0.1:8080")).await.unwrap();
        assert_eq!(local, "10.77.1.1");
        world
            .inside("outside", || seen("192.0.2.1:8080"))
            .unwrap_err();
        // Routing loopback addresses by the host must not help, from either side.
        for (from, gateway, dev) in [("outside", "192.0.2.1", "up0"), ("b", "10.77.1.1", "eth0")] {
            let reached = world.inside(from, || {
                sysctl::set(&format!("ipv4/conf/{dev}/route_localnet"), "1").unwrap();
                sysctl::set("ipv4/conf/all/route_localnet", "1").unwrap();
                let mut socket = Socket::route().unwrap();
                socket.request(vec![link::set_down(1)]).unwrap();
                let index = link::find(&mut socket, dev).unwrap().unwrap().index;
                socket
                    .request(vec![route::add_default(ip(gateway), index)])
                    .unwrap();
                seen("127.0.0.1:8080")
            });
            reached.unwrap_err();
        }
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_no_icc_no_neighbours() {
    in_namespace(async {
        let world = World::new();
        world.outside();
        let internal = change(bridge("br1", 1), |bridge| bridge.internal = true);
        let quiet = change(bridge("br2", 2), |bridge| bridge.icc = false);
        world.net.ensure_network(internal).await.unwrap();
        world.net.ensure_network(quiet).await.unwrap();
        for (id, subnet, host) in [("a", 1, 2), ("b", 1, 3), ("c", 2, 2), ("d", 2, 3)] {
            let endpoint = endpoint(&format!("br{subnet}"), subnet, host);
            world.net.attach(sandbox(id, vec![endpoint])).await.unwrap();
        }
        world.serve("b", "0.0.0.0:80");
        world.serve("d", "0.0.0.0:80");
        world.serve("outside", "0.0.0.0:80");
        assert_eq!(
            world.inside("a", || seen("10.77.1.3:80")).unwrap(),
            "10.77.1.2"
        );
        world.inside("a", || seen("192.0.2.2:80")).unwrap_err();
        world.inside("c", || seen("10.77.2.3:80")).unwrap_err();
        assert_eq!(
            world.inside("c", || seen("192.0.2.2:80")).unwrap(),
            "192.0.2.1"
        );
    });
}

#[test]
fn detaching_and_removing_leave_nothing_and_may_be_repeated() {
    in_namespace(async {
        let world = World::new();
        let before = links();
        let network = bridge("br1", 1);
        world.net.ensure_network(network.clone()).await.unwrap();
        let mut a = sandbox("a", vec![endpoint("br1", 1, 2)]);
        let ports = world
            .publish(&mut a, &[port(Protocol::Tcp, "", 8080)])
            .await;
        assert!(links().contains(&"veth0010002".to_owned()));
        drop(ports);
        for _ in 0..2 {
            world.net.detach(a.clone()).await.unwrap();
        }
        assert!(
            netns::list(&world.dir.path().join("netns"))
                .unwrap()
                .is_empty()
        );
        for _ in 0..2 {
            world.net.remove_network(network.clone()).await.unwrap();
        }
        until_links_are(&before).await;
        assert!(!has_table(TABLE));
    });
}

#[test]
fn an_address_moves_to_the_next_sandbox_at_once() {
    in_namespace(async {
        let world = World::new();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        for round in 0..10_u8 {
            let id = format!("s{round}");
            let endpoint = EndpointConfig {
                host_link: format!("veth{round}"),
                ..endpoint("br1", 1, 2)
            };
            let config = sandbox(&id, vec![endpoint]);
            world.net.attach(config.clone()).await.unwrap();
            // The first round's server is still there, in a namespace that it keeps alive.
            let listener = world.inside(&id, || TcpListener::bind("0.0.0.0:80").unwrap());
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                write!(stream, "{round}").unwrap();
                listener
            });
            assert_eq!(seen("10.77.1.2:80").unwrap(), round.to_string());
            std::mem::forget(server.join().unwrap());
            world.net.detach(config).await.unwrap();
        }
    });
}

#[test]
fn a_failed_attach_leaves_nothing() {
    in_namespace(async {
        let world = World::new();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        let before = links();
        let broken = EndpointConfig {
            gateways: vec![ip("10.99.0.1")],
            ..endpoint("br1", 1, 2)
        };
        world
            .net
            .attach(sandbox("a", vec![broken]))
            .await
            .unwrap_err();
        assert!(
            netns::list(&world.dir.path().join("netns"))
                .unwrap()
                .is_empty()
        );
        until_links_are(&before).await;
    });
}

#[test]
fn recovery_keeps_what_lives_and_removes_the_rest() {
    in_namespace(async {
        let mut world = World::new();
        let network = bridge("br1", 1);
        world.net.ensure_network(network.clone()).await.unwrap();
        let mut a = sandbox("a", vec![endpoint("br1", 1, 2)]);
        let kept = world
            .publish(&mut a, &[port(Protocol::Tcp, "", 8080)])
            .await;
        let mut b = sandbox("b", vec![endpoint("br1", 1, 3)]);
        let lost = world
            .publish(&mut b, &[port(Protocol::Tcp, "", 8081)])
            .await;
        world.serve("a", "0.0.0.0:80");
        drop((kept, lost));
        world.restart();
        // Nobody is there to help.
        assert_eq!(seen("127.0.0.1:8080").unwrap(), "10.77.1.1");

        world
            .net
            .recover(vec![network], vec![a.clone()])
            .await
            .unwrap();
        let held = world.net.rebind(&a.ports, a.targets());

        assert_eq!(held.ports(), a.ports);
        let again = outside_of_runtime(|| seen("127.0.0.1:8080")).await.unwrap();
        assert_eq!(again, "10.77.1.1");
        seen("127.0.0.1:8081").unwrap_err();
        until_links_are(&["br1", "lo", "veth0010002"].map(str::to_owned)).await;
        assert_eq!(
            netns::list(&world.dir.path().join("netns")).unwrap().len(),
            1
        );
    });
}

#[test]
fn the_table_is_written_again_when_something_deletes_it() {
    in_namespace(async {
        let world = World::new();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        assert!(has_table(TABLE));
        firewall::delete_table(TABLE);
        let until = Instant::now() + Duration::from_secs(1);
        while !has_table(TABLE) {
            assert!(Instant::now() < until, "the table is still missing");
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_firewall_that_drops_our_packets_is_named() {
    in_namespace(async {
        let world = World::new();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        assert_eq!(world.net.obstacles().await.unwrap(), []);
        let rules = "add table ip filter; \
                     add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }";
        let loaded = std::process::Command::new("nft")
            .arg(rules)
            .status()
            .unwrap();
        assert!(loaded.success());
        let found = world.net.obstacles().await.unwrap();
        let name = |text: &str| text.to_owned();
        let expected = Obstacle {
            family: name("ip"),
            table: name("filter"),
            chain: name("FORWARD"),
        };
        assert_eq!(found, [expected]);
    });
}

#[test]
fn endpoints_come_and_go_while_the_sandbox_lives() {
    in_namespace(async {
        let world = World::new();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        world.net.ensure_network(bridge("br2", 2)).await.unwrap();
        world
            .net
            .attach(sandbox("a", vec![endpoint("br1", 1, 2)]))
            .await
            .unwrap();
        let second = EndpointConfig {
            interface: "eth1".to_owned(),
            gateways: Vec::new(),
            ..endpoint("br2", 2, 2)
        };
        world
            .net
            .connect("a".to_owned(), second.clone())
            .await
            .unwrap();
        world.serve("a", "0.0.0.0:80");
        assert_eq!(seen("10.77.2.2:80").unwrap(), "10.77.2.1");
        world
            .net
            .set_default_route("a".to_owned(), second.clone())
            .await
            .unwrap();
        for _ in 0..2 {
            world
                .net
                .disconnect("a".to_owned(), second.clone())
                .await
                .unwrap();
        }
        assert!(!links().contains(&second.host_link));
        assert_eq!(world.inside("a", links), ["eth0", "lo"]);
        assert_eq!(seen("10.77.1.2:80").unwrap(), "10.77.1.1");
    });
}

#[test]
fn a_sandbox_finds_its_name_server_before_and_after_a_restart() {
    in_namespace(async {
        let mut world = World::new();
        let network = bridge("br1", 1);
        world.net.ensure_network(network.clone()).await.unwrap();
        let mut a = sandbox("a", vec![endpoint("br1", 1, 2)]);
        a.dns = Some(DnsConfig {
            networks: vec!["br1".to_owned()],
            upstreams: Vec::new(),
            links: std::collections::BTreeMap::new(),
        });
        world.net.attach(a.clone()).await.unwrap();
        for _ in 0..2 {
            let named = Named {
                names: vec!["web".to_owned()],
                addresses: vec![ip("10.77.1.9")],
            };
            world.net.names().set("br1", "front", "e", named);
            // The program's own port 53 stays free.
            let _own = world.inside("a", || UdpSocket::bind("0.0.0.0:53").unwrap());
            let client = world.inside("a", || UdpSocket::bind("0.0.0.0:0").unwrap());
            client.connect("127.0.0.11:53").unwrap();
            let answer = outside_of_runtime(move || {
                let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
                query.extend(b"\x03web\0\0\x01\0\x01");
                client
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                client.send(&query).unwrap();
                let mut buffer = [0; 512];
                let length = client.recv(&mut buffer).unwrap();
                buffer[..length].to_vec()
            })
            .await;
            assert!(answer.ends_with(&[10, 77, 1, 9]));
            world.restart();
            world
                .net
                .recover(vec![network.clone()], vec![a.clone()])
                .await
                .unwrap();
        }
        world.net.detach(a).await.unwrap();
    });
}

#[test]
fn the_hosts_subnets_are_known() {
    in_namespace(async {
        let world = World::new();
        world.outside();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let all = world.net.occupied(Vec::new()).await.unwrap();
        assert!(all.contains(&net("192.0.2.0/24")) && all.contains(&net("10.77.1.0/24")));
        let others = world.net.occupied(vec!["br1".to_owned()]).await.unwrap();
        assert!(others.contains(&net("192.0.2.0/24")) && !others.contains(&net("10.77.1.0/24")));
    });
}

/// Not a test of behaviour: prints what attaching and detaching cost. Run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long_attaching_takes() {
    in_namespace(async {
        let world = World::new();
        world.net.ensure_network(bridge("br1", 1)).await.unwrap();
        let mut up = Vec::new();
        let mut down = Vec::new();
        for host in 2..42 {
            let mut a = sandbox("a", vec![endpoint("br1", 1, host)]);
            let specs = if host % 2 == 0 {
                vec![port(Protocol::Tcp, "", 8080)]
            } else {
                vec![]
            };
            let ports = world
                .net
                .ports()
                .reserve(&specs, a.targets(), None)
                .unwrap();
            a.ports = ports.ports();
            let start = Instant::now();
            world.net.attach(a.clone()).await.unwrap();
            up.push(start.elapsed());
            let start = Instant::now();
            if std::env::var("SPLIT").is_ok() {
                let mut s = Socket::route().unwrap();
                link::delete_by_name(&mut s, &a.endpoints[0].host_link).unwrap();
                print!("link {:?} ", start.elapsed());
                let start = Instant::now();
                netns::remove(&world.net.netns_path("a")).unwrap();
                println!("netns {:?} ", start.elapsed());
            }
            world.net.detach(a).await.unwrap();
            down.push(start.elapsed());
        }
        up.sort();
        down.sort();
        println!(
            "attach {:?} (max {:?}), detach {:?} (max {:?})",
            up[20], up[39], down[20], down[39]
        );
    });
}
