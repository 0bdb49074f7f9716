//! The backend against the kernel: the test's namespace is the host, a second one is another machine.

use super::*;
use crate::firewall::has_table;
use crate::netlink::{Socket, address, link, route};
use crate::netns::Netns;
use crate::testing::in_namespace;
use ipnet::IpNet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tempfile::TempDir;

mod exposure;
mod life;
mod reach;
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
