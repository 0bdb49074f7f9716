//! Who reaches whom: neighbours, the host, the world, and published ports.

use super::*;

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
