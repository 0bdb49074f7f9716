//! Volumes by the API: making, listing, showing, measuring and removing them, and what is told of it.
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::cloned_ref_to_slice_refs,
    reason = "what a test needs fails the test where it stands; a story is told in one piece"
)]

use arca_testkit::Engine;
use serde_json::{Value, json};

fn create(engine: &Engine, body: &Value) -> Value {
    let (status, made) = engine.http().post("/v1.51/volumes/create", body);
    assert_eq!(status, 201, "{made}");
    made
}

/// Filters as the API takes them.
fn filters(filters: &Value) -> String {
    let text = filters.to_string();
    let encoded = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    format!("filters={}", encoded.collect::<String>())
}

fn names(listed: &Value) -> Vec<String> {
    let all = listed["Volumes"].as_array().unwrap();
    let mut names: Vec<String> = all
        .iter()
        .map(|volume| volume["Name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_volume_is_made_once_and_shown_as_it_is() {
    let engine = Engine::start();
    let name = engine.name("one");
    let body = json!({"Name": name, "Labels": {"a": "1"}});
    let made = create(&engine, &body);
    assert_eq!(
        (
            &made["Name"],
            &made["Driver"],
            &made["Scope"],
            &made["Labels"],
            &made["Options"]
        ),
        (
            &json!(name),
            &json!("local"),
            &json!("local"),
            &json!({"a": "1"}),
            &Value::Null
        )
    );
    let place = made["Mountpoint"].as_str().unwrap();
    assert!(
        place.ends_with(&format!("/volumes/{name}/_data")),
        "{place}"
    );
    // Whatever else is asked for, the one that is there comes back.
    let again = json!({"Name": name, "Labels": {"b": "2"}, "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}});
    assert_eq!(create(&engine, &again), made);
    let (status, shown) = engine.http().get(&format!("/v1.51/volumes/{name}"));
    assert_eq!((status, shown), (200, made));
    let anonymous = create(&engine, &json!({}));
    let random = anonymous["Name"].as_str().unwrap();
    assert!(random.len() == 64 && random.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(
        anonymous["Labels"],
        json!({"com.docker.volume.anonymous": ""})
    );
    let out = engine.docker(&["volume", "rm", &name, random]).ok();
    assert_eq!(out, format!("{name}\n{random}"));
    for (name, text) in [
        (
            "x",
            "create x: volume name is too short, names should be at least two alphanumeric characters",
        ),
        (
            "a/b",
            "create a/b: \"a/b\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        ),
    ] {
        let (status, answer) = engine
            .http()
            .post("/v1.51/volumes/create", &json!({"Name": name}));
        assert_eq!((status, &answer["message"]), (400, &json!(text)));
    }
    let (status, answer) = engine.http().get(&format!("/v1.51/volumes/{name}"));
    let text = json!(format!("get {name}: no such volume"));
    assert_eq!((status, &answer["message"]), (404, &text));
    let (status, answer) = engine.http().delete(&format!("/v1.51/volumes/{name}"));
    assert_eq!((status, &answer["message"]), (404, &text));
    let (status, _) = engine
        .http()
        .delete(&format!("/v1.51/volumes/{name}?force=1"));
    assert_eq!(status, 204);
    // What swarm does with volumes.
    let cluster = json!({"Name": name, "ClusterVolumeSpec": {"Group": "g"}});
    let (status, _) = engine.http().post("/v1.51/volumes/create", &cluster);
    assert_eq!(status, 503);
    let (status, _) = engine
        .http()
        .send("PUT", &format!("/v1.51/volumes/{name}?version=1"), &[], b"")
        .json();
    assert!([400, 503].contains(&status), "{status}");
}

#[test]
fn volumes_are_listed_by_every_filter() {
    let engine = Engine::start();
    let group = engine.name("group");
    let (used, free) = (engine.name("used"), engine.name("free"));
    create(
        &engine,
        &json!({"Name": used, "Labels": {group.as_str(): "u", "kind": "used"}}),
    );
    create(
        &engine,
        &json!({"Name": free, "Labels": {group.as_str(): "f"}}),
    );
    let container = engine.name("user");
    let mount = format!("{used}:/v");
    engine
        .docker(&["create", "--name", &container, "-v", &mount, "busybox"])
        .expect(0);
    let list = |filter: Value| {
        let path = format!("/v1.51/volumes?{}", filters(&filter));
        let (status, listed) = engine.http().get(&path);
        assert_eq!(status, 200, "{listed}");
        names(&listed)
    };
    let mut both = vec![free.clone(), used.clone()];
    both.sort();
    let label = group.as_str();
    assert_eq!(list(json!({"label": [label]})), both);
    assert_eq!(
        list(json!({"label": [format!("{label}=u")]})),
        [used.clone()]
    );
    assert_eq!(list(json!({"label": [label, "kind"]})), [used.clone()]);
    assert_eq!(
        list(json!({"label": [label, "kind=other"]})),
        Vec::<String>::new()
    );
    assert_eq!(
        list(json!({"label": [label], "dangling": ["true"]})),
        [free.clone()]
    );
    assert_eq!(
        list(json!({"label": [label], "dangling": ["0"]})),
        [used.clone()]
    );
    assert_eq!(list(json!({"label": [label], "driver": ["local"]})), both);
    assert_eq!(
        list(json!({"label": [label], "driver": ["none"]})),
        Vec::<String>::new()
    );
    assert_eq!(list(json!({"name": [used]})), [used.clone()]);
    assert_eq!(list(json!({"name": [format!("^{used}$"), free]})), both);
    for (filter, text) in [
        (json!({"size": ["1"]}), "invalid filter 'size'"),
        (
            json!({"dangling": ["maybe"]}),
            "invalid filter 'dangling=[maybe]'",
        ),
    ] {
        let (status, answer) = engine
            .http()
            .get(&format!("/v1.51/volumes?{}", filters(&filter)));
        assert_eq!((status, &answer["message"]), (400, &json!(text)));
    }
    let refused = engine.docker(&["volume", "rm", &used]).expect(1);
    let id = engine.inspect(&container)["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = format!("remove {used}: volume is in use - [{id}]");
    assert!(refused.stderr.contains(&text), "{}", refused.stderr);
    // Force does not take it from its user either.
    engine.docker(&["volume", "rm", "-f", &used]).expect(1);
    engine.docker(&["rm", &container]).expect(0);
    engine.docker(&["volume", "rm", &used, &free]).expect(0);
}

#[test]
fn what_is_pruned_is_unused_and_unnamed_or_asked_for() {
    let engine = Engine::start();
    let group = engine.name("group");
    let label = format!("{group}=1");
    let make = |options: &[&str]| {
        let mut arguments = vec!["volume", "create", "--label", &label];
        arguments.extend(options);
        engine.docker(&arguments).ok()
    };
    let (named, kept) = (engine.name("named"), engine.name("kept"));
    let (far, used) = (engine.name("far"), engine.name("used"));
    let anonymous = make(&[]);
    make(&[&named]);
    make(&["--label", "keep", &kept]);
    make(&["-o", "type=tmpfs", "-o", "device=tmpfs", &far]);
    make(&[&used]);
    let container = engine.name("user");
    let script = "echo -n 12345 > /n/f; echo -n 123 > /a/f";
    let (at_named, at_anonymous, at_used) = (
        format!("{named}:/n"),
        format!("{anonymous}:/a"),
        format!("{used}:/u"),
    );
    let run = [
        "run",
        "--rm",
        "-v",
        &at_named,
        "-v",
        &at_anonymous,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    engine.docker(&run).expect(0);
    engine
        .docker(&["create", "--name", &container, "-v", &at_used, "busybox"])
        .expect(0);
    let mut events = engine.events("");
    // By the label alone: the engine may be shared.
    let prune = |version: &str, more: Value| {
        let mut all = json!({"label": [group]});
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        let path = format!("/{version}/volumes/prune?{}", filters(&all));
        let (status, pruned) = engine.http().post(&path, &json!(null));
        assert_eq!(status, 200, "{pruned}");
        let gone = pruned["VolumesDeleted"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        (json!(gone), pruned["SpaceReclaimed"].clone())
    };
    assert_eq!(prune("v1.51", json!({})), (json!([anonymous]), json!(3)));
    let event = events.wait_for("prune", |event| event["Type"] == "volume");
    assert_eq!(event["Actor"]["Attributes"]["reclaimed"], "3");
    assert_eq!(events.actions(&anonymous), ["destroy"]);
    assert_eq!(prune("v1.51", json!({})), (json!([]), json!(0)));
    let all = json!({"all": ["true"], "label!": ["keep"]});
    assert_eq!(prune("v1.51", all), (json!([named]), json!(5)));
    // What options mount is elsewhere, and what is used stays. Before 1.42, all is meant.
    assert_eq!(prune("v1.41", json!({})), (json!([kept]), json!(0)));
    for (filter, text) in [
        (
            json!({"all": ["x"]}),
            "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (json!({"name": ["x"]}), "invalid filter 'name'"),
    ] {
        let path = format!("/v1.51/volumes/prune?{}", filters(&filter));
        let (status, answer) = engine.http().post(&path, &json!(null));
        assert_eq!((status, &answer["message"]), (400, &json!(text)));
    }
    engine.docker(&["rm", &container]).expect(0);
    engine.docker(&["volume", "rm", &far, &used]).expect(0);
}

#[test]
fn what_volumes_take_is_measured() {
    let engine = Engine::start();
    let (full, empty) = (engine.name("full"), engine.name("empty"));
    create(&engine, &json!({"Name": full}));
    create(&engine, &json!({"Name": empty}));
    let container = engine.name("user");
    let mount = format!("{full}:/v");
    let script =
        "mkdir /v/d; head -c 100000 /dev/zero > /v/d/f; ln /v/d/f /v/again; ln -s f /v/d/l";
    engine
        .docker(&[
            "run", "--name", &container, "-v", &mount, "busybox", "sh", "-c", script,
        ])
        .expect(0);
    let (status, usage) = engine.http().get("/v1.51/system/df?type=volume");
    assert_eq!(status, 200);
    assert_eq!(
        (&usage["Images"], &usage["Containers"]),
        (&Value::Null, &Value::Null)
    );
    let of = |name: &str| {
        let all = usage["Volumes"].as_array().unwrap();
        let found = all.iter().find(|volume| volume["Name"] == name).unwrap();
        found["UsageData"].clone()
    };
    assert_eq!(of(&empty), json!({"RefCount": 0, "Size": 0}));
    let used = of(&full);
    assert_eq!(used["RefCount"], 1);
    let size = used["Size"].as_u64().unwrap();
    // A file with two names takes its room once; a link may count as its length.
    assert!((100_000..101_000).contains(&size), "{size}");
    let shown = engine.docker(&["system", "df", "-v"]).ok();
    let line = shown.lines().find(|line| line.starts_with(&full)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, [full.as_str(), "1", "100kB"]);
    engine.docker(&["rm", &container]).expect(0);
    engine.docker(&["volume", "rm", &full, &empty]).expect(0);
}

#[test]
fn every_step_of_a_volume_is_told() {
    let engine = Engine::start();
    let (volume, container) = (engine.name("told"), engine.name("user"));
    let mut events = engine.events("");
    create(&engine, &json!({"Name": volume}));
    let mount = format!("{volume}:/v:ro");
    engine
        .docker(&["run", "--name", &container, "-v", &mount, "busybox", "true"])
        .expect(0);
    let id = engine.inspect(&container)["Id"].clone();
    engine.docker(&["rm", &container]).expect(0);
    engine.docker(&["volume", "rm", &volume]).expect(0);
    events.wait("destroy", &volume);
    let mounted = events.wait("mount", &volume)["Actor"]["Attributes"].clone();
    let expected = json!({"container": id, "destination": "/v", "driver": "local", "propagation": "",
                          "read/write": "false"});
    assert_eq!(mounted, expected);
    let unmounted = events.wait("unmount", &volume)["Actor"]["Attributes"].clone();
    assert_eq!(unmounted, json!({"container": id, "driver": "local"}));
    let created = events.wait("create", &volume);
    assert_eq!(
        (&created["Type"], &created["scope"]),
        (&json!("volume"), &json!("local"))
    );
    assert_eq!(created["Actor"]["Attributes"], json!({"driver": "local"}));
    assert_eq!(
        events.actions(&volume),
        ["create", "mount", "unmount", "destroy"]
    );
}
