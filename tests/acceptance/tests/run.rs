//! `docker run` and what its common options do inside the container.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::Engine;
use serde_json::json;

#[test]
fn version_and_info_are_rendered() {
    let engine = Engine::start();
    let version = engine.docker(&["version"]).ok();
    assert!(
        version.contains("Server:") && version.contains("API version:"),
        "{version}"
    );
    let api = engine
        .docker(&["version", "--format", "{{.Server.APIVersion}}"])
        .ok();
    assert_eq!(api, "1.51");
    let info = engine.docker(&["info"]).expect(0);
    assert!(info.stdout.contains("Storage Driver:"), "{}", info.stdout);
    assert!(info.stdout.contains("Cgroup Driver:"), "{}", info.stdout);
    let os = engine
        .docker(&["info", "--format", "{{.OSType}} {{.NCPU}} {{.Images}}"])
        .ok();
    assert!(os.starts_with("linux "), "{os}");
}

#[test]
fn a_command_runs_and_its_output_is_shown() {
    let engine = Engine::start();
    let output = engine
        .docker(&["run", "--rm", "busybox", "echo", "hi"])
        .expect(0);
    assert_eq!(output.stdout, "hi\n");
    assert_eq!(output.stderr, "");
    let output = engine
        .docker(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2",
        ])
        .expect(0);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn standard_input_reaches_the_command_and_its_end_does_too() {
    let engine = Engine::start();
    let output = engine
        .docker_with(&["run", "--rm", "-i", "busybox", "cat"], b"data\n")
        .expect(0);
    assert_eq!(output.raw, b"data\n");
    // The input has ended, the output goes on.
    let script = "cat; echo and more";
    let output = engine.docker_with(
        &["run", "--rm", "-i", "busybox", "sh", "-c", script],
        b"data\n",
    );
    assert_eq!(output.ok(), "data\nand more");
}

#[test]
fn common_options_are_seen_inside() {
    let engine = Engine::start();
    let inside = |options: &[&str], script: &str| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend(["busybox", "sh", "-c", script]);
        engine.docker(&arguments).ok()
    };
    assert_eq!(
        inside(&["-h", "box", "-e", "A=b c"], "hostname; echo \"$A\""),
        "box\nb c"
    );
    assert_eq!(
        inside(&["-h", "box", "--domainname", "example.org"], "hostname -f"),
        "box.example.org"
    );
    assert_eq!(
        inside(&["-w", "/new/dir", "-u", "33:8"], "pwd; id -u; id -g"),
        "/new/dir\n33\n8"
    );
    assert_eq!(
        inside(&["-u", "www-data", "--group-add", "mail"], "id -un; id -G"),
        "www-data\n33 8"
    );
    assert_eq!(
        inside(&["--read-only"], "touch /x 2>&1; echo $?"),
        "touch: /x: Read-only file system\n1"
    );
    let tmpfs = inside(&["--tmpfs", "/t:size=1m"], "grep ' /t ' /proc/mounts");
    assert!(
        tmpfs.starts_with("tmpfs /t tmpfs ") && tmpfs.contains("size=1024k"),
        "{tmpfs}"
    );
    assert!(inside(&["--shm-size", "2m"], "grep ' /dev/shm ' /proc/mounts").contains("size=2048k"));
    assert_eq!(
        inside(&["--ulimit", "nofile=500:600"], "ulimit -Sn; ulimit -Hn"),
        "500\n600"
    );
    assert!(!inside(&["--init"], "cat /proc/1/comm; true").starts_with("sh"));
    assert_eq!(
        inside(&[], "ls /dev | grep -c '^null$'; tty; test -t 0; echo $?"),
        "1\nnot a tty\n1"
    );
}

#[test]
fn capabilities_and_privileges_are_as_asked() {
    let engine = Engine::start();
    let effective = |options: &[&str]| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend(["busybox", "grep", "CapEff", "/proc/self/status"]);
        let line = engine.docker(&arguments).ok();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let default = effective(&[]);
    assert_eq!(default, 0xa804_25fb);
    assert_eq!(effective(&["--cap-drop", "ALL"]), 0);
    assert_eq!(effective(&["--cap-drop", "ALL", "--cap-add", "CHOWN"]), 1);
    assert_eq!(effective(&["--cap-add", "NET_ADMIN"]), default | 1 << 12);
    assert!(effective(&["--privileged"]).count_ones() > 30);
    assert_eq!(effective(&["-u", "33"]), 0);
    let seccomp = |options: &[&str]| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend([
            "busybox",
            "sh",
            "-c",
            "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status",
        ]);
        engine.docker(&arguments).ok().replace('\t', "")
    };
    assert_eq!(seccomp(&[]), "NoNewPrivs:0\nSeccomp:2");
    assert_eq!(
        seccomp(&["--security-opt", "seccomp=unconfined"]),
        "NoNewPrivs:0\nSeccomp:0"
    );
    assert_eq!(
        seccomp(&["--security-opt", "no-new-privileges"]),
        "NoNewPrivs:1\nSeccomp:2"
    );
}

#[test]
fn limits_are_set_and_can_be_updated() {
    let engine = Engine::start();
    let name = engine.name("limits");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "50",
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    let read = |v1: &str, v2: &str| {
        let script = format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
        engine.docker(&["exec", &name, "sh", "-c", &script]).ok()
    };
    assert_eq!(
        read("memory/memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    assert_eq!(read("pids/pids.max", "pids.max"), "50");
    assert!(["50000", "50000 100000"].contains(&read("cpu/cpu.cfs_quota_us", "cpu.max").as_str()));
    engine
        .docker(&[
            "update",
            "-m",
            "32m",
            "--memory-swap",
            "64m",
            "--pids-limit",
            "60",
            &name,
        ])
        .ok();
    assert_eq!(
        read("memory/memory.limit_in_bytes", "memory.max"),
        "33554432"
    );
    assert_eq!(read("pids/pids.max", "pids.max"), "60");
    assert_eq!(engine.inspect(&name)["HostConfig"]["Memory"], 33_554_432);
}

#[test]
fn a_bind_mount_shows_the_hosts_files_and_read_only_holds() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "from the host\n").unwrap();
    let bind = format!("{}:/data", directory.path().display());
    let script = "cat /data/file; echo back >/data/other";
    let output = engine
        .docker(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script])
        .ok();
    assert_eq!(output, "from the host");
    assert_eq!(
        std::fs::read_to_string(directory.path().join("other")).unwrap(),
        "back\n"
    );
    let bind = format!("{bind}:ro");
    let output = engine
        .docker(&["run", "--rm", "-v", &bind, "busybox", "touch", "/data/x"])
        .expect(1);
    assert!(
        output.stderr.contains("Read-only file system"),
        "{}",
        output.stderr
    );
    let missing = directory.path().join("made/by/the/engine");
    let bind = format!("{}:/data", missing.display());
    engine
        .docker(&["run", "--rm", "-v", &bind, "busybox", "true"])
        .ok();
    assert!(missing.is_dir());
}

#[test]
fn a_removed_container_is_gone_and_its_name_is_free() {
    let engine = Engine::start();
    let name = engine.name("auto");
    engine
        .docker(&["run", "--rm", "--name", &name, "busybox", "true"])
        .ok();
    let gone = engine.docker(&["inspect", &name]).expect(1);
    assert!(
        gone.stderr.to_lowercase().contains("no such object"),
        "{}",
        gone.stderr
    );
    let first = engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let taken = engine
        .docker(&["run", "--name", &name, "busybox", "true"])
        .expect(125);
    let text = format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{first}\". You have to remove (or rename) that container to be able to reuse that name."
    );
    assert!(taken.stderr.contains(&text), "{}", taken.stderr);
    let busy = engine.docker(&["rm", &name]).expect(1);
    let text = format!(
        "cannot remove container \"{name}\": container is running: stop the container before removing or force remove"
    );
    assert!(busy.stderr.contains(&text), "{}", busy.stderr);
    engine.docker(&["rm", "-f", &name]).ok();
    engine
        .docker(&["run", "--rm", "--name", &name, "busybox", "true"])
        .ok();
}

#[test]
fn a_container_is_renamed_paused_listed_and_looked_into() {
    let engine = Engine::start();
    let old = engine.name("old");
    let name = engine.name("new");
    let id = engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &old,
            "-l",
            &format!("k={name}"),
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    engine.docker(&["rename", &old, &name]).ok();
    let filter = format!("label=k={name}");
    let listed = |more: &[&str]| {
        let mut arguments = vec![
            "ps",
            "--no-trunc",
            "--format",
            "{{.ID}} {{.Names}} {{.State}}",
            "-f",
            &filter,
        ];
        arguments.extend(more);
        engine.docker(&arguments).ok()
    };
    assert_eq!(listed(&[]), format!("{id} {name} running"));
    engine.docker(&["pause", &name]).ok();
    assert_eq!(
        listed(&["-f", "status=paused"]),
        format!("{id} {name} paused")
    );
    let refused = engine.docker(&["exec", &name, "true"]).expect(1);
    assert!(
        refused
            .stderr
            .contains("is paused, unpause the container before exec"),
        "{}",
        refused.stderr
    );
    engine.docker(&["unpause", &name]).ok();
    assert_eq!(
        listed(&["-f", "status=running"]),
        format!("{id} {name} running")
    );
    let top = engine.docker(&["top", &name]).ok();
    assert!(top.contains("PID") && top.contains("sleep 600"), "{top}");
    let stats = engine
        .docker(&[
            "stats",
            "--no-stream",
            "--format",
            "{{.Name}} {{.PIDs}}",
            &name,
        ])
        .ok();
    assert_eq!(stats, format!("{name} 1"));
    let short = engine.docker(&["inspect", "-f", "{{.Id}}", &id[..12]]).ok();
    assert_eq!(short, id);
    engine.docker(&["kill", &name]).ok();
    assert_eq!(engine.docker(&["wait", &name]).ok(), "137");
    assert_eq!(listed(&[]), "");
    assert_eq!(
        listed(&["-a", "-f", "exited=137"]),
        format!("{id} {name} exited")
    );
}

#[test]
fn wait_answers_at_once_and_tells_the_exit_code_even_of_what_is_removed() {
    let engine = Engine::start();
    let name = engine.name("wait");
    let http = engine.http();
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", "read x; exit 7"], "OpenStdin": true, "StdinOnce": true, "HostConfig": {"AutoRemove": true}});
    let (status, created) = http.post(&format!("/v1.51/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{created}");
    let mut removed = http.send(
        "POST",
        &format!("/v1.51/containers/{name}/wait?condition=removed"),
        &[],
        b"",
    );
    let mut next = http.send(
        "POST",
        &format!("/v1.51/containers/{name}/wait?condition=next-exit"),
        &[],
        b"",
    );
    assert_eq!((removed.status, next.status), (200, 200));
    let headers = [("Connection", "Upgrade"), ("Upgrade", "tcp")];
    let path = format!("/v1.51/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let attached = http.send("POST", &path, &headers, b"");
    assert_eq!(attached.status, 101);
    assert_eq!(
        http.post(&format!("/v1.51/containers/{name}/start"), &json!(null))
            .0,
        204
    );
    assert_eq!(
        http.post(&format!("/v1.51/containers/{name}/start"), &json!(null))
            .0,
        304
    );
    let (_, mut stream) = attached.hijack();
    std::io::Write::write_all(&mut stream, b"go\n").unwrap();
    assert_eq!(next.json().1["StatusCode"], 7);
    assert_eq!(removed.json().1["StatusCode"], 7);
    assert_eq!(http.get(&format!("/v1.51/containers/{name}/json")).0, 404);
}

#[test]
fn prune_removes_what_has_stopped() {
    let engine = Engine::start();
    let label = engine.name("prune");
    let option = format!("k={label}");
    let stopped = engine
        .docker(&["create", "-l", &option, "busybox", "true"])
        .ok();
    let running = engine
        .docker(&["run", "-d", "-l", &option, "busybox", "sleep", "600"])
        .ok();
    let filter = format!("label={option}");
    let output = engine
        .docker(&["container", "prune", "-f", "--filter", &filter])
        .ok();
    assert!(
        output.contains(&stopped) && !output.contains(&running),
        "{output}"
    );
    engine.docker(&["rm", "-f", &running]).ok();
}
