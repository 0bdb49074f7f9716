//! What becomes of create requests: as dockerd answers them, as inspect shows them, and nothing at all
//! where they are refused.
//!
//! `golden/creates.jsonl` holds requests with dockerd 28.5.2's answers: the text of the refusal, or
//! warnings and what inspect shows other than for the plainest request. `ARCA_TEST_RECORD=1` with
//! `ARCA_TEST_DOCKER_HOST` set writes the answers. `golden/create-schema.json` is the body of
//! `ContainerCreate` in `docs/api/docker-engine-v1.51.yaml`, without references and words.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail where they stand"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_testkit::Engine;
use serde_json::{Map, Value, json};

/// Requests that are answered differently on purpose: how their names begin, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("H.CpusetMems=\"1\"", "as with ulimits"),
    ("Image=\"\"", "an image is needed to run anything"),
    (
        "ExposedPorts=",
        "what is no port is refused, and a protocol is filled in",
    ),
    ("Healthcheck=", "a probe that could never be run is refused"),
    (
        "H.Ulimits=",
        "what the kernel does not know or allow is refused at create, not at the start",
    ),
    ("H.Devices=", "as with ulimits"),
    ("H.DeviceCgroupRules=", "as with ulimits"),
    ("H.Tmpfs={\"/t\": \"foo=bar\"}", "as with ulimits"),
    ("hostipc sysctl", "as with ulimits"),
    (
        "H.PortBindings=",
        "what is no port or address is refused, and a protocol is filled in",
    ),
    ("NetworkDisabled", "inspect has the ports of no network"),
    ("H.CpuCount", "a warning says that it has no effect"),
    (
        "H.Memory=4611686018427387904",
        "twice as much swap does not overflow",
    ),
    (
        "H.SecurityOpt=[\"apparmor",
        "there is no profile where the kernel has no AppArmor",
    ),
    (
        "H.IpcMode=\"container:\"",
        "refused at once, not at the start",
    ),
    ("H.Mounts=[{}]", "the type is looked at first"),
    (
        "raw {\"Image\": \"busybox\", \"HostConfig\": {\"ConsoleSize\": [-1",
        "the index is not told",
    ),
    (
        "raw {\"Image\": \"busybox\", \"HostConfig\": {\"Ulimits\": [5",
        "the index is not told",
    ),
];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// All values by path.
fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                flatten(&format!("{path}/{name}"), value, all);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{path}/{index}"), value, all);
            }
        }
        value => drop(all.insert(path.to_owned(), value.clone())),
    }
}

/// What inspect shows of a configuration.
fn configuration(engine: &Engine, id: &str) -> BTreeMap<String, Value> {
    let shown = engine.inspect(id);
    let mut all = BTreeMap::new();
    for part in ["Config", "HostConfig", "Path", "Args", "Mounts"] {
        flatten(part, &shown[part], &mut all);
    }
    // Its own ID, unless another was asked for.
    let short: String = id.chars().take(12).collect();
    all.retain(|path, value| path != "Config/Hostname" || *value != short.as_str());
    all
}

/// Creates, inspects and removes: the answer in the form of the golden file.
fn answer(engine: &Engine, body: &Value, plain: Option<&BTreeMap<String, Value>>) -> Value {
    let (status, answer) = engine.http().post("/v1.51/containers/create", body);
    if status != 201 {
        return json!({"status": status, "message": answer["message"]});
    }
    let id = answer["Id"].as_str().unwrap();
    let shown = configuration(engine, id);
    engine
        .http()
        .delete(&format!("/v1.51/containers/{id}?force=1&v=1"));
    let Some(plain) = plain else {
        return json!(shown);
    };
    let mut changed: Map<String, Value> = Map::new();
    for path in shown.keys().chain(plain.keys()) {
        let (new, old) = (shown.get(path), plain.get(path));
        if new != old {
            changed.insert(path.clone(), new.cloned().unwrap_or(json!("-")));
        }
    }
    json!({"status": status, "warnings": answer["Warnings"], "changed": changed})
}

#[test]
fn requests_are_answered_and_shown_as_by_dockerd() {
    let engine = Engine::start();
    let plainest = answer(&engine, &json!({"Image": "busybox", "Cmd": ["true"]}), None);
    let plain = serde_json::from_value(plainest).unwrap();
    let text = std::fs::read_to_string(golden("creates.jsonl")).unwrap();
    let record = std::env::var_os("ARCA_TEST_RECORD").is_some() && !engine.is_own();
    let (mut recorded, mut failures) = (String::new(), Vec::new());
    for line in text.lines() {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let got = answer(&engine, &case["body"], Some(&plain));
        let name = case["name"].as_str().unwrap().to_owned();
        let explained = DIFFERENCES.iter().any(|(begin, _)| name.starts_with(begin));
        if got != case["answer"] && !(explained && engine.is_own()) {
            failures.push(format!("{name}\n  got  {got}\n  want {}", case["answer"]));
        }
        case["answer"] = got;
        recorded.push_str(&format!("{case}\n"));
    }
    if record {
        std::fs::write(golden("creates.jsonl"), recorded).unwrap();
        return;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Numbers that limits and modes are about, or not.
const NUMBERS: [i64; 14] = [
    0,
    1,
    -1,
    2,
    5,
    10,
    99,
    500,
    1000,
    65_536,
    6 << 20,
    64 << 20,
    i64::MAX,
    i64::MIN,
];
/// The same for texts.
const TEXTS: [&str; 24] = [
    "",
    "a",
    "/a",
    "a:b",
    "/a:/b",
    "/tmp:/b:ro",
    "host",
    "none",
    "private",
    "default",
    "no",
    "always",
    "container:x",
    "0",
    "80/tcp",
    "local",
    "json-file",
    "ALL",
    "CHOWN",
    "x=y",
    "../..",
    "\u{0}",
    "é\u{202e}",
    "1.2.3.4",
];

/// Texts that mean something for a field, well-formed or nearly so; for fields that map texts, their names.
const HINTS: &[(&str, &[&str])] = &[
    ("Hostname", &["web", "a.b", "-a", "UPPER"]),
    ("User", &["root", "0:0", "nobody", "a b", ":5"]),
    ("Env", &["A=b", "A", "=x", "A=", "A=b=c", "PATH=/x"]),
    ("Cmd", &["true", "sleep"]),
    ("WorkingDir", &["/a/../b", "a", "/a/"]),
    ("MacAddress", &["02:42:ac:11:00:02", "zz"]),
    ("StopSignal", &["TERM", "9", "FOO", "RTMIN+3"]),
    (
        "Binds",
        &[
            "/tmp:/b",
            "/tmp:/b:ro",
            "kept:/v",
            "kept:/v:nocopy",
            "/v",
            "/tmp:/b:foo",
            ":/x",
            "/tmp:/",
            "a:/b:c:d",
        ],
    ),
    (
        "NetworkMode",
        &["bridge", "host", "none", "default", "nosuch", "container:x"],
    ),
    ("IpcMode", &["host", "private", "shareable", "none", "odd"]),
    ("PidMode", &["host", "container:x", "odd"]),
    ("UTSMode", &["host", "odd"]),
    ("UsernsMode", &["host", "odd"]),
    ("Cgroup", &["container:x", "odd"]),
    ("CapAdd", &["CHOWN", "cap_sys_admin", "ALL", "nosuch"]),
    ("CapDrop", &["MKNOD", "all", "nosuch"]),
    ("Dns", &["1.2.3.4", "::1", "nosuch"]),
    (
        "ExtraHosts",
        &["a:1.2.3.4", "a:::1", "a:host-gateway", ":1.2.3.4"],
    ),
    ("GroupAdd", &["mail", "5", "nosuch"]),
    ("Links", &["x:y", ":", "a:b:c"]),
    (
        "SecurityOpt",
        &[
            "no-new-privileges",
            "no-new-privileges:false",
            "seccomp=unconfined",
            "label=disable",
            "label=type:x",
            "systempaths=unconfined",
            "apparmor=unconfined",
            "writable-cgroups=true",
            "seccomp={}",
        ],
    ),
    ("VolumesFrom", &["x", "x:ro"]),
    ("CpusetCpus", &["0", "0-1", "9999", "1-0"]),
    ("CgroupParent", &["/a", "a", "system.slice"]),
    ("Test", &["CMD", "CMD-SHELL", "NONE", "true"]),
    ("HostIp", &["127.0.0.1", "::1"]),
    ("HostPort", &["8080", "8000-8001", "99999"]),
    ("PathOnHost", &["/dev/null", "/dev/nosuch"]),
    ("DeviceCgroupRules", &["c 1:3 rwm", "a *:* rwm", "c -1:3 r"]),
    ("Target", &["/t", "rel", "/t/../u"]),
    ("Source", &["/tmp", "kept", "/nosuch"]),
    (
        "Sysctls",
        &["net.ipv4.ip_forward", "kernel.msgmax", "kernel.panic"],
    ),
    ("Tmpfs", &["/t", "t", "size=1m", "rw,noexec", "foo=bar"]),
    ("StorageOpt", &["size"]),
    ("Volumes", &["/v", "v", "/a:/b"]),
    (
        "ExposedPorts",
        &["80/tcp", "53/udp", "80", "99999/tcp", "80-81/tcp"],
    ),
    (
        "PortBindings",
        &["80/tcp", "53/udp", "80", "x/tcp", "80-82/tcp"],
    ),
    (
        "Config",
        &[
            "max-size",
            "max-file",
            "mode",
            "tag",
            "10m",
            "2",
            "non-blocking",
        ],
    ),
];

/// A small generator of numbers (xorshift64*): the same seed gives the same requests.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(bits).unwrap() % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A text for the field `key`.
    fn text(&mut self, key: &str) -> &'static str {
        let hints = HINTS.iter().find(|(known, _)| *known == key);
        match hints {
            Some((_, hints)) if self.below(4) > 0 => self.pick::<&'static str>(hints),
            _ => self.pick::<&'static str>(&TEXTS),
        }
    }

    /// A value for the field `key` of the type that the schema has, reasonable or not.
    fn value(&mut self, key: &str, schema: &Value) -> Value {
        if let Some(words) = schema["enum"].as_array()
            && self.below(3) > 0
        {
            return self.pick(words).clone();
        }
        match schema["type"].as_str() {
            Some("integer" | "number") => json!(*self.pick(&NUMBERS)),
            Some("boolean") => json!(self.below(2) == 0),
            Some("array") => {
                let count = self.below(3);
                (0..count)
                    .map(|_| self.value(key, &schema["items"]))
                    .collect()
            }
            Some("object") if schema["properties"].is_object() => self.object(schema, 3),
            Some("object") => {
                let count = self.below(3);
                let entries = (0..count).map(|_| {
                    // Volumes and ports are sets: they map to nothing.
                    let value = match key {
                        "Volumes" | "ExposedPorts" => json!({}),
                        _ => self.value(key, &schema["values"]),
                    };
                    (self.text(key).to_owned(), value)
                });
                Value::Object(entries.collect())
            }
            _ => json!(self.text(key)),
        }
    }

    /// An object with some of its properties.
    fn object(&mut self, schema: &Value, most: usize) -> Value {
        let properties: Vec<_> = schema["properties"].as_object().unwrap().iter().collect();
        let most = if properties.is_empty() { 0 } else { most };
        let count = self.below(most + 1);
        let chosen = (0..count).map(|_| {
            let (name, schema) = *self.pick(&properties);
            (name.clone(), self.value(name, schema))
        });
        Value::Object(chosen.collect())
    }

    /// A create request: mostly one or two unusual things, so that some are accepted.
    fn body(&mut self, schema: &Value) -> Value {
        let mut body = self.object(schema, 2);
        body["Image"] = json!("busybox");
        body["HostConfig"] = self.object(&schema["properties"]["HostConfig"], 2);
        body
    }
}

/// Texts with which dockerd, too, answers 500 or 501.
const FAILURES: &[&str] = &[
    "--storage-opt is supported only for overlay",
    "Unknown option ",
    "invalid --security-opt",
    "invalid volume specification",
    "invalid mode: ",
    "bad format for links",
    "empty string specified for links",
    "could not select device driver",
    "CDI device injection failed",
    "Cgroup is not supported",
    "invalid UsernsMode: ",
    "is not supported: ",
];

/// Values that inspect shows in a form of their own, by the end of their paths.
const NORMALIZED: &[&str] = &[
    "ArgsEscaped",
    "Cmd",
    "Entrypoint",
    "Env",
    "PidsLimit",
    "MemorySwap",
    "MemorySwappiness",
    "NetworkMode",
    "Binds",
    "CpuPercent",
    "CpuCount",
    "ShmSize",
    "Runtime",
    "WorkingDir",
    "Hostname",
    "MacAddress",
    "RestartPolicy",
    "LogConfig",
    "KernelMemory",
    "OomKillDisable",
    "BlkioWeight",
    "IpcMode",
    "CgroupnsMode",
    "Healthcheck",
    "SecurityOpt",
    "MaskedPaths",
    "ReadonlyPaths",
    "ConsoleSize",
    "PortBindings",
    "ExposedPorts",
    "Links",
    "Devices",
    "DeviceRequests",
    "Mounts",
    "BlkioWeightDevice",
    "Ulimits",
    "Image",
];

/// Whether what is shown has all that was asked for; it may have more, and nothing for what is empty.
fn holds(asked: &Value, shown: &Value) -> bool {
    let nothing = [json!(0), json!(""), json!(false), json!([]), json!({})];
    match (asked, shown) {
        _ if asked == shown => true,
        (asked, Value::Null) => asked.is_null() || nothing.contains(asked),
        (Value::Null, shown) => nothing.contains(shown),
        (Value::Object(asked), Value::Object(shown)) => asked
            .iter()
            .all(|(name, value)| holds(value, shown.get(name).unwrap_or(&Value::Null))),
        (Value::Array(asked), Value::Array(shown)) => {
            let pairs = asked.iter().zip(shown);
            asked.len() == shown.len() && pairs.into_iter().all(|(one, other)| holds(one, other))
        }
        _ => false,
    }
}

/// What was asked for in words that inspect uses, too, has to be shown.
fn shows(asked: &Value, shown: &Value) -> Option<String> {
    for (name, value) in asked.as_object().into_iter().flatten() {
        let known = !NORMALIZED.contains(&name.as_str())
            && !matches!(name.as_str(), "HostConfig" | "NetworkingConfig");
        if known && !holds(value, &shown[name]) {
            return Some(format!("{name}: {value} is shown as {}", shown[name]));
        }
    }
    None
}

fn count(engine: &Engine, path: &str, key: &str) -> usize {
    let (status, list) = engine.http().get(path);
    assert_eq!(status, 200, "{list}");
    let list = if key.is_empty() {
        list
    } else {
        list[key].clone()
    };
    list.as_array().map_or(0, Vec::len)
}

#[test]
fn any_request_is_done_in_full_or_refused_in_words_and_leaves_nothing() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let engine = Engine::start();
    if !engine.is_own() {
        // Counting what is left needs an engine that nobody else uses.
        return;
    }
    let text = std::fs::read_to_string(golden("create-schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut random = Random(setting("ARCA_TEST_SEED", 20_251_122));
    let mut kept: Vec<(String, Value)> = Vec::new();
    let mut findings = Vec::new();
    for _ in 0..setting("ARCA_TEST_ROUNDS", 300) {
        let body = random.body(&schema);
        let (status, answer) = engine.http().post("/v1.51/containers/create", &body);
        if status == 201 {
            let id = answer["Id"].as_str().unwrap().to_owned();
            let shown = engine.inspect(&id);
            let lost = shows(&body, &shown["Config"])
                .or_else(|| shows(&body["HostConfig"], &shown["HostConfig"]));
            findings.extend(lost.map(|lost| format!("{lost}: {body}")));
            kept.push((id, shown));
            continue;
        }
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{status} without words: {body}");
        let known = FAILURES.iter().any(|text| message.contains(text));
        if !(400..500).contains(&status) && !known {
            findings.push(format!("{status} {message}: {body}"));
        }
        assert_eq!(
            count(&engine, "/containers/json?all=1", ""),
            kept.len(),
            "{body}"
        );
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(
        kept.len() > 20,
        "only {} requests were accepted",
        kept.len()
    );
    engine.stop();
    engine.launch();
    for (id, before) in &kept {
        assert_eq!(engine.inspect(id), *before);
        let path = format!("/containers/{id}?force=1&v=1");
        assert_eq!(engine.http().delete(&path).0, 204);
    }
    let named = |volume: &&Value| volume["Name"].as_str().is_some_and(|name| name.len() < 64);
    let (_, volumes) = engine.http().get("/volumes");
    let left: Vec<&Value> = volumes["Volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    assert!(left.iter().all(named), "{left:?}");
    let snapshots = engine.data_root().join("containers");
    assert_eq!(std::fs::read_dir(snapshots).unwrap().count(), 0);
}
