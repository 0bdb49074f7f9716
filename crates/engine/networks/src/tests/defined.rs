//! Networks that users define.

use super::*;

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

/// Makes the networks `one` and `two`.
async fn make_two(networks: &Networks) {
    for (name, subnet) in [("one", "10.9.0.0/24"), ("two", "10.8.0.0/24")] {
        networks.create(with_subnet(name, subnet)).await.unwrap();
    }
}

#[test]
fn an_id_is_found_before_a_name_and_a_name_before_the_beginning_of_an_id() {
    in_namespace(async {
        let world = World::new();
        let networks = opened(&world).await;
        let id = networks.create(network("first")).await.unwrap();
        let whole = networks.create(network(id.as_str())).await.unwrap();
        let short = networks.create(network(id.short())).await.unwrap();
        assert_ne!(whole, id);
        assert_eq!(networks.resolve(id.as_str()).unwrap().name, "first");
        assert_eq!(networks.resolve(id.short()).unwrap().id, short);
        assert_eq!(networks.resolve(&id.as_str()[..20]).unwrap().name, "first");
    });
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
        make_two(&networks).await;
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
        make_two(&networks).await;
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
