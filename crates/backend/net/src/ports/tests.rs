//! Ports against the sockets of a namespace.

use std::net::{Ipv4Addr, TcpListener};

use super::*;
use crate::testing::in_namespace;

fn wish(protocol: Protocol, host_ip: &str, host_ports: Option<(u16, u16)>) -> PortSpec {
    PortSpec {
        protocol,
        container_port: 80,
        host_ip: host_ip.parse().ok(),
        host_ports,
    }
}

fn targets() -> Targets {
    Targets {
        ipv4: Some(Ipv4Addr::new(10, 0, 0, 2)),
        ipv6: None,
        routed: (false, false),
        exposure: Exposure::Open,
    }
}

#[test]
fn a_reserved_port_cannot_be_bound_by_another_process_until_it_is_given_back() {
    in_namespace(async {
        let ports = Ports::new(true);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let spec = wish(protocol, "0.0.0.0", Some((8080, 8080)));
            let reserved = ports
                .reserve(std::slice::from_ref(&spec), targets(), None)
                .unwrap();
            assert!(reserved.held.values().all(Held::is_held));
            let bind = || match protocol {
                Protocol::Tcp => TcpListener::bind("0.0.0.0:8080").map(drop),
                _ => std::net::UdpSocket::bind("0.0.0.0:8080").map(drop),
            };
            assert_eq!(bind().unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
            let error = ports.reserve(&[spec], targets(), None).unwrap_err();
            assert!(matches!(error, Error::PortAllocated { .. }));
            reserved.release().await;
            bind().unwrap();
        }
    });
}

#[test]
fn a_port_of_a_process_of_the_host_is_refused_in_the_words_clients_know() {
    in_namespace(async {
        let _listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let ports = Ports::new(true);
        let spec = wish(Protocol::Tcp, "0.0.0.0", Some((8080, 8080)));
        let error = ports.reserve(&[spec], targets(), None).unwrap_err();
        let text = arca_types::chain(&error);
        let words =
            "failed to bind host port for 0.0.0.0:8080:10.0.0.2:80/tcp: address already in use";
        let own = format!(", process {})", std::process::id());
        assert!(text.starts_with(words) && text.ends_with(&own), "{text}");
    });
}

#[test]
fn a_range_passes_over_ports_of_the_host() {
    in_namespace(async {
        let _listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let ports = Ports::new(true);
        let spec = wish(Protocol::Tcp, "", Some((8080, 8081)));
        let reserved = ports.reserve(&[spec], targets(), None).unwrap();
        let got: Vec<_> = reserved
            .ports()
            .iter()
            .map(|port| (port.host_ip, port.host_port))
            .collect();
        let expected = [(IpAddr::from([0; 4]), 8081), (IpAddr::from([0; 16]), 8081)];
        assert_eq!(got, expected);
    });
}

#[test]
fn a_failed_wish_gives_back_those_before_it() {
    in_namespace(async {
        let _listener = TcpListener::bind("0.0.0.0:9000").unwrap();
        let ports = Ports::new(false);
        let first = wish(Protocol::Tcp, "0.0.0.0", Some((8080, 8080)));
        let second = wish(Protocol::Tcp, "0.0.0.0", Some((9000, 9000)));
        ports
            .reserve(&[first.clone(), second], targets(), None)
            .unwrap_err();
        ports.reserve(&[first], targets(), None).unwrap();
    });
}

#[test]
fn with_loopback_alone_nothing_else_is_bound() {
    in_namespace(async {
        let ports = Ports::new(true);
        let targets = Targets {
            exposure: Exposure::Loopback,
            ..targets()
        };
        let got = |spec: PortSpec| {
            let reserved = ports.reserve(&[spec], targets, None);
            reserved.map(|reserved| {
                let all = reserved.ports();
                all.iter().map(|port| port.host_ip).collect::<Vec<_>>()
            })
        };
        let (four, six) = (
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        );
        // Proxies let go of their sockets a moment later.
        let at = |port: u16| Some((port, port));
        assert_eq!(got(wish(Protocol::Tcp, "", at(8080))).unwrap(), [four, six]);
        assert_eq!(
            got(wish(Protocol::Tcp, "0.0.0.0", at(8081))).unwrap(),
            [four]
        );
        let other = IpAddr::from([127, 0, 0, 9]);
        assert_eq!(
            got(wish(Protocol::Tcp, "127.0.0.9", at(8082))).unwrap(),
            [other]
        );
        let error = got(wish(Protocol::Tcp, "192.0.2.1", at(8083))).unwrap_err();
        assert!(matches!(error, Error::NotExposed(_)), "{error}");
    });
}
