//! What clients in the field have come to rely on, asked for without any client in between: headers, hijacked
//! streams, and the words of refusals.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use arca_testkit::{Engine, demux};
use serde_json::{Value, json};

const UPGRADE: &[(&str, &str)] = &[
    ("Connection", "Upgrade"),
    ("Upgrade", "tcp"),
    ("Content-Type", "application/json"),
];
const RAW: &str = "application/vnd.docker.raw-stream";
const FRAMED: &str = "application/vnd.docker.multiplexed-stream";

/// Starts a container, and returns its name and ID.
fn running(engine: &Engine, rest: &[&str]) -> (String, String) {
    let name = engine.name("clients");
    let id = engine.run_detached(&name, rest).ok();
    (name, id)
}

/// Describes an exec; returns its ID.
fn exec(engine: &Engine, container: &str, body: &Value) -> String {
    let (status, made) = engine
        .http()
        .post(&format!("/containers/{container}/exec"), body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

/// Starts an exec by an upgrade or without one; returns status, content type and all that comes.
fn start(
    engine: &Engine,
    exec: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> (u16, String, Vec<u8>) {
    let path = format!("/exec/{exec}/start");
    let mut answer = engine.http().send("POST", &path, headers, body);
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    (answer.status, kind, answer.bytes())
}

#[test]
fn every_answer_says_who_answers_and_a_version_is_checked_where_there_is_a_route() {
    let engine = Engine::start();
    for (method, path, status) in [
        ("GET", "/_ping", 200),
        ("HEAD", "/_ping", 200),
        ("GET", "/v1.24/containers/json", 200),
        ("GET", "/containers/nosuch/json", 404),
        ("POST", "/v1.51/containers/nosuch/start", 404),
        ("GET", "/v1.23/info", 400),
        ("GET", "/v1.52/info", 400),
        // What is no path is none in any version.
        ("GET", "/v1.52/nosuch", 404),
        ("POST", "/v1.23/_ping", 404),
        ("HEAD", "/containers/json", 404),
        ("PATCH", "/info", 404),
        ("GET", "/networks/", 200),
        ("GET", "/containers/", 404),
        ("GET", "/containers/nosuch/checkpoints", 501),
    ] {
        let answer = engine.http().send(method, path, &[], b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(
            answer
                .header("server")
                .unwrap_or_default()
                .starts_with("Docker/")
                || status == 404,
            "{method} {path}: {:?}",
            answer.headers
        );
        assert_eq!(answer.header("allow"), None, "{method} {path}");
        if status == 200 {
            assert_eq!(answer.header("api-version"), Some("1.51"), "{path}");
            assert_eq!(answer.header("ostype"), Some("linux"), "{path}");
            assert_eq!(
                answer.header("docker-experimental"),
                Some("false"),
                "{path}"
            );
        }
    }
    let ping = engine.http().send("GET", "/_ping", &[], b"");
    assert_eq!(ping.header("builder-version"), Some("2"));
    assert_eq!(ping.header("swarm"), Some("inactive"));
    assert_eq!(ping.header("pragma"), Some("no-cache"));
    // Whoever announces BuildKit has to speak HTTP/2 there.
    let h2c = [("Connection", "Upgrade"), ("Upgrade", "h2c")];
    let answer = engine.http().send("POST", "/grpc", &h2c, b"");
    assert_eq!(
        (answer.status, answer.header("upgrade")),
        (101, Some("h2c"))
    );
    let (status, refused) = engine.http().post("/grpc", &json!(null));
    assert_eq!(
        (status, &refused["message"]),
        (500, &json!("no upgrade proto in request"))
    );
}

#[test]
fn a_stream_is_framed_or_raw_and_ends_with_its_process() {
    let engine = Engine::start();
    let (name, _) = running(&engine, &["busybox", "sleep", "600"]);
    let both = json!({
        "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 5"],
        "AttachStdout": true, "AttachStderr": true,
    });
    for (headers, status, kind) in [(UPGRADE, 101, FRAMED), (&UPGRADE[2..], 200, RAW)] {
        let id = exec(&engine, &name, &both);
        let (found, content, bytes) = start(&engine, &id, b"{}", headers);
        assert_eq!((found, content.as_str()), (status, kind));
        assert_eq!(demux(&bytes), (b"out\n".to_vec(), b"err\n".to_vec()));
        // The stream has ended, so the exit code is known.
        let (_, inspected) = engine.http().get(&format!("/exec/{id}/json"));
        assert_eq!(
            (&inspected["Running"], &inspected["ExitCode"]),
            (&json!(false), &json!(5))
        );
    }
    let terminal = json!({"Cmd": ["sh", "-c", "stty size"], "AttachStdout": true, "Tty": true});
    let id = exec(&engine, &name, &terminal);
    let body = br#"{"Tty":true,"ConsoleSize":[20,30]}"#;
    let (status, kind, bytes) = start(&engine, &id, body, UPGRADE);
    assert_eq!(
        (status, kind.as_str(), bytes.as_slice()),
        (101, RAW, &b"20 30\r\n"[..])
    );

    // Before 1.42 nothing tells the two apart.
    for (version, kind) in [("/v1.41", RAW), ("/v1.42", FRAMED)] {
        let path = format!("{version}/containers/{name}/logs?stdout=1");
        let answer = engine.http().send("GET", &path, &[], b"");
        assert_eq!(answer.header("content-type"), Some(kind), "{version}");
        let path = format!("{version}/containers/{name}/attach?logs=1&stdout=1");
        let answer = engine.http().send("POST", &path, UPGRADE, b"");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (101, Some(kind))
        );
    }
}

#[test]
fn the_end_of_input_is_heard_and_output_goes_on_to_its_end() {
    let engine = Engine::start();
    let script = "cat; echo end; echo error >&2";
    let (name, _) = running(&engine, &["busybox", "sleep", "600"]);
    let body = json!({
        "Cmd": ["sh", "-c", script],
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
    });
    let id = exec(&engine, &name, &body);
    // The body is a chunk here: nothing of it may reach the process.
    let mut stream = engine.http().connect();
    let head = format!(
        "POST /exec/{id}/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 UPGRADED\r\n"));
    stream.write_all(b"word\n").unwrap();
    let mut echo = [0; 13];
    stream.read_exact(&mut echo).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(demux(&echo), (b"word\n".to_vec(), Vec::new()));
    assert_eq!(demux(&rest), (b"end\n".to_vec(), b"error\n".to_vec()));

    // And of a container that is attached to before it starts, as clients do.
    let once = engine.name("clients");
    let create = [
        "create", "-i", "--rm", "--name", &once, "busybox", "sh", "-c", script,
    ];
    engine.docker(&create).ok();
    let path = format!("/containers/{once}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let answer = engine.http().send("POST", &path, UPGRADE, b"");
    let wait = format!("/containers/{once}/wait?condition=removed");
    let mut gone = engine.http().send("POST", &wait, &[], b"");
    engine.docker(&["start", &once]).ok();
    let (early, mut stream) = answer.hijack();
    stream.write_all(b"word\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = early;
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(demux(&all), (b"word\nend\n".to_vec(), b"error\n".to_vec()));
    assert_eq!(gone.json(), (200, json!({"StatusCode": 0})));
}

#[test]
fn an_exec_runs_once_and_says_so_to_who_attaches() {
    let engine = Engine::start();
    let (name, _) = running(&engine, &["busybox", "sleep", "600"]);
    let sleeps = json!({"Cmd": ["sleep", "600"], "AttachStdout": true});
    let id = exec(&engine, &name, &sleeps);
    let detach = br#"{"Detach":true}"#;
    assert_eq!(start(&engine, &id, detach, &UPGRADE[2..]).0, 200);
    let told = format!("exec command {id} is already running");
    let (status, _, bytes) = start(&engine, &id, b"{}", UPGRADE);
    assert_eq!(status, 101);
    assert_eq!(
        demux(&bytes),
        (format!("{told}\r\n").into_bytes(), Vec::new())
    );
    let (status, again) = engine
        .http()
        .post(&format!("/exec/{id}/start"), &json!({"Detach": true}));
    assert_eq!((status, &again["message"]), (409, &json!(told)));
    // A size means nothing to what has no terminal.
    let (status, _) = engine
        .http()
        .post(&format!("/exec/{id}/resize?h=5&w=5"), &json!(null));
    assert_eq!(status, 200);

    let id = exec(
        &engine,
        &name,
        &json!({"Cmd": ["true"], "AttachStdout": true}),
    );
    assert_eq!(start(&engine, &id, b"{}", &UPGRADE[2..]).0, 200);
    let (status, _, bytes) = start(&engine, &id, br#"{"Tty":true}"#, &UPGRADE[2..]);
    let text = format!("exec command {id} has already run\r\n");
    assert_eq!(
        (status, String::from_utf8_lossy(&bytes).as_ref()),
        (200, text.as_str())
    );

    // Where it is to run is looked at when it runs.
    let lost = json!({"Cmd": ["true"], "AttachStdout": true, "WorkingDir": "nowhere"});
    let id = exec(&engine, &name, &lost);
    let (_, _, bytes) = start(&engine, &id, b"{}", &UPGRADE[2..]);
    let text = "OCI runtime exec failed: exec failed: Cwd must be an absolute path\r\n";
    assert_eq!(demux(&bytes).0, text.as_bytes());
}

/// A request, and the status and the message of its answer.
type Refusal<'a> = (&'a str, &'a str, Value, u16, String);

fn all_refused(engine: &Engine, cases: &[Refusal<'_>]) {
    for (method, path, body, status, message) in cases {
        let bytes = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let headers: &[_] = if bytes.is_empty() { &[] } else { &UPGRADE[2..] };
        let mut answer = engine.http().send(method, path, headers, &bytes);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let (found, told) = answer.json();
        assert_eq!(
            (found, told),
            (*status, json!({ "message": message })),
            "{method} {path}"
        );
    }
}

#[test]
fn what_is_wrong_with_images_is_said_so() {
    let engine = Engine::start();
    let platform = "/images/create?fromSrc=-&platform";
    let cases = [
        ("DELETE", "/images/%20", 400, "image name cannot be blank"),
        (
            "POST",
            &format!("{platform}=macos"),
            400,
            "operating system is not supported",
        ),
        (
            "POST",
            &format!("{platform}=linux%2F"),
            400,
            "\"\" is an invalid component of \"linux/\": platform specifier component must match \
             \"^[A-Za-z0-9_.-]+$\": invalid argument",
        ),
        (
            "POST",
            "/images/create?fromImage=scratch",
            403,
            "'scratch' is a reserved name",
        ),
    ];
    let cases = cases.map(|(method, path, status, message)| {
        (method, path, json!(null), status, message.to_owned())
    });
    all_refused(&engine, &cases);
}

#[test]
fn what_is_wrong_is_said_in_the_words_that_clients_look_for() {
    let engine = Engine::start();
    let (name, id) = running(&engine, &["busybox", "sleep", "600"]);
    let (_, other) = running(&engine, &["busybox", "true"]);
    engine.docker(&["wait", &other]).ok();
    let network = engine.name("clients");
    engine.docker(&["network", "create", &network]).ok();
    let cases = [
        ("POST", "/containers/create", json!({"Image": "nosuch:x"}), 404, "No such image: nosuch:x".to_owned()),
        ("POST", "/containers/create", json!({"Image": "NOPE"}), 400,
            "invalid reference format: repository name (library/NOPE) must be lowercase".to_owned()),
        ("POST", "/containers/create", json!({"HostConfig": {}}), 400,
            "config cannot be empty in order to create a container".to_owned()),
        ("POST", &format!("/containers/create?name={name}"), json!({"Image": "busybox"}), 409, format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove \
             (or rename) that container to be able to reuse that name.")),
        ("GET", "/containers/nosuch/json", json!(null), 404, "No such container: nosuch".to_owned()),
        ("POST", &format!("/containers/{other}/kill"), json!(null), 409,
            format!("cannot kill container: {other}: container {other} is not running")),
        ("POST", &format!("/containers/{other}/exec"), json!({"Cmd": ["true"]}), 409,
            format!("container {other} is not running")),
        ("DELETE", &format!("/containers/{name}"), json!(null), 409, format!(
            "cannot remove container \"{name}\": container is running: stop the container before removing or force \
             remove")),
        ("POST", "/networks/create", json!({"Name": network}), 409,
            format!("network with name {network} already exists")),
        ("POST", &format!("/commit?container={name}&repo=x&tag=a%20b"), json!(null), 400,
            "invalid tag format".to_owned()),
        ("GET", "/services", json!(null), 503, "This node is not a swarm manager. Use \"docker swarm init\" or \
            \"docker swarm join\" to connect this node to swarm and try again.".to_owned()),
        ("POST", &format!("/containers/{name}/start?checkpoint=x"), json!(null), 400,
            "checkpoint is only supported in experimental mode".to_owned()),
        ("POST", &format!("/containers/{name}/stop?t=99999999999999999999"), json!(null), 500,
            "strconv.Atoi: parsing \"99999999999999999999\": value out of range".to_owned()),
        ("GET", &format!("/containers/{name}/top?ps_args=bogus!"), json!(null), 500,
            "ps: error: unsupported option (BSD syntax)".to_owned()),
        ("POST", &format!("/containers/{name}/exec"), json!({"Cmd": 5}), 400,
            "invalid JSON: json: cannot unmarshal number into Go struct field ExecOptions.Cmd of type []string".to_owned()),
        ("POST", &format!("/containers/{name}/update"), json!([]), 400,
            "invalid JSON: json: cannot unmarshal array into Go value of type container.UpdateConfig".to_owned()),
        ("POST", "/build/prune?filters=%7B%22bogus%22%3A%5B%22x%22%5D%7D", json!(null), 400,
            "failed to prune build cache: invalid filter 'bogus'".to_owned()),
    ];
    all_refused(&engine, &cases);
    engine.docker(&["network", "rm", &network]).ok();
}

#[test]
fn a_container_is_shown_with_what_clients_read_of_it() {
    let engine = Engine::start();
    let name = engine.name("clients");
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "600"],
        "ExposedPorts": {"80/tcp": {}, "81/tcp": {}, "90-92/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}], "82/tcp": []}},
    });
    let (status, made) = engine
        .http()
        .post(&format!("/containers/create?name={name}"), &body);
    assert_eq!((status, &made["Warnings"]), (201, &json!([])));
    let id = made["Id"].as_str().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    engine.docker(&["start", &name]).ok();
    for text in [&id[..12], &id[..40], &name] {
        assert_eq!(engine.inspect(text)["Id"], id, "{text}");
    }
    assert_eq!(engine.docker(&["exec", &name, "hostname"]).ok(), id[..12]);

    let shown = engine.inspect(&name);
    let settings = &shown["NetworkSettings"];
    let ports = settings["Ports"].as_object().unwrap();
    let published = ports["80/tcp"].as_array().unwrap();
    assert_eq!(published[0]["HostIp"], "0.0.0.0");
    assert!(
        published[0]["HostPort"]
            .as_str()
            .unwrap()
            .parse::<u16>()
            .unwrap()
            > 0
    );
    assert_eq!(ports["81/tcp"], Value::Null);
    assert!(!ports.contains_key("82/tcp"), "{settings}");
    let (_, bridge) = engine.http().get("/networks/bridge");
    assert_eq!(settings["Networks"]["bridge"]["NetworkID"], bridge["Id"]);
    // Gone in 1.52 only.
    for field in ["IPAddress", "Gateway", "MacAddress", "Bridge", "SandboxKey"] {
        assert!(settings[field].is_string(), "{field} in {settings}");
    }
    for (field, value) in [("ExecIDs", json!(null)), ("Args", json!(["600"]))] {
        assert_eq!(shown[field], value, "{field}");
    }
    let (_, usage) = engine.http().get("/system/df");
    for list in ["Images", "Containers", "Volumes", "BuildCache"] {
        assert!(usage.get(list).is_some(), "{list} in {usage}");
    }
    // Every version is told what a network does.
    for version in ["/v1.24", "/v1.47", ""] {
        let (_, network) = engine.http().get(&format!("{version}/networks/bridge"));
        assert_eq!(network["EnableIPv4"], true, "{version}");
    }

    engine.docker(&["kill", &name]).ok();
    engine.docker(&["wait", &name]).ok();
    // What has ended stays, is empty where nothing is known, and can be asked for what it did.
    let path = format!("/containers/{name}/stats?stream=0&one-shot=1");
    let (status, stats) = engine.http().get(&path);
    assert_eq!((status, &stats["name"]), (200, &json!(format!("/{name}"))));
    let shown = engine.inspect(&name);
    assert_eq!(shown["State"]["ExitCode"], 137);
    assert_eq!(shown["NetworkSettings"]["Ports"], json!({}));
}

#[test]
fn filters_come_in_any_form_and_flags_in_any_word() {
    let engine = Engine::start();
    let (name, _) = running(&engine, &["-l", &engine.name("label"), "busybox", "true"]);
    engine.docker(&["wait", &name]).ok();
    let list = |query: &str| {
        let (status, list) = engine.http().get(&format!("/containers/json?{query}"));
        assert_eq!(status, 200, "{query}: {list}");
        list.as_array().unwrap().len()
    };
    let old = format!("filters=%7B%22name%22%3A%5B%22{name}%22%5D%7D");
    let new = format!("filters=%7B%22name%22%3A%7B%22{name}%22%3Atrue%7D%7D");
    for filter in [&old, &new] {
        for all in ["1", "true", "True", "yes", "x"] {
            assert_eq!(list(&format!("{filter}&all={all}")), 1, "{all}");
        }
        for all in ["0", "false", "False", "no", "none", ""] {
            assert_eq!(list(&format!("{filter}&all={all}")), 0, "{all}");
        }
    }
    // `null` is no filter.
    assert!(list("filters=null&all=1") > 0);
    let (status, refused) = engine.http().get("/containers/json?filters=%5B%5D");
    assert_eq!(
        (status, &refused["message"]),
        (400, &json!("invalid filter"))
    );
}

#[test]
fn a_signal_that_there_is_not_is_not_heard_and_the_end_comes_all_the_same() {
    let engine = Engine::start();
    let (name, _) = running(&engine, &["busybox", "sleep", "600"]);
    let (status, _) = engine
        .http()
        .post(&format!("/containers/{name}/stop?signal=99"), &json!(null));
    assert_eq!(status, 204);
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 137);
}

#[test]
fn a_container_that_does_not_run_comes_and_goes_without_a_word_of_the_network() {
    let engine = Engine::start();
    let network = engine.name("clients");
    let name = engine.name("clients");
    let mut events = engine.events("{\"type\":[\"network\"]}");
    let made = engine.docker(&["network", "create", &network]).ok();
    engine
        .docker(&["create", "--name", &name, "busybox", "true"])
        .ok();
    engine.docker(&["network", "connect", &network, &name]).ok();
    engine
        .docker(&["network", "disconnect", &network, &name])
        .ok();
    engine.docker(&["network", "rm", &network]).ok();
    events.wait("destroy", &made);
    assert_eq!(events.actions(&made), ["create", "destroy"]);
}
