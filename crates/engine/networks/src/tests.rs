//! The service against the kernel.

use crate::testing::{World, container, in_namespace, ip, on};
use crate::{
    EndpointSpec, Error, FilesSpec, Filter, Network, NetworkSpec, Networks, PoolSpec, PortSpec,
    Protocol, PruneFilter, SandboxMode, SandboxSpec,
};
use arca_types::{Classify as _, ContainerId, ErrorKind, chain};
use std::net::IpAddr;

mod defined;

fn address(sandbox: &crate::Sandbox) -> String {
    sandbox.endpoints[0].ipv4.unwrap().to_string()
}

fn port(number: u16) -> PortSpec {
    PortSpec {
        protocol: Protocol::Tcp,
        container_port: 80,
        host_ip: None,
        host_ports: Some((number, number)),
    }
}

async fn opened(world: &World) -> Networks {
    let networks = world.open();
    networks.recover(&[]).await.unwrap();
    networks
}

#[test]
fn the_predefined_networks_keep_their_ids() {
    in_namespace(async {
        let world = World::new();
        let list = |networks: &Networks| -> Vec<(String, String)> {
            let all = networks.list(&Filter::default());
            all.into_iter()
                .map(|net| (net.network.name, net.network.id.to_string()))
                .collect()
        };
        let first = list(&opened(&world).await);
        let mut names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["bridge", "host", "none"]);
        assert_eq!(list(&opened(&world).await), first);
    });
}

#[test]
fn the_bridge_avoids_subnets_of_the_host_and_keeps_its_own() {
    in_namespace(async {
        let world = World::new();
        ip("link add up0 type bridge");
        ip("link set up0 up");
        ip("addr add 172.17.3.4/24 dev up0");
        let subnet = |network: &Network| network.ipam.pools[0].subnet.to_string();
        let networks = opened(&world).await;
        assert_eq!(
            subnet(&networks.resolve("bridge").unwrap()),
            "172.18.0.0/16"
        );
        assert_eq!(
            networks.host_gateway(),
            ["172.18.0.1".parse::<IpAddr>().unwrap()]
        );
        drop(networks);
        ip("link del up0");
        ip("link del test0");
        let networks = opened(&world).await;
        assert_eq!(
            subnet(&networks.resolve("bridge").unwrap()),
            "172.18.0.0/16"
        );
    });
}

#[test]
fn containers_get_the_lowest_free_address_and_give_it_back() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let [a, b, c] = [(); 3].map(|()| ContainerId::random());
        let spec = || container("x", &["bridge"]);
        assert_eq!(
            address(&networks.attach(&a, spec()).await.unwrap()),
            "172.17.0.2/16"
        );
        assert_eq!(
            address(&networks.attach(&b, spec()).await.unwrap()),
            "172.17.0.3/16"
        );
        networks.detach(&a).await.unwrap();
        networks.detach(&a).await.unwrap();
        assert!(networks.sandbox(&a).is_none());
        assert_eq!(
            address(&networks.attach(&c, spec()).await.unwrap()),
            "172.17.0.2/16"
        );
        let inspected = networks.inspect("bridge").unwrap();
        assert_eq!(inspected.containers.len(), 2);
        assert_eq!(
            inspected.containers[&c].ipv4.unwrap().to_string(),
            "172.17.0.2/16"
        );
    });
}

#[test]
fn many_at_once_get_different_addresses() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let networks = networks.clone();
            tasks.spawn(async move {
                let id = ContainerId::random();
                let sandbox = networks
                    .attach(&id, container("x", &["bridge"]))
                    .await
                    .unwrap();
                (id, address(&sandbox))
            });
        }
        let attached = tasks.join_all().await;
        let mut addresses: Vec<_> = attached.iter().map(|(_, address)| address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 40);
        for (id, _) in &attached {
            networks.detach(id).await.unwrap();
        }
        let next = ContainerId::random();
        let sandbox = networks
            .attach(&next, container("x", &["bridge"]))
            .await
            .unwrap();
        assert_eq!(address(&sandbox), "172.17.0.2/16");
    });
}

#[test]
fn a_taken_port_is_refused_and_nothing_stays() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let [a, b] = [(); 2].map(|()| ContainerId::random());
        let spec = |name| SandboxSpec {
            ports: vec![port(8080)],
            ..container(name, &["bridge"])
        };
        let sandbox = networks.attach(&a, spec("one")).await.unwrap();
        let shown: Vec<_> = sandbox
            .ports
            .iter()
            .map(|port| port.host_ip.to_string())
            .collect();
        assert_eq!(shown, ["0.0.0.0", "::"]);
        let error = networks.attach(&b, spec("two")).await.unwrap_err();
        let text = chain(&error);
        assert!(
            text.starts_with("driver failed programming external connectivity on endpoint two (")
                && text.ends_with(
                    "): Bind for 0.0.0.0:8080 failed: port is already allocated (by container one)"
                ),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(networks.sandbox(&b).is_none());
        networks.detach(&a).await.unwrap();
        networks.attach(&b, spec("two")).await.unwrap();
    });
}

#[test]
fn what_lives_survives_a_crash_and_the_rest_goes() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let [a, b, c] = [(); 3].map(|()| ContainerId::random());
        let spec = |name, number| SandboxSpec {
            ports: vec![port(number)],
            ..container(name, &["bridge"])
        };
        let before = networks.attach(&a, spec("one", 8080)).await.unwrap();
        networks.attach(&b, spec("two", 8081)).await.unwrap();
        // As after kill -9: sockets close, nothing else happens.
        drop(networks);

        let networks = world.open();
        networks.recover(std::slice::from_ref(&a)).await.unwrap();

        assert_eq!(networks.sandbox(&a).unwrap(), before);
        assert!(networks.sandbox(&b).is_none());
        assert_eq!(networks.inspect("bridge").unwrap().containers.len(), 1);
        let error = networks.attach(&c, spec("three", 8080)).await.unwrap_err();
        assert!(chain(&error).contains("port is already allocated (by container "));
        let sandbox = networks.attach(&c, spec("three", 8081)).await.unwrap();
        assert_eq!(address(&sandbox), "172.17.0.3/16");
        assert_eq!(
            std::fs::read_dir(world.config.exec_root.join("netns"))
                .unwrap()
                .count(),
            2
        );
    });
}

#[test]
fn host_none_and_another_containers_network() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let [a, b, c, d] = [(); 4].map(|()| ContainerId::random());
        let host = SandboxSpec {
            mode: SandboxMode::Host,
            ..container("h", &["host"])
        };
        let sandbox = networks.attach(&a, host).await.unwrap();
        assert_eq!(sandbox.netns, None);
        assert!(sandbox.key.ends_with("/netns/default"));
        assert!(
            networks
                .inspect("host")
                .unwrap()
                .containers
                .contains_key(&a)
        );

        let none = networks
            .attach(&b, container("n", &["none"]))
            .await
            .unwrap();
        assert!(none.netns.is_some());
        assert_eq!(none.endpoints[0].interface, "");
        assert!(
            networks
                .inspect("none")
                .unwrap()
                .containers
                .contains_key(&b)
        );

        let share = |of: &ContainerId| SandboxSpec {
            mode: SandboxMode::Container(of.clone()),
            ..container("s", &[])
        };
        let shared = networks.attach(&c, share(&b)).await.unwrap();
        assert_eq!((shared.netns, shared.key), (none.netns, String::new()));
        networks.attach(&c, share(&d)).await.unwrap_err();
        for id in [&a, &b, &c] {
            networks.detach(id).await.unwrap();
        }
        assert!(networks.inspect("host").unwrap().containers.is_empty());
    });
}

#[test]
fn wishes_that_the_default_bridge_does_not_grant_are_refused() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let wish = EndpointSpec {
            ipv4: "172.17.0.9".parse().ok(),
            ..on("bridge")
        };
        let error = networks.check(std::slice::from_ref(&wish)).unwrap_err();
        let text = error.to_string();
        let front = "invalid config for network bridge: invalid endpoint settings:\n";
        let problem = "user specified IP address is supported on user defined networks only";
        assert!(text.starts_with(front) && text.contains(problem), "{text}");
        assert_eq!(error.kind(), ErrorKind::InvalidParameter);
        networks.check(&[on("nosuch")]).unwrap();
        let id = ContainerId::random();
        let error = networks
            .attach(&id, container("x", &["nosuch"]))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NotFound(_)));
        assert_eq!(error.to_string(), "network nosuch not found");
    });
}

#[test]
fn a_removed_bridge_is_made_again_when_it_is_needed() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        ip("link del test0");
        let id = ContainerId::random();
        networks
            .attach(&id, container("x", &["bridge"]))
            .await
            .unwrap();
        assert!(ip("addr show dev test0").contains("172.17.0.1/16"));
    });
}
