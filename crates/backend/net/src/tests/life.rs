//! Sandboxes and endpoints come and go, and stay over a restart.

use super::*;

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
