//! `userns-remap`: containers have users of their own, and everything that goes in and out of them is as the
//! container sees it.
//!
//! Another engine is tested when it runs with `--userns-remap`.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "helpers of tests fail where they stand; a story is told in one piece, and what is not tested is said"
)]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use arca_testkit::{Engine, Options, Output};

/// Whose subordinate IDs are used by an engine of the test's own.
const USER: &str = "arcatest";
/// The first of them.
const FIRST: u32 = 200_000;

/// An engine whose containers have a user namespace, and their root outside of it.
fn engine() -> Option<(Engine, u32)> {
    let host = |file| std::fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
    let (passwd, group) = (host("passwd"), host("group"));
    let engine = Engine::start_with(Options {
        flags: vec![format!("--userns-remap={USER}")],
        etc: vec![
            (
                "passwd",
                format!("{passwd}{USER}:x:54321:54321::/:/bin/false\n"),
            ),
            ("group", format!("{group}{USER}:x:54321:\n")),
            ("subuid", format!("{USER}:{FIRST}:65536\n")),
            ("subgid", format!("54321:{FIRST}:65536\n")),
        ],
        ..Options::default()
    });
    let options = ["info", "--format", "{{json .SecurityOptions}}"];
    let remaps = engine.docker(&options).ok().contains("name=userns");
    assert!(remaps || !engine.is_own());
    if !remaps {
        println!("not tested: the engine runs without --userns-remap");
        return None;
    }
    let map = run(&engine, &[], "cat /proc/self/uid_map").ok();
    let numbers: Vec<u32> = map.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let [inside, first, count] = *numbers.as_slice() else {
        panic!("{map}")
    };
    assert_eq!((inside, count), (0, 65536));
    assert!(!engine.is_own() || first == FIRST);
    Some((engine, first))
}

fn run(engine: &Engine, options: &[&str], script: &str) -> Output {
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", script]);
    engine.docker(&arguments)
}

fn start(engine: &Engine, options: &[&str], script: &str) -> String {
    let name = engine.name("user");
    let mut arguments = vec!["run", "-d", "--name", &name];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", script]);
    engine.docker(&arguments).ok();
    name
}

fn exec(engine: &Engine, container: &str, script: &str) -> String {
    engine.docker(&["exec", container, "sh", "-c", script]).ok()
}

/// Owner and group of what is in the archive that the arguments write, by path.
fn owners(engine: &Engine, arguments: &[&str], path: &str) -> String {
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut command = engine.docker_command(arguments);
    command.stdout(archive.reopen().unwrap());
    assert!(command.status().unwrap().success());
    let mut tar = std::process::Command::new("tar");
    let listed = tar.args(["--list", "--verbose", "--numeric-owner", "--file"]);
    let output = listed.arg(archive.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.ends_with(&format!(" {path}")));
    let line = line.unwrap_or_else(|| panic!("no {path} in {text}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_containers_root_is_somebody_else_outside_and_root_inside() {
    let Some((engine, first)) = engine() else {
        return;
    };
    let name = start(
        &engine,
        &["-p", "127.0.0.1::80"],
        "echo served >/index.html; echo logged; exec httpd -f -p 80 -h /",
    );
    // Outside: processes belong to the first subordinate ID, and are in a user namespace.
    let pid = engine.inspect(&name)["State"]["Pid"].as_u64().unwrap();
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let status = of("status");
    for id in ["Uid:", "Gid:"] {
        let line = status.lines().find(|line| line.starts_with(id)).unwrap();
        assert_eq!(line.split_whitespace().nth(1).unwrap(), first.to_string());
    }
    let map: Vec<String> = of("gid_map")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(map, ["0".to_owned(), first.to_string(), "65536".to_owned()]);
    let users = std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(users, std::fs::read_link("/proc/self/ns/user").unwrap());

    // Inside: root owns the files, the network, its kernel parameters and the terminals.
    let script = "id -u; stat -c %u:%g / /bin /etc/hosts /etc/resolv.conf /dev /dev/pts /dev/shm";
    assert_eq!(
        run(&engine, &[], script).ok(),
        format!("0{}", "\n0:0".repeat(7))
    );
    let script = "ping -c 1 -q 127.0.0.1 >/dev/null && echo pings; ip link set lo down && echo down; \
                  grep -c ' /sys sysfs ' /proc/mounts; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(
        run(&engine, &["--cap-add=NET_ADMIN"], script).ok(),
        "pings\ndown\n1\n0"
    );
    let options = [
        "--sysctl=net.ipv4.ip_forward=0",
        "--sysctl=kernel.msgmax=9000",
    ];
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    assert_eq!(run(&engine, &options, script).ok(), "0\n9000");
    let script = "mkdir /mine && mount -t tmpfs none /mine && echo mounted";
    let options = [
        "--cap-add=SYS_ADMIN",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
    ];
    assert_eq!(run(&engine, &options, script).ok(), "mounted");
    let options = ["-t"];
    let script = "stat -c %u /dev/pts/0 /dev/console; tty";
    assert_eq!(
        run(&engine, &options, script).ok().replace('\r', ""),
        "0\n0\n/dev/pts/0"
    );
    // A user of the container reopens its streams.
    let both = run(
        &engine,
        &["-u", "1000:1000"],
        "id -u; echo out >/dev/stdout; echo err >/dev/stderr",
    );
    assert_eq!(
        (both.stdout.trim(), both.stderr.trim()),
        ("1000\nout", "err")
    );
    let fed = engine.docker_with(&["run", "-i", "--rm", "busybox", "cat"], b"through");
    assert_eq!(fed.ok(), "through");

    // What goes on in a container that runs.
    assert_eq!(
        exec(
            &engine,
            &name,
            "id -u; touch /new; stat -c %u:%g /new; stat -Lc %u /proc/self/fd/1"
        ),
        "0\n0:0\n0"
    );
    assert_eq!(
        engine
            .docker(&["exec", "-u", "5:6", &name, "id", "-u"])
            .ok(),
        "5"
    );
    assert_eq!(engine.docker(&["logs", &name]).ok(), "logged");
    let port = engine.docker(&["port", &name, "80/tcp"]).ok();
    assert_eq!(get(&engine, &port), "served");

    // Namespaces are shared with the container that has them.
    let net = format!("--network=container:{name}");
    let script = "cat /proc/self/uid_map; wget -qO- 127.0.0.1";
    let shared = run(&engine, &[&net], script).ok();
    assert!(
        shared.ends_with("served") && shared.contains(&first.to_string()),
        "{shared}"
    );
    let pids = format!("--pid=container:{name}");
    assert_eq!(run(&engine, &[&pids], "cat /proc/1/comm").ok(), "httpd");
    let giver = start(
        &engine,
        &["--ipc=shareable"],
        "echo x >/dev/shm/x; exec sleep 600",
    );
    let ipc = format!("--ipc=container:{giver}");
    assert_eq!(
        run(&engine, &[&ipc], "cat /dev/shm/x; stat -c %u /dev/shm/x").ok(),
        "x\n0"
    );
}

/// What an HTTP server of the engine's host answers.
fn get(engine: &Engine, address: &str) -> String {
    engine.in_netns(|| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split("\r\n\r\n").nth(1).unwrap().trim().to_owned()
    })
}

#[test]
fn files_that_go_in_and_out_have_the_owners_of_the_container() {
    let Some((engine, first)) = engine() else {
        return;
    };
    // A volume has what the image has at its place, and keeps owners.
    let (volume, image) = (engine.name("volume"), engine.name("image"));
    let source = start(
        &engine,
        &[],
        "mkdir -m 750 /data; echo x >/data/x; chown -R 3:4 /data; rm /bin/vi",
    );
    engine.docker(&["wait", &source]).ok();
    engine.docker(&["commit", &source, &image]).ok();
    let mount = format!("{volume}:/data");
    let in_volume = |script: &str| {
        let arguments = ["run", "--rm", "-v", &mount, &image, "sh", "-c", script];
        engine.docker(&arguments).ok()
    };
    assert_eq!(
        in_volume(
            "stat -c %u:%g:%a /data /data/x; touch /data/new; chown 7:8 /data/new; ls /bin/vi 2>&1 | wc -l"
        ),
        "3:4:750\n3:4:644\n1"
    );
    assert_eq!(in_volume("stat -c %u:%g /data/new; rm /data/new"), "7:8");
    let memory = ["--tmpfs", "/t", "--mount=type=tmpfs,dst=/u"];
    assert_eq!(
        run(&engine, &memory, "touch /t/x; stat -c %u:%g /t /t/x /u").ok(),
        "0:0\n0:0\n0:0"
    );

    // A bind shows the owners there are: those of the container's users are the subordinate IDs.
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("file");
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::chown(host.path(), Some(first + 5), Some(first + 6)).unwrap();
    let bind = format!("{}:/host", host.path().display());
    let script = "stat -c %u:%g /host /host/file; touch /host/made; stat -c %u:%g /host/made";
    assert_eq!(
        run(&engine, &["-v", &bind], script).ok(),
        "5:6\n65534:65534\n0:0"
    );
    let made = std::fs::metadata(host.path().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (first, first));

    // Archives of a container that runs, and of one that does not.
    let name = start(&engine, &["-v", &bind, "-v", &mount], "exec sleep 600");
    exec(&engine, &name, "touch /own; chown 9:10 /own");
    std::fs::write(&file, "copied").unwrap();
    std::os::unix::fs::chown(&file, Some(11), Some(12)).unwrap();
    let from = file.display().to_string();
    for (running, suffix) in [(true, "running"), (false, "stopped")] {
        if !running {
            engine.docker(&["stop", "-t", "0", &name]).ok();
        }
        for place in ["/", "/data/", "/host/"] {
            let to = format!("{name}:{place}{suffix}");
            engine.docker(&["cp", "-a", &from, &to]).ok();
        }
        // Dockerd has the outer owners in the archives of `docker cp`.
        let at = format!("{name}:/own");
        let found = owners(&engine, &["cp", &at, "-"], "own");
        assert!(found == "9/10" || !engine.is_own(), "{found}");
        assert_eq!(owners(&engine, &["export", &name], "own"), "9/10");
        let bound = std::fs::metadata(host.path().join(suffix)).unwrap();
        assert_eq!((bound.uid(), bound.gid()), (first + 11, first + 12));
    }
    engine.docker(&["start", &name]).ok();
    for suffix in ["running", "stopped"] {
        let script = format!("stat -c %u:%g /{suffix} /data/{suffix} /host/{suffix}");
        assert_eq!(exec(&engine, &name, &script), "11:12\n11:12\n11:12");
    }
    // An owner that the container cannot have.
    std::os::unix::fs::chown(&file, Some(70_000), Some(0)).unwrap();
    let refused = engine.docker(&["cp", "-a", &from, &format!("{name}:/no")]);
    assert!(
        refused
            .stderr
            .contains("70000 cannot be mapped to a host ID"),
        "{refused:?}"
    );
    // An image of it.
    let second = engine.name("second");
    engine.docker(&["commit", &name, &second]).ok();
    let arguments = [
        "run", "--rm", &second, "stat", "-c", "%u:%g", "/own", "/running",
    ];
    assert_eq!(engine.docker(&arguments).ok(), "9:10\n11:12");
    engine.docker(&["rm", "-f", &name]).ok();
    engine.docker(&["volume", "rm", &volume]).ok();
    engine.docker(&["rmi", &second, &image]).ok();
}

#[test]
fn builds_run_with_the_users_of_containers() {
    let Some((engine, first)) = engine() else {
        return;
    };
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("file"), "x").unwrap();
    let dockerfile = "FROM busybox AS one\n\
        COPY file /file\n\
        COPY --chown=5:6 file /theirs\n\
        RUN --mount=type=cache,target=/cache --mount=type=bind,target=/context \
            stat -c %u:%g /file /theirs /cache /context/file >/seen && cat /proc/self/uid_map >>/seen \
            && touch /made && chown 8:9 /made\n\
        FROM busybox\n\
        COPY --from=one /made /seen /\n\
        RUN stat -c %u:%g /made >>/seen\n";
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let directory = context.path().display().to_string();
    let image = engine.name("image");
    engine
        .docker(&["build", "--no-cache", "-q", "-t", &image, &directory])
        .ok();
    let arguments = [
        "run",
        "--rm",
        &image,
        "sh",
        "-c",
        "cat /seen; stat -c %u:%g /made",
    ];
    let seen = engine.docker(&arguments).ok();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..4], ["0:0", "5:6", "0:0", "0:0"]);
    assert!(lines[4].contains(&first.to_string()), "{seen}");
    assert_eq!(lines[5..], ["8:9", "8:9"]);
    engine.docker(&["rmi", &image]).ok();
}

#[test]
fn the_hosts_namespaces_are_for_containers_of_the_hosts_users() {
    let Some((engine, _)) = engine() else { return };
    for (option, text) in [
        (
            "--privileged",
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (
            "--network=host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            "--pid=host",
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
    ] {
        let refused = run(&engine, &[option], "true").expect(125);
        assert!(refused.stderr.contains(text), "{refused:?}");
        let script = "readlink /proc/self/ns/user";
        let host = std::fs::read_link("/proc/self/ns/user").unwrap();
        let allowed = run(&engine, &["--userns=host", option], script).ok();
        assert_eq!(allowed, host.to_string_lossy());
    }
    let name = start(&engine, &["--userns=host"], "exec sleep 600");
    assert_eq!(engine.inspect(&name)["HostConfig"]["UsernsMode"], "host");
    let status = format!("/proc/{}/status", engine.inspect(&name)["State"]["Pid"]);
    assert!(
        std::fs::read_to_string(status)
            .unwrap()
            .contains("Uid:\t0\t0")
    );
}

#[test]
fn containers_go_on_when_the_engine_ends() {
    let Some((engine, _)) = engine() else { return };
    if !engine.is_own() {
        return;
    }
    let name = start(
        &engine,
        &["-p", "127.0.0.1::80"],
        "echo served >/index.html; exec httpd -f -p 80 -h /",
    );
    let port = engine.docker(&["port", &name, "80/tcp"]).ok();
    engine.kill_9();
    engine.launch();
    assert_eq!(get(&engine, &port), "served");
    assert_eq!(
        exec(
            &engine,
            &name,
            "id -u; echo again >/index.html; stat -c %u:%g /index.html"
        ),
        "0\n0:0"
    );
    let net = format!("--network=container:{name}");
    assert_eq!(run(&engine, &[&net], "wget -qO- 127.0.0.1").ok(), "again");
    engine.docker(&["restart", "-t", "0", &name]).ok();
    let port = engine.docker(&["port", &name, "80/tcp"]).ok();
    assert_eq!(get(&engine, &port), "served");
}

#[test]
fn the_user_for_default_is_made() {
    let host = |file| std::fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
    let engine = Engine::start_with(Options {
        flags: vec!["--userns-remap=default".to_owned()],
        etc: vec![
            ("subuid", "somebody:100000:65536\n".to_owned()),
            ("subgid", String::new()),
            ("passwd", host("passwd")),
        ],
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/gid_map";
    let maps = run(&engine, &[], script).ok();
    let numbers: Vec<&str> = maps.split_whitespace().collect();
    assert_eq!(numbers, ["0", "165536", "65536", "0", "100000", "65536"]);
}
