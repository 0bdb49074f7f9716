//! What something outside breaks comes back.

use super::*;

/// Runs ip in the namespace of the test.
fn ip_command(arguments: &str) {
    let output = std::process::Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Two sandboxes on one network.
async fn pair(world: &World) {
    world.net.ensure_network(bridge("br1", 1)).await.unwrap();
    for (id, host) in [("a", 2), ("b", 3)] {
        let config = sandbox(id, vec![endpoint("br1", 1, host)]);
        world.net.attach(config).await.unwrap();
    }
}

#[test]
fn links_and_addresses_that_something_removes_come_back_and_it_is_told() {
    in_namespace(async {
        let world = World::new();
        pair(&world).await;
        world.serve("b", "0.0.0.0:80");
        let mut repairs = world.net.repairs().unwrap();
        for (damage, told) in [
            ("link set br1 down", "the bridge br1 was down"),
            (
                "address del 10.77.1.1/24 dev br1",
                "the address 10.77.1.1/24 of the bridge br1 was removed",
            ),
            (
                "link set veth0010003 nomaster",
                "the link veth0010003 was taken off the bridge br1",
            ),
            (
                "link set veth0010003 down",
                "the link veth0010003 to the bridge br1 was down",
            ),
            (
                "link del veth0010003",
                "the link veth0010003 to the bridge br1 was removed",
            ),
            ("link del br1", "the bridge br1 was removed"),
        ] {
            ip_command(damage);
            let wait = tokio::time::timeout(Duration::from_secs(5), repairs.recv());
            let repair = wait.await.expect(damage).unwrap();
            assert_eq!(
                (repair.network.as_deref(), repair.what.as_str()),
                (Some("br1"), told)
            );
            let until = Instant::now() + Duration::from_secs(2);
            while seen("10.77.1.3:80").is_err()
                || world.inside("a", || seen("10.77.1.3:80")).is_err()
            {
                assert!(Instant::now() < until, "{damage}: nothing passes");
            }
            // Both links of a bridge that was removed come off it.
            while let Ok(more) = repairs.try_recv() {
                assert!(damage == "link del br1", "{damage}: {more:?}");
            }
        }
        // The firewall's table, too.
        crate::firewall::delete_table(TABLE);
        let wait = tokio::time::timeout(Duration::from_secs(5), repairs.recv());
        let repair = wait.await.unwrap().unwrap();
        assert_eq!(repair.network, None);
        assert!(has_table(TABLE));
    });
}

#[test]
fn what_is_removed_in_order_does_not_come_back() {
    in_namespace(async {
        let world = World::new();
        pair(&world).await;
        let mut repairs = world.net.repairs().unwrap();
        for (id, host) in [("a", 2), ("b", 3)] {
            let config = sandbox(id, vec![endpoint("br1", 1, host)]);
            world.net.detach(config).await.unwrap();
        }
        world.net.remove_network(bridge("br1", 1)).await.unwrap();
        until_links_are(&["lo".to_owned()]).await;
        // A look at everything finds nothing to do.
        ip_command("link add other0 type bridge");
        ip_command("address add 192.0.2.1/24 dev other0");
        ip_command("address del 192.0.2.1/24 dev other0");
        ip_command("link add br2 type bridge");
        tokio::time::timeout(SHORT, repairs.recv())
            .await
            .unwrap_err();
        until_links_are(&["br2".to_owned(), "lo".to_owned(), "other0".to_owned()]).await;
    });
}

fn mtu(name: &str) -> u32 {
    let mut socket = Socket::route().unwrap();
    link::find(&mut socket, name).unwrap().unwrap().mtu
}

#[test]
fn the_largest_packet_is_that_of_the_smallest_uplink() {
    in_namespace(async {
        let world = World::new();
        for (name, number, mtu) in [("up0", 1, 1500), ("up1", 2, 1420)] {
            ip_command(&format!("link add {name} mtu {mtu} type bridge"));
            ip_command(&format!("link set {name} up"));
            ip_command(&format!("address add 192.0.2.{number}/32 dev {name}"));
        }
        ip_command("route add default dev up0");
        let following = |name: &str, subnet| {
            change(bridge(name, subnet), |bridge| bridge.follows_uplink = true)
        };
        world.net.ensure_network(following("br1", 1)).await.unwrap();
        assert_eq!(mtu("br1"), 1500);
        // A second uplink takes less: the bridge follows, and so do those that come from now on.
        ip_command("route add default dev up1 metric 100");
        let until = Instant::now() + Duration::from_secs(5);
        while mtu("br1") != 1420 {
            assert!(Instant::now() < until, "{}", mtu("br1"));
            tokio::task::yield_now().await;
        }
        let config = sandbox("a", vec![endpoint("br1", 1, 2)]);
        world.net.attach(config).await.unwrap();
        assert_eq!(world.inside("a", || mtu("eth0")), 1420);
        world.net.ensure_network(following("br2", 2)).await.unwrap();
        assert_eq!(mtu("br2"), 1420);
        // What was asked for is not touched.
        world.net.ensure_network(bridge("br3", 3)).await.unwrap();
        assert_eq!(mtu("br3"), 1500);
    });
}
