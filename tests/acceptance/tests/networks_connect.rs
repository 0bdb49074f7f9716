//! `docker network connect` and `disconnect`: of containers that run, that were created and that have
//! stopped.

use arca_testkit::Engine;
use serde_json::{Value, json};

/// A network that is removed with everything on it when the test ends.
struct Network<'a> {
    engine: &'a Engine,
    name: String,
}

impl<'a> Network<'a> {
    fn new(engine: &'a Engine, what: &str, flags: &[&str]) -> Self {
        let name = engine.name(what);
        let mut arguments = vec!["network", "create"];
        arguments.extend(flags);
        arguments.push(&name);
        engine.docker(&arguments).ok();
        Self { engine, name }
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        let (_, inspected) = self.engine.http().get(&format!("/networks/{}", self.name));
        let on_it = inspected.get("Containers").and_then(Value::as_object);
        for id in on_it.into_iter().flat_map(|on_it| on_it.keys()) {
            self.engine
                .http()
                .delete(&format!("/containers/{id}?force=1"));
        }
        self.engine
            .http()
            .delete(&format!("/networks/{}", self.name));
    }
}

fn networks(engine: &Engine, container: &str) -> Value {
    let inspected = engine.inspect(container);
    let networks = inspected.pointer("/NetworkSettings/Networks");
    networks.cloned().unwrap_or_default()
}

fn sleeper(engine: &Engine, what: &str, flags: &[&str]) -> String {
    let name = engine.name(what);
    let mut arguments = vec!["run", "-d", "--init", "--name", &name];
    arguments.extend(flags);
    arguments.extend(["busybox", "sleep", "600"]);
    engine.docker(&arguments).ok();
    name
}

/// Whether `from` reaches `name` by ping.
fn reaches(engine: &Engine, from: &str, name: &str) -> bool {
    let ping = ["exec", from, "ping", "-c1", "-W2", name];
    engine.docker(&ping).code == 0
}

#[test]
fn a_running_container_joins_and_leaves() {
    let engine = Engine::start();
    let own = Network::new(&engine, "front", &[]);
    let net = Network::new(&engine, "back", &["--subnet", "10.77.31.0/24"]);
    let (a, b) = (
        sleeper(&engine, "a", &[]),
        sleeper(&engine, "b", &["--network", &net.name]),
    );
    let mut events = engine.events("{\"type\":[\"network\"]}");
    engine
        .docker(&[
            "network",
            "connect",
            "--ip",
            "10.77.31.77",
            "--alias",
            "front-door",
            "--link-local-ip",
            "169.254.7.7",
            "--driver-opt",
            "com.docker.network.endpoint.ifname=back0",
            "--driver-opt",
            "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
            "--gw-priority",
            "7",
            &net.name,
            &a,
        ])
        .ok();
    let id = engine.inspect(&a)["Id"].as_str().unwrap().to_owned();
    let connected = events.wait_for("connect", |event| {
        event["Actor"]["Attributes"]["name"] == net.name.as_str()
    });
    assert_eq!(connected["Actor"]["Attributes"]["container"], id.as_str());
    let endpoint = &networks(&engine, &a)[&net.name];
    assert_eq!(endpoint["IPAddress"], "10.77.31.77");
    assert_eq!(endpoint["Aliases"], json!(["front-door"]));
    assert_eq!(endpoint["GwPriority"], 7);
    assert_eq!(
        endpoint["DNSNames"],
        json!([a, "front-door", id.get(..12).unwrap()])
    );
    // It was on the default bridge alone: now it asks the network's own DNS server.
    assert!(reaches(&engine, &a, &b));
    assert!(reaches(&engine, &b, "front-door"));
    let shown = |command: &[&str]| {
        let mut arguments = vec!["exec", &a];
        arguments.extend(command);
        engine.docker(&arguments).ok()
    };
    assert!(shown(&["ip", "addr", "show", "back0"]).contains("169.254.7.7/16"));
    assert_eq!(
        shown(&["cat", "/proc/sys/net/ipv4/conf/back0/log_martians"]),
        "1"
    );
    assert!(shown(&["ip", "route"]).contains("default via 10.77.31.1 dev back0"));
    assert!(shown(&["cat", "/etc/hosts"]).contains("10.77.31.77"));

    let (status, _) = engine.http().post(
        &format!("/networks/{}/disconnect", own.name),
        &json!({"Container": a}),
    );
    assert_eq!(status, 500);
}

#[test]
fn a_running_container_leaves_while_it_stays_on_others() {
    let engine = Engine::start();
    let own = Network::new(&engine, "front", &[]);
    let net = Network::new(&engine, "back", &[]);
    let (a, b) = (
        sleeper(&engine, "a", &["--network", &own.name]),
        sleeper(&engine, "b", &["--network", &net.name]),
    );
    let mut events = engine.events("{\"type\":[\"network\"]}");
    let connect = ["network", "connect", "--alias", "front-door"];
    engine
        .docker(&[&connect[..], &[&net.name, &a]].concat())
        .ok();
    assert!(reaches(&engine, &b, "front-door"));
    engine
        .docker(&["network", "disconnect", &net.name, &a])
        .ok();
    assert!(!reaches(&engine, &b, "front-door"));
    assert!(networks(&engine, &a)[&net.name].is_null());
    events.wait_for("disconnect", |event| {
        event["Actor"]["Attributes"]["name"] == net.name.as_str()
    });
    let (status, _) = engine.http().post(
        &format!("/networks/{}/disconnect", net.name),
        &json!({"Container": a}),
    );
    assert_eq!(status, 500);
}

#[test]
fn a_container_that_does_not_run_is_connected_when_it_starts() {
    let engine = Engine::start();
    let (one, two) = (
        Network::new(&engine, "one", &["--subnet", "10.77.32.0/24"]),
        Network::new(&engine, "two", &["--subnet", "10.77.33.0/24"]),
    );
    let name = engine.name("later");
    let create = [
        "create",
        "--name",
        &name,
        "--network",
        &one.name,
        "busybox",
        "sleep",
        "600",
    ];
    engine.docker(&create).ok();
    engine
        .docker(&["network", "connect", "--ip", "10.77.33.9", &two.name, &name])
        .ok();
    let (_, inspected) = engine.http().get(&format!("/networks/{}", two.name));
    assert_eq!(inspected["Containers"], json!({}));
    engine.docker(&["start", &name]).ok();
    let now = networks(&engine, &name);
    assert_eq!(now[&two.name]["IPAddress"], "10.77.33.9");
    assert_ne!(now[&one.name]["IPAddress"], "");
    engine.docker(&["stop", "-t", "0", &name]).ok();
    engine
        .docker(&["network", "disconnect", &one.name, &name])
        .ok();
    let both = Network::new(&engine, "three", &[]);
    engine
        .docker(&["network", "connect", &both.name, &name])
        .ok();
    engine.docker(&["start", &name]).ok();
    let now = networks(&engine, &name);
    let names: Vec<&String> = now.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 2, "{now}");
    assert_eq!(now[&two.name]["IPAddress"], "10.77.33.9");
    assert!(now[&one.name].is_null());
    if engine.is_own() {
        engine.kill_9();
        engine.launch();
        assert_eq!(networks(&engine, &name), now);
        engine
            .docker(&["network", "disconnect", &two.name, &name])
            .ok();
        let left = networks(&engine, &name);
        assert_eq!(left.as_object().unwrap().len(), 1);
    }
    engine.docker(&["rm", "-f", &name]).ok();
}

#[test]
fn a_mac_address_is_shown_before_the_start() {
    let engine = Engine::start();
    let net = Network::new(&engine, "mac", &[]);
    let name = engine.name("with-mac");
    engine
        .docker(&["create", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let mac = "02:42:ac:11:00:02";
    let request = json!({"Container": name, "EndpointConfig": {"MacAddress": mac}});
    let path = format!("/networks/{}/connect", net.name);
    assert_eq!(engine.http().post(&path, &request).0, 200);
    assert_eq!(networks(&engine, &name)[&net.name]["MacAddress"], mac);
    if engine.is_own() {
        // dockerd forgets it.
        engine.docker(&["start", &name]).ok();
        assert_eq!(networks(&engine, &name)[&net.name]["MacAddress"], mac);
    }
    engine.docker(&["rm", "-f", &name]).ok();
}

/// dockerd takes such subnets and addresses as well, and says nothing.
#[test]
fn subnets_of_a_family_that_a_network_has_not_are_shown_and_not_used() {
    let engine = Engine::start();
    for (what, families, idle, address) in [
        ("no-ipv6", (true, false), "2001:389::/64", "IPv6Address"),
        ("no-ipv4", (false, true), "10.77.39.0/24", "IPv4Address"),
    ] {
        let name = engine.name(what);
        let pool = json!({"Config": [{"Subnet": idle}]});
        let request =
            json!({"Name": name, "EnableIPv4": families.0, "EnableIPv6": families.1, "IPAM": pool});
        let (status, made) = engine.http().post("/networks/create", &request);
        assert_eq!(status, 201, "{made}");
        if engine.is_own() {
            let warning = made["Warning"].as_str().unwrap();
            assert!(
                warning.contains(&format!("{idle} is not used")),
                "{warning}"
            );
        }
        let (_, shown) = engine.http().get(&format!("/networks/{name}"));
        let pools = shown.pointer("/IPAM/Config").unwrap();
        assert_eq!(pools[0], json!({"Subnet": idle}));
        assert_eq!(pools.as_array().unwrap().len(), 2, "{pools}");
        let inside = idle.replace("0/24", "7").replace("/64", "7");
        let outside = if families.0 {
            "2001:390::7"
        } else {
            "10.77.40.7"
        };
        for (ip, status) in [(outside, 400), (inside.as_str(), 201)] {
            let endpoint = json!({"EndpointsConfig": {&name: {"IPAMConfig": {address: ip}}}});
            let body = json!({"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": name}, "NetworkingConfig": endpoint});
            let path = format!("/containers/create?name={name}");
            let (got, answer) = engine.http().post(&path, &body);
            assert_eq!(got, status, "{answer}");
        }
        engine.docker(&["start", &name]).ok();
        let endpoint = networks(&engine, &name)[&name].clone();
        assert_eq!(endpoint["IPAMConfig"][address], inside.as_str());
        let (none, some) = match families.0 {
            true => ("GlobalIPv6Address", "IPAddress"),
            false => ("IPAddress", "GlobalIPv6Address"),
        };
        assert_eq!(endpoint[none], "");
        assert_ne!(endpoint[some], "");
        engine.docker(&["rm", "-f", &name]).ok();
        engine.docker(&["network", "rm", &name]).ok();
    }
}

#[test]
fn several_networks_are_asked_for_at_create() {
    let engine = Engine::start();
    let (one, two) = (
        Network::new(&engine, "one", &["--subnet", "10.77.34.0/24"]),
        Network::new(&engine, "two", &["--subnet", "10.77.35.0/24"]),
    );
    let name = engine.name("both");
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "600"],
        "HostConfig": {"NetworkMode": one.name},
        "NetworkingConfig": {"EndpointsConfig": {
            one.name.clone(): {"Aliases": ["x"], "MacAddress": "02:00:00:00:00:31"},
            two.name.clone(): {"IPAMConfig": {"IPv4Address": "10.77.35.35"}, "GwPriority": 3},
        }},
    });
    let (status, answer) = engine
        .http()
        .post(&format!("/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{answer}");
    engine.docker(&["start", &name]).ok();
    let now = networks(&engine, &name);
    assert_eq!(now[&one.name]["MacAddress"], "02:00:00:00:00:31");
    assert_eq!(now[&two.name]["IPAddress"], "10.77.35.35");
    let route = engine.docker(&["exec", &name, "ip", "route"]).ok();
    assert!(route.contains("default via 10.77.35.1"), "{route}");
    let ip = now[&one.name]["IPAddress"].clone();
    engine.docker(&["restart", "-t", "0", &name]).ok();
    let again = networks(&engine, &name);
    assert_eq!(again[&one.name]["MacAddress"], "02:00:00:00:00:31");
    assert_eq!(again[&one.name]["IPAddress"], ip);
    engine.docker(&["rm", "-f", &name]).ok();
}

#[test]
fn what_cannot_be_is_refused_in_the_words_clients_know() {
    let engine = Engine::start();
    let net = Network::new(&engine, "net", &[]);
    let (on_host, alone, normal) = (
        sleeper(&engine, "onhost", &["--network", "host"]),
        sleeper(&engine, "alone", &["--network", "none"]),
        sleeper(&engine, "normal", &[]),
    );
    let target = format!("container:{normal}");
    let shared = sleeper(&engine, "shared", &["--network", &target]);
    let sharing = "container sharing network namespace with another container or host cannot be \
                   connected to any other network";
    let private = "container cannot be connected to multiple networks with one of the networks in \
                   private (none) mode";
    let host = "cannot connect container to host network - container must be created in host \
                network mode";
    let own = net.name.as_str();
    for (network, container, status, text) in [
        (own, on_host.as_str(), 400, sharing.to_owned()),
        (own, &shared, 400, sharing.to_owned()),
        (own, &alone, 400, private.to_owned()),
        ("none", &normal, 400, private.to_owned()),
        ("host", &normal, 400, host.to_owned()),
        (
            "bridge",
            &normal,
            403,
            format!("endpoint with name {normal} already exists in network bridge"),
        ),
        (
            "nowhere",
            &normal,
            404,
            "network nowhere not found".to_owned(),
        ),
        (own, "nobody", 404, "No such container: nobody".to_owned()),
    ] {
        let answer = engine.http().post(
            &format!("/networks/{network}/connect"),
            &json!({"Container": container}),
        );
        assert_eq!(
            answer,
            (status, json!({"message": text})),
            "{network} {container}"
        );
    }
    engine
        .docker(&["network", "disconnect", "none", &alone])
        .ok();
    engine.docker(&["network", "connect", own, &alone]).ok();
    let route = engine.docker(&["exec", &alone, "ip", "route"]).ok();
    assert!(route.contains("default"), "{route}");
    for name in [&on_host, &alone, &normal, &shared] {
        engine.docker(&["rm", "-f", name]).ok();
    }
}

#[test]
fn settings_that_cannot_be_are_refused_in_the_words_clients_know() {
    let engine = Engine::start();
    let net = Network::new(&engine, "net", &[]);
    let own = net.name.as_str();
    let normal = sleeper(&engine, "normal", &[]);
    for (settings, text) in [
        (
            json!({"IPAMConfig": {"IPv4Address": "10.9.9.9"}}),
            "invalid endpoint settings:\nuser specified IP address is supported only when connecting \
             to networks with user configured subnets",
        ),
        (json!({"MacAddress": "zz"}), "invalid MAC address zz"),
        (
            json!({"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.x=1"}}),
            "invalid endpoint settings:\nunrecognised network interface sysctl \
             'net.ipv4.conf.eth0.x=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must \
             be 'ipv4', 'ipv6' or 'mpls'",
        ),
    ] {
        let answer = engine.http().post(
            &format!("/networks/{own}/connect"),
            &json!({"Container": normal, "EndpointConfig": settings}),
        );
        assert_eq!(answer, (400, json!({"message": text})));
    }
    engine.docker(&["rm", "-f", &normal]).ok();
}
