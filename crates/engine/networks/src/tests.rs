//! The service against the kernel.

use std::net::IpAddr;

use arca_types::{Classify as _, ContainerId, ErrorKind, chain};

use crate::testing::{World, container, in_namespace, ip, on};
use crate::{
    EndpointSpec, Error, FilesSpec, Filter, Network, NetworkSpec, Networks, PoolSpec, PortSpec,
    Protocol, PruneFilter, SandboxMode, SandboxSpec,
};

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

fn network(name: &str) -> NetworkSpec {
    NetworkSpec {
        name: name.to_owned(),
        ..NetworkSpec::default()
    }
}

fn with_subnet(name: &str, subnet: &str) -> NetworkSpec {
    let pool = PoolSpec {
        subnet: subnet.to_owned(),
        ..PoolSpec::default()
    };
    NetworkSpec {
        pools: vec![pool],
        ..network(name)
    }
}

#[test]
fn networks_are_made_and_removed_and_survive_a_restart() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let id = networks.create(network("one")).await.unwrap();
        networks
            .create(with_subnet("two", "10.9.0.0/24"))
            .await
            .unwrap();
        let subnet =
            |networks: &Networks, name| networks.resolve(name).unwrap().ipam.pools[0].subnet;
        assert_eq!(subnet(&networks, "one").to_string(), "172.18.0.0/16");
        let error = networks.create(network("one")).await.unwrap_err();
        assert_eq!(error.to_string(), "network with name one already exists");
        let error = networks
            .create(with_subnet("three", "10.9.0.0/25"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::PoolOverlap));
        drop(networks);

        let networks = opened(&world).await;
        assert_eq!(networks.resolve(id.short()).unwrap().name, "one");
        let a = ContainerId::random();
        let wish = EndpointSpec {
            ipv4: "10.9.0.77".parse().ok(),
            ..on("two")
        };
        let spec = SandboxSpec {
            endpoints: vec![wish],
            ..container("x", &[])
        };
        let sandbox = networks.attach(&a, spec).await.unwrap();
        assert_eq!(address(&sandbox), "10.9.0.77/24");
        assert_eq!(sandbox.endpoints[0].dns_names, ["x", a.short()]);
        let error = networks.remove("two").await.unwrap_err();
        let endpoint = sandbox.endpoints[0].id.short();
        assert_eq!(
            error.to_string(),
            format!(
                "error while removing network: network two has active endpoints \
                 (name:\"x\" id:\"{endpoint}\")"
            )
        );
        networks.detach(&a).await.unwrap();
        networks.remove("two").await.unwrap();
        networks.remove("bridge").await.unwrap_err();
        assert_eq!(
            networks.prune(&PruneFilter::default()).await.unwrap(),
            ["one"]
        );
        assert_eq!(networks.list(&Filter::default()).len(), 3);
        assert!(!ip("link").contains("br-"));
    });
}

#[test]
fn a_dual_stack_network_has_addresses_of_both_families() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let spec = NetworkSpec {
            ipv6: Some(true),
            ..network("six")
        };
        networks.create(spec).await.unwrap();
        let a = ContainerId::random();
        let sandbox = networks.attach(&a, container("x", &["six"])).await.unwrap();
        let endpoint = &sandbox.endpoints[0];
        let address = endpoint.ipv6.unwrap();
        assert!(address.addr().is_unique_local() && address.prefix_len() == 64);
        let netns = sandbox.netns.unwrap();
        let routes = nsenter(&netns, "ip -6 route show default");
        let gateway = endpoint.gateway6.unwrap();
        assert!(
            routes.starts_with(&format!("default via {gateway} dev eth0")),
            "{routes}"
        );
        let shown = nsenter(&netns, "ip -6 addr show dev eth0");
        assert!(
            shown.contains(&address.to_string()) && !shown.contains("tentative"),
            "{shown}"
        );
    });
}

#[test]
fn a_running_container_joins_and_leaves_networks_with_route_and_ports() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        networks
            .create(with_subnet("one", "10.9.0.0/24"))
            .await
            .unwrap();
        networks
            .create(with_subnet("two", "10.8.0.0/24"))
            .await
            .unwrap();
        let a = ContainerId::random();
        let spec = SandboxSpec {
            ports: vec![port(8080)],
            ..container("x", &["two"])
        };
        let sandbox = networks.attach(&a, spec).await.unwrap();
        let netns = sandbox.netns.clone().unwrap();
        let default = || nsenter(&netns, "ip route show default").trim().to_owned();
        assert_eq!(default(), "default via 10.8.0.1 dev eth0");

        let made = networks.connect(&a, on("one")).await.unwrap();
        assert_eq!(
            (made.interface.as_str(), made.network_name.as_str()),
            ("eth1", "one")
        );
        // Of two equal ones, the first by name.
        assert_eq!(default(), "default via 10.9.0.1 dev eth1");
        let error = networks.connect(&a, on("one")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "endpoint with name x already exists in network one"
        );

        networks.disconnect(&a, "two").await.unwrap();
        let now = networks.sandbox(&a).unwrap();
        assert_eq!(now.ports, sandbox.ports);
        assert_eq!(now.endpoints.len(), 1);
        assert_eq!(nsenter(&netns, "ip -o link").lines().count(), 2);
        let error = networks.disconnect(&a, "two").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("container {a} is not connected to network two")
        );
        networks.connect(&a, on("host")).await.unwrap_err();
        networks.detach(&a).await.unwrap();
        networks.remove("one").await.unwrap();
        networks.remove("two").await.unwrap();
    });
}

fn nsenter(netns: &std::path::Path, command: &str) -> String {
    let output = std::process::Command::new("nsenter")
        .arg(format!("--net={}", netns.display()))
        .args(command.split(' '))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn containers_find_each_other_by_name_on_their_networks_alone() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        networks
            .create(with_subnet("one", "10.9.0.0/24"))
            .await
            .unwrap();
        networks
            .create(with_subnet("two", "10.8.0.0/24"))
            .await
            .unwrap();
        let [a, b] = [(); 2].map(|()| ContainerId::random());
        let first = networks
            .attach(&a, container("web", &["one"]))
            .await
            .unwrap();
        let aliased = EndpointSpec {
            aliases: vec!["db".to_owned()],
            ..on("two")
        };
        let spec = SandboxSpec {
            endpoints: vec![aliased],
            ..container("store", &[])
        };
        networks.attach(&b, spec).await.unwrap();
        let netns = first.netns.clone().unwrap();
        let find = |name: &'static str| {
            let netns = netns.clone();
            async move {
                let look = format!("busybox nslookup -type=a {name} 127.0.0.11");
                tokio::task::spawn_blocking(move || nsenter(&netns, &look))
                    .await
                    .unwrap()
            }
        };
        let files = networks.files(&first, &FilesSpec::default()).await.unwrap();
        assert!(files.resolv_conf.contains("nameserver 127.0.0.11"));
        assert!(find("web").await.contains("10.9.0.2"));
        assert!(!find("db").await.contains("10.8.0.2"));
        networks.connect(&a, on("two")).await.unwrap();
        assert!(find("db").await.contains("10.8.0.2"));
        assert!(find("store.two").await.contains("10.8.0.2"));
        networks.rename(&b, "shop").await.unwrap();
        assert!(find("shop").await.contains("10.8.0.2"));
        networks.detach(&b).await.unwrap();
        assert!(!find("db").await.contains("10.8.0.2"));
    });
}
