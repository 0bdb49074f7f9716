//! Many containers on a network, many networks on a container, many changes: nothing is given twice, and
//! nothing stays.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arca_testkit::{Engine, Options, eventually};
use serde_json::{Value, json};

/// How many changes; a test by hand takes more.
fn rounds() -> usize {
    std::env::var("ARCA_TEST_ROUNDS").map_or(60, |text| text.parse().unwrap())
}

/// Does `job` for each number below `count`, eight at a time.
fn each(count: usize, job: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    job(number);
                }
            });
        }
    });
}

/// What ought to be the same before and after: links, rules, namespaces.
fn left_behind(engine: &Engine) -> String {
    let netns = engine.netns().unwrap();
    let show = |program: &str, arguments: &[&str]| {
        let mut command: Command = netns.command(program);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let links = show("ip", &["-o", "link"]);
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let rules = show("nft", &["--stateless", "list", "ruleset"]);
    // Elements of sets come in any order.
    let separated = |letter: char| letter.is_whitespace() || letter == ',';
    let mut rules: Vec<&str> = rules.split(separated).collect();
    rules.sort_unstable();
    let namespaces = std::fs::read_dir(engine.exec_root().join("netns"));
    let namespaces = namespaces.map_or(0, Iterator::count);
    format!("{names:?}\n{rules:?}\n{namespaces} namespaces")
}

fn run(engine: &Engine, name: &str, network: &str, command: &str) {
    let http = engine.http();
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", command],
        "HostConfig": {"NetworkMode": network},
    });
    let (status, answer) = http.post(&format!("/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = http.post(&format!("/containers/{name}/start"), &Value::Null);
    assert_eq!(status, 204, "{answer}");
}

#[test]
fn a_hundred_containers_on_one_network_reach_one_by_name() {
    const COUNT: usize = 100;
    let engine = Engine::start();
    let (network, hub) = (engine.name("crowd"), engine.name("hub"));
    engine.docker(&["network", "create", &network]).ok();
    let before = engine.is_own().then(|| left_behind(&engine));
    run(&engine, &hub, &network, "exec nc -ll -p 8000 -e echo hello");
    let names: Vec<String> = (0..COUNT).map(|_| engine.name("one")).collect();
    let greet = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do nc -w 2 {hub} 8000 </dev/null | grep -q hello && exec sleep 600; \
         done; exit 1"
    );
    each(COUNT, |number| {
        run(&engine, &names[number], &network, &greet)
    });
    eventually("every one has reached it", || {
        let sleeping = names.iter().all(|name| {
            let (_, top) = engine.http().get(&format!("/containers/{name}/top"));
            top.to_string().contains("sleep 600")
        });
        sleeping.then_some(())
    });
    let (_, inspected) = engine.http().get(&format!("/networks/{network}"));
    let on_it = inspected["Containers"].as_object().unwrap();
    let all = |key: &str| -> BTreeSet<String> {
        on_it.values().map(|one| one[key].to_string()).collect()
    };
    assert_eq!(on_it.len(), COUNT + 1);
    assert_eq!(all("IPv4Address").len(), COUNT + 1);
    assert_eq!(all("MacAddress").len(), COUNT + 1);
    each(COUNT + 1, |number| {
        let name = names.get(number).unwrap_or(&hub);
        let (status, answer) = engine.http().delete(&format!("/containers/{name}?force=1"));
        assert_eq!(status, 204, "{answer}");
    });
    if let Some(before) = before {
        eventually("nothing stays", || {
            (left_behind(&engine) == before).then_some(())
        });
    }
    engine.docker(&["network", "rm", &network]).ok();
}

#[test]
fn networks_made_at_once_have_nothing_in_common_and_a_container_may_be_on_twenty() {
    const ON: usize = 20;
    let engine = Engine::start_with(Options {
        flags: vec!["--default-address-pool=base=10.96.0.0/11,size=24".to_owned()],
        ..Options::default()
    });
    // Another engine's pools hold some thirty networks, which are for everybody.
    let count = if engine.is_own() { 100 } else { ON };
    let before = engine.is_own().then(|| left_behind(&engine));
    let names: Vec<String> = (0..count).map(|_| engine.name("many")).collect();
    let subnets = Mutex::new(BTreeSet::new());
    each(count, |number| {
        let name = &names[number];
        let (status, answer) = engine
            .http()
            .post("/networks/create", &json!({"Name": name}));
        assert_eq!(status, 201, "{answer}");
        let (_, inspected) = engine.http().get(&format!("/networks/{name}"));
        let subnet = inspected["IPAM"]["Config"][0]["Subnet"].to_string();
        assert!(subnets.lock().unwrap().insert(subnet.clone()), "{subnet}");
    });
    let name = engine.name("everywhere");
    run(&engine, &name, &names[0], "sleep 600");
    for network in &names[1..ON] {
        engine.docker(&["network", "connect", network, &name]).ok();
    }
    let shown = engine
        .docker(&["exec", &name, "ip", "-o", "-4", "addr"])
        .ok();
    let interfaces = shown.lines().filter(|line| line.contains(" eth")).count();
    assert_eq!(interfaces, ON, "{shown}");
    let routes = engine.docker(&["exec", &name, "ip", "route"]).ok();
    assert_eq!(routes.matches("default").count(), 1, "{routes}");
    let inspected = engine.inspect(&name);
    let on = inspected["NetworkSettings"]["Networks"]
        .as_object()
        .unwrap();
    assert_eq!(on.len(), ON);
    for (network, endpoint) in on {
        let gateway = endpoint["Gateway"].as_str().unwrap();
        let ping = ["exec", &name, "ping", "-c1", "-W5", gateway];
        assert_eq!(engine.docker(&ping).code, 0, "{network}: {gateway}");
    }
    engine.docker(&["rm", "-f", &name]).ok();
    each(count, |number| {
        let (status, answer) = engine
            .http()
            .delete(&format!("/networks/{}", names[number]));
        assert_eq!(status, 204, "{answer}");
    });
    if let Some(before) = before {
        eventually("nothing stays", || {
            (left_behind(&engine) == before).then_some(())
        });
    }
}

#[test]
fn after_many_changes_nothing_stays_and_no_address_was_given_twice() {
    const MOVERS: usize = 4;
    let engine = Engine::start();
    let network = engine.name("back");
    engine
        .docker(&["network", "create", "--subnet", "10.77.41.0/24", &network])
        .ok();
    let names: Vec<String> = (0..MOVERS).map(|_| engine.name("mover")).collect();
    for name in &names {
        run(&engine, name, "bridge", "sleep 600");
    }
    let before = engine.is_own().then(|| left_behind(&engine));
    let taken = Mutex::new(BTreeSet::new());
    let http = engine.http();
    std::thread::scope(|scope| {
        for name in &names {
            let (network, taken) = (&network, &taken);
            scope.spawn(move || {
                for _ in 0..rounds().div_ceil(MOVERS) {
                    let body = json!({"Container": name});
                    let (status, answer) =
                        http.post(&format!("/networks/{network}/connect"), &body);
                    assert_eq!(status, 200, "{answer}");
                    let (_, inspected) = http.get(&format!("/containers/{name}/json"));
                    let endpoint = &inspected["NetworkSettings"]["Networks"][network];
                    let address = endpoint["IPAddress"].to_string();
                    assert!(
                        taken.lock().unwrap().insert(address.clone()),
                        "{address} twice"
                    );
                    // Given back a moment before the engine does.
                    taken.lock().unwrap().remove(&address);
                    let (status, answer) =
                        http.post(&format!("/networks/{network}/disconnect"), &body);
                    assert_eq!(status, 200, "{answer}");
                }
            });
        }
    });
    let (_, inspected) = http.get(&format!("/networks/{network}"));
    assert_eq!(inspected["Containers"], json!({}));
    if let Some(before) = before {
        eventually("nothing stays", || {
            (left_behind(&engine) == before).then_some(())
        });
    }
    // Every address is free again: the next one gets the first.
    let next = engine.name("next");
    run(&engine, &next, &network, "sleep 600");
    if engine.is_own() {
        let inspected = engine.inspect(&next);
        let endpoint = &inspected["NetworkSettings"]["Networks"][&network];
        assert_eq!(endpoint["IPAddress"], "10.77.41.2");
    }
    engine.docker(&["rm", "-f", &next]).ok();
    engine.docker(&["network", "rm", &network]).ok();
}
