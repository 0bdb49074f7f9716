//! What keeps a container in: namespaces shared only as agreed, paths masked, privileges not gained, and
//! the known ways out closed.
#![expect(
    clippy::too_many_lines,
    reason = "helpers of tests fail where they stand, and a story is told in one piece"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use arca_testkit::{Engine, Output};
use serde_json::json;

fn run(engine: &Engine, options: &[&str], script: &str) -> Output {
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", script]);
    engine.docker(&arguments)
}

/// Imports an image made of `busybox` and what `script` does to its root.
fn image(engine: &Engine, script: &str) -> String {
    let (source, name) = (engine.name("source"), engine.name("image"));
    let create = ["run", "--name", &source, "busybox", "sh", "-c", script];
    engine.docker(&create).ok();
    engine.docker(&["commit", &source, &name]).ok();
    name
}

#[test]
fn ipc_is_shared_when_both_agree() {
    let engine = Engine::start();
    let (giver, private) = (engine.name("giver"), engine.name("private"));
    let script = "echo shared >/dev/shm/file; exec sleep 600";
    for (name, mode) in [(&giver, "shareable"), (&private, "private")] {
        let mode = format!("--ipc={mode}");
        engine
            .docker(&[
                "run", "-d", "--name", name, &mode, "busybox", "sh", "-c", script,
            ])
            .ok();
    }
    let namespace = "readlink /proc/self/ns/ipc";
    let theirs = engine.docker(&["exec", &giver, "sh", "-c", namespace]).ok();
    let join = format!("--ipc=container:{giver}");
    let found = run(
        &engine,
        &[&join],
        &format!("cat /dev/shm/file; echo back >/dev/shm/back; {namespace}"),
    );
    assert_eq!(found.ok(), format!("shared\n{theirs}"));
    assert_eq!(
        engine
            .docker(&["exec", &giver, "cat", "/dev/shm/back"])
            .ok(),
        "back"
    );
    let host = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    assert_ne!(theirs, host.to_string_lossy());
    assert_eq!(
        run(&engine, &["--ipc=host"], namespace).ok(),
        host.to_string_lossy()
    );
    assert_eq!(
        run(
            &engine,
            &["--ipc=none"],
            "ls /dev/shm 2>&1; ls /dev/mqueue 2>&1; true"
        )
        .ok()
        .matches("No such")
        .count(),
        1
    );
    let refused = run(&engine, &[&format!("--ipc=container:{private}")], "true")
        .expect(125)
        .stderr;
    assert!(
        refused.contains("non-shareable IPC (hint: use IpcMode:shareable"),
        "{refused}"
    );
    engine.docker(&["kill", &giver]).ok();
    let refused = run(&engine, &[&join], "true").expect(125).stderr;
    assert!(
        refused.contains("failed to join IPC namespace: container"),
        "{refused}"
    );
    assert!(refused.contains("is not running"), "{refused}");
}

#[test]
fn what_is_masked_is_hidden_and_what_is_read_only_cannot_be_written() {
    let engine = Engine::start();
    let script = "for f in kcore keys timer_list; do [ ! -e /proc/$f ] || wc -c </proc/$f; done; \
        for f in /proc/sys/kernel/panic /proc/sysrq-trigger /proc/irq/default_smp_affinity; do \
        [ ! -e $f ] || (echo 1 >$f) 2>&1 | grep -o 'Read-only file system'; done; true";
    let found = run(&engine, &["--cap-add=ALL"], script).stdout;
    let hidden = |line: &str| line == "0" || line.contains("Read-only");
    assert!(found.lines().all(hidden), "{found}");
    assert!(found.matches("Read-only").count() >= 2, "{found}");
    let mounts = run(
        &engine,
        &["--security-opt=systempaths=unconfined"],
        "grep -c ' /proc/' /proc/mounts",
    );
    assert_eq!(mounts.stdout.trim(), "0");
    let none = run(
        &engine,
        &["--privileged"],
        "grep -c ' /proc/' /proc/mounts; grep ' /sys ' /proc/mounts",
    );
    assert!(
        none.stdout.starts_with("0\n") && none.stdout.contains("rw,"),
        "{}",
        none.stdout
    );
    // The root file system says what it is.
    let root = run(&engine, &[], "grep ' / ' /proc/self/mountinfo").ok();
    assert!(root.contains(" - overlay overlay "), "{root}");
    let readonly = run(
        &engine,
        &["--read-only", "--tmpfs", "/run"],
        "echo x >/file; echo y >/run/file && cat /run/file; echo z >/dev/shm/z && cat /dev/shm/z",
    );
    assert_eq!(readonly.stdout, "y\nz\n", "{}", readonly.stderr);
}

#[test]
fn users_and_groups_are_those_of_the_image() {
    let engine = Engine::start();
    let image = image(
        &engine,
        "echo 'added:x:777:778::/home/added:/bin/sh' >>/etc/passwd; echo 'more:x:800:added' >>/etc/group",
    );
    let id = |options: &[&str]| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend([&*image, "sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"]);
        engine.docker(&arguments).ok()
    };
    assert_eq!(id(&["-u", "added"]), "777 778 778 800 /home/added");
    assert_eq!(id(&["-u", "777"]), "777 778 778 800 /home/added");
    assert_eq!(id(&["-u", "added:more"]), "777 800 800 /home/added");
    assert_eq!(id(&["-u", "4321"]), "4321 0 0 /");
    assert_eq!(id(&["-u", "4321:1234"]), "4321 1234 1234 /");
    assert_eq!(
        id(&["-u", "added", "--group-add", "mail", "--group-add", "4000"]),
        "777 778 778 8 800 4000 /home/added"
    );
    assert_eq!(id(&["-u", ":more"]), "0 800 800 /root");
    for (user, words) in [
        (
            "nosuch",
            "unable to find user nosuch: no matching entries in passwd file",
        ),
        (
            "root:nosuch",
            "unable to find group nosuch: no matching entries in group file",
        ),
    ] {
        let said = run(&engine, &["-u", user], "true").expect(125).stderr;
        assert!(said.contains(words), "{said}");
    }
    let said = run(&engine, &["--group-add", "nosuch"], "true")
        .expect(125)
        .stderr;
    assert!(said.contains("unable to find group nosuch"), "{said}");
}

#[test]
fn privileges_are_not_gained() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("who");
    arca_testkit::static_c(include_str!("../c/who.c"), &program);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let bind = format!("{}:/who", program.display());
    let effective = |options: &[&str]| {
        let mut arguments = vec!["run", "--rm", "-u", "33", "-v", &bind];
        arguments.extend(options);
        arguments.extend(["busybox", "/who"]);
        engine.docker(&arguments).ok()
    };
    assert_eq!(effective(&[]), "0");
    assert_eq!(effective(&["--security-opt=no-new-privileges"]), "33");
    assert_eq!(effective(&["--security-opt=no-new-privileges:true"]), "33");
    assert_eq!(effective(&["--security-opt=no-new-privileges=false"]), "0");
    let sets = |options: &[&str]| {
        run(
            &engine,
            options,
            "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '",
        )
        .ok()
    };
    let default = "00000000a80425fb";
    let zero = "0000000000000000";
    assert_eq!(
        sets(&[]),
        format!("{zero} {default} {default} {default} {zero}")
    );
    assert_eq!(
        sets(&["-u", "33"]),
        format!("{zero} {zero} {zero} {default} {zero}")
    );
    assert_eq!(
        sets(&["-u", "33", "--cap-add=NET_ADMIN"]),
        format!("{zero} {zero} {zero} 00000000a80435fb {zero}")
    );
    assert_eq!(
        sets(&["--cap-drop=ALL", "--cap-add=kill"]),
        format!("{zero} 0000000000000020 0000000000000020 0000000000000020 {zero}")
    );
    let said = run(&engine, &["--cap-add=NOSUCH"], "true")
        .expect(125)
        .stderr;
    assert!(
        said.contains("invalid CapAdd: unknown capability: \"CAP_NOSUCH\""),
        "{said}"
    );
}

#[test]
fn kernel_parameters_must_be_the_containers_own() {
    let engine = Engine::start();
    let found = run(
        &engine,
        &[
            "--sysctl",
            "net.ipv4.ip_forward=0",
            "--sysctl",
            "kernel.shmmax=123456",
        ],
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax",
    );
    assert_eq!(found.ok(), "0\n123456");
    let start = |host: serde_json::Value| {
        let name = engine.name("sysctl");
        let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": host});
        let create = format!("/v1.51/containers/create?name={name}");
        let (status, created) = engine.http().post(&create, &body);
        if status != 201 {
            return created["message"].as_str().unwrap().to_owned();
        }
        let (_, started) = engine
            .http()
            .post(&format!("/v1.51/containers/{name}/start"), &json!({}));
        started["message"].as_str().unwrap().to_owned()
    };
    for (host, words) in [
        (
            json!({"Sysctls": {"kernel.panic": "1"}}),
            "sysctl \"kernel.panic\" is not in a separate kernel namespace",
        ),
        (
            json!({"Sysctls": {"vm.swappiness": "1"}}),
            "sysctl \"vm.swappiness\" is not in a separate kernel namespace",
        ),
        (
            json!({"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"}),
            "net.ipv4.ip_forward",
        ),
        (
            json!({"Sysctls": {"kernel.shmmax": "1"}, "IpcMode": "host"}),
            "kernel.shmmax",
        ),
        (
            json!({"Sysctls": {"net.ipv4/../../kernel/panic": "1"}}),
            "net.ipv4/../../kernel/panic",
        ),
    ] {
        let said = start(host);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_ways_out_are_closed() {
    let engine = Engine::start();
    // CVE-2024-21626: a working directory or a program behind a descriptor that was left open.
    let marker = tempfile::tempdir().unwrap();
    let escaped = format!(
        "ls ../../../../../../../..{0} ./../..{0} 2>/dev/null | grep -c .; true",
        marker.path().display()
    );
    std::fs::write(marker.path().join("file"), "").unwrap();
    let victim = engine.name("victim");
    engine
        .docker(&["run", "-d", "--name", &victim, "busybox", "sleep", "600"])
        .ok();
    for number in 3..12 {
        let directory = format!("/proc/self/fd/{number}");
        for output in [
            run(&engine, &["-w", &directory], &escaped),
            engine.docker(&["exec", "-w", &directory, &victim, "sh", "-c", &escaped]),
        ] {
            assert!(
                output.code != 0 || output.stdout.trim() == "0",
                "{output:?}"
            );
        }
    }
    // No descriptor is left to the container but its streams and the directory that is listed.
    let descriptors = "ls /proc/self/fd | tr '\\n' ' '";
    assert_eq!(run(&engine, &[], descriptors).ok(), "0 1 2 3");
    assert_eq!(
        engine
            .docker(&["exec", &victim, "sh", "-c", descriptors])
            .ok(),
        "0 1 2 3"
    );

    // CVE-2019-5736: the runtime's program, executed by the container as its own.
    let shim = arca_testkit::program("arca-shim");
    let before = std::fs::read(&shim).unwrap();
    run(&engine, &["--entrypoint", "/proc/self/exe"], "true");
    let overwrite = "for i in 1 2 3 4 5 6 7 8 9 10; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || (echo x >$p/exe) 2>/dev/null; done; done";
    let attack = engine.docker_spawn(&["exec", &victim, "sh", "-c", overwrite]);
    engine.docker(&["exec", &victim, "/proc/self/exe", "--version"]);
    attack.wait_with_output().unwrap();
    engine.docker(&["exec", &victim, "true"]).ok();
    assert!(before == std::fs::read(&shim).unwrap());

    // CVE-2025-31133, CVE-2025-52565: `/dev/null` and `/dev/console` that lead elsewhere.
    for (name, options) in [("null", &[][..]), ("console", &["-t"][..])] {
        let volume = engine.name("volume");
        let bind = format!("{volume}:/dev");
        let link = format!("ln -s /proc/sys/kernel/core_pattern /dev/{name}; ls -l /dev/{name}");
        let prepare = format!("{volume}:/v");
        run(&engine, &["-v", &prepare], &link.replace("/dev/", "/v/")).ok();
        let mut all = vec!["-v", &bind];
        all.extend(options);
        let output = run(
            &engine,
            &all,
            "grep core_pattern /proc/mounts; cat /proc/sys/kernel/core_pattern",
        );
        assert!(
            output.code != 0 || !output.stdout.contains("core_pattern "),
            "{output:?}"
        );
        engine.docker(&["volume", "rm", "-f", &volume]);
    }
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(!pattern.contains("arca"), "{pattern}");

    // Mounts whose places the image turned into links: inside of the root, and not over `/proc`.
    let image = image(
        &engine,
        "ln -s /proc/sys /data; ln -s /tmp /up; ln -s /proc/self/root/tmp /magic",
    );
    let bind = format!("{}:/data", marker.path().display());
    let output = engine.docker(&["run", "--rm", "-v", &bind, &image, "true"]);
    let said = output.expect(125).stderr;
    assert!(
        said.contains("cannot be mounted because it is inside /proc"),
        "{said}"
    );
    let bind = format!("{}:/up/inside", marker.path().display());
    let output = engine.docker(&["run", "--rm", "-v", &bind, &image, "ls", "/tmp/inside"]);
    assert_eq!(output.ok(), "file");
    assert!(!Path::new("/tmp/inside").exists());
    for (place, words) in [
        ("/proc", "not of type proc"),
        ("/proc/sys", "inside /proc"),
        ("/proc/1", "inside /proc"),
    ] {
        let bind = format!("{}:{place}", marker.path().display());
        let said = run(&engine, &["-v", &bind], "true").expect(125).stderr;
        assert!(said.contains(words), "{place}: {said}");
    }
    let file = marker.path().join("file");
    std::fs::write(&file, "up\n").unwrap();
    let bind = format!("{}:/proc/uptime", file.display());
    assert_eq!(run(&engine, &["-v", &bind], "cat /proc/uptime").ok(), "up");
}
