//! The cases, as facts.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use arca_executor::{FailureKind, cgroups, delete, kill, pause, pids, resume, update};
use arca_shim_proto::RuntimeKind;
use serde_json::json;

use crate::host::{Box, Ended, hierarchies};

type Case = (&'static str, fn());

pub(crate) const ALL: &[Case] = &[
    (
        "output_and_exit_code_come_back",
        output_and_exit_code_come_back,
    ),
    (
        "a_container_is_alone_with_itself",
        a_container_is_alone_with_itself,
    ),
    (
        "the_process_is_who_it_shall_be",
        the_process_is_who_it_shall_be,
    ),
    (
        "what_is_masked_cannot_be_used",
        what_is_masked_cannot_be_used,
    ),
    (
        "a_command_that_fails_is_said_as_dockerd_says_it",
        a_command_that_fails_is_said,
    ),
    (
        "a_failed_start_leaves_nothing",
        a_failed_start_leaves_nothing,
    ),
    (
        "an_exec_is_inside_and_filtered",
        an_exec_is_inside_and_filtered,
    ),
    ("an_exec_that_fails_says_why", an_exec_that_fails_says_why),
    (
        "a_terminal_has_its_size_and_is_the_console",
        a_terminal_has_its_size_and_is_the_console,
    ),
    (
        "limits_are_in_the_cgroup_and_can_be_changed",
        limits_are_in_the_cgroup,
    ),
    (
        "a_paused_container_does_nothing",
        a_paused_container_does_nothing,
    ),
    ("deletion_ends_everything", deletion_ends_everything),
    (
        "binds_propagate_as_they_are_told",
        binds_propagate_as_they_are_told,
    ),
    (
        "a_read_only_root_is_read_only",
        a_read_only_root_is_read_only,
    ),
    ("hooks_run_where_they_belong", hooks_run_where_they_belong),
    ("seccomp_refuses_calls", seccomp_refuses_calls),
    ("a_user_namespace_maps_users", a_user_namespace_maps_users),
    (
        "namespaces_of_others_are_joined",
        namespaces_of_others_are_joined,
    ),
    (
        "a_cgroup_namespace_hides_what_is_above",
        a_cgroup_namespace_hides_what_is_above,
    ),
    (
        "a_privileged_container_may_do_almost_everything",
        a_privileged_container_may_do_almost_everything,
    ),
    (
        "what_a_container_gets_hold_of_cannot_be_written",
        what_a_container_gets_hold_of_cannot_be_written,
    ),
    (
        "many_at_once_do_not_disturb_each_other",
        many_at_once_do_not_disturb_each_other,
    ),
    (
        "a_foreign_runtime_does_the_same",
        a_foreign_runtime_does_the_same,
    ),
    (
        "a_foreign_runtime_has_terminals",
        a_foreign_runtime_has_terminals,
    ),
];

fn lines(ended: &Ended) -> Vec<&str> {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended.stdout.lines().collect()
}

fn output_and_exit_code_come_back() {
    let ended = Box::new(&["sh", "-c", "echo out; echo err >&2; exit 7"]).run_to_end();
    let expected = Ended {
        code: 7,
        stdout: "out\n".to_owned(),
        stderr: "err\n".to_owned(),
    };
    assert_eq!(ended, expected);
    let ended = Box::new(&["sh", "-c", "kill -9 $$; sleep 1"]).run_to_end();
    assert_eq!(
        ended.code, 0,
        "the init of a pid namespace cannot kill itself"
    );
}

fn a_container_is_alone_with_itself() {
    let ended = Box::new(&[
        "sh", "-c",
        "echo $$; hostname; ls /; ls /sys/class/net; ls -A /sys/fs/cgroup | grep -c .; cat /proc/self/mountinfo | grep -c host; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /proc/self/fd | grep -c '[3-9]'",
    ])
    .run_to_end();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[..2], ["1", "boxed"], "{ended:?}");
    assert!(lines.contains(&"lo") && lines.contains(&"bin"), "{ended:?}");
    // No mount of the host; the parameter is set; ls itself holds one descriptor beyond the three.
    assert_eq!(lines[lines.len() - 3..], ["0", "0", "1"], "{ended:?}");
}

fn the_process_is_who_it_shall_be() {
    let script =
        "id -u; id -g; id -G; pwd; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; env";
    let mut it = Box::new(&["sh", "-c", script]);
    it.spec["process"]["user"] =
        json!({"uid": 33, "gid": 44, "additionalGids": [44, 55], "umask": 0o77});
    it.spec["process"]["cwd"] = json!("/tmp");
    it.spec["process"]["noNewPrivileges"] = json!(true);
    it.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    let ended = it.run_to_end();
    let all = lines(&ended);
    assert_eq!(all[..4], ["33", "44", "44 55", "/tmp"]);
    assert!(
        all.contains(&"CapEff:\t0000000000000000") && all.contains(&"CapBnd:\t00000000a80425fb")
    );
    assert!(all.contains(&"NoNewPrivs:\t1") && all.contains(&"HOME=/home/web"));

    let ended = Box::new(&["env"]).run_to_end();
    let expected = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "Z=1",
        "A=2",
        "HOME=/root",
    ];
    assert_eq!(lines(&ended), expected);
}

fn what_is_masked_cannot_be_used() {
    let script = "cat /proc/keys /proc/timer_list; ls -A /sys/firmware; \
        touch /sys/x 2>/dev/null || echo sys; \
        (echo 1 >/proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo proc; \
        (echo 1 >/sys/fs/cgroup/memory/tasks) 2>/dev/null || echo cgroup; \
        mknod /tmp/m c 1 11; dd if=/tmp/m of=/dev/null count=1 2>/dev/null || echo device; \
        cat </dev/null; dd if=/dev/zero of=/dev/null count=1 2>/dev/null && echo null; \
        ls -l /dev | grep -c -- '->'";
    let ended = Box::new(&["sh", "-c", script]).run_to_end();
    assert_eq!(
        lines(&ended),
        ["sys", "proc", "cgroup", "device", "null", "5"]
    );
}

fn a_command_that_fails_is_said() {
    let cases = [
        (
            "nosuchcmd",
            FailureKind::NotFound,
            "exec: \"nosuchcmd\": executable file not found in $PATH",
        ),
        (
            "/no/such",
            FailureKind::NotFound,
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        (
            "/etc",
            FailureKind::PermissionDenied,
            "exec: \"/etc\": is a directory: permission denied",
        ),
        (
            "/etc/passwd",
            FailureKind::PermissionDenied,
            "exec: \"/etc/passwd\": permission denied",
        ),
    ];
    for (command, kind, text) in cases {
        let error = Box::new(&[command]).run().err().expect(command);
        let begin = "OCI runtime create failed: runc create failed: unable to start container process: \
            error during container init: ";
        assert_eq!(
            (error.kind, error.message),
            (kind, format!("{begin}{text}"))
        );
    }
    // A file that is found and cannot be executed: the container has run.
    let it = Box::new(&["/plain"]);
    fs::write(it.path("lower/plain"), "text").unwrap();
    fs::set_permissions(
        it.path("lower/plain"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let ended = it.run_to_end();
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (255, "exec /plain: exec format error\n")
    );
}

fn a_failed_start_leaves_nothing() {
    let mut it = Box::new(&["true"]);
    it.spec["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/etc", "type": "bind", "source": "/etc/passwd", "options": ["rbind", "rprivate"]}),
    );
    let error = it.run().err().unwrap();
    assert!(
        error
            .message
            .contains("error mounting \"/etc/passwd\" to rootfs at \"/etc\""),
        "{error}"
    );
    assert!(
        error
            .message
            .contains("not a directory: Are you trying to mount a directory onto a file"),
        "{error}"
    );
    assert!(!it.path("state").join(&it.container.id).exists());
    for (name, dir) in hierarchies() {
        assert!(!dir.join(&it.cgroup[1..]).exists(), "{name}");
    }
    // And the ID is free again.
    it.spec["mounts"].as_array_mut().unwrap().pop();
    assert_eq!(it.run_to_end().code, 0);
}

fn an_exec_is_inside_and_filtered() {
    let mut it = Box::new(&["sleep", "100"]);
    it.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]});
    let init = it.run().unwrap();
    let running = it.exec(|process| {
        process["args"] = json!(["sh", "-c", "hostname; cat /proc/1/comm; mkdir /x 2>/dev/null || echo refused; grep Seccomp: /proc/self/status; pwd; cat /proc/self/cgroup; exit 3"]);
        process["cwd"] = json!("/etc");
        process["user"] = json!({"uid": 33, "gid": 33});
    });
    let ended = running.unwrap().end();
    assert_eq!(ended.code, 3, "{ended:?}");
    let all: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        all[..5],
        ["boxed", "sleep", "refused", "Seccomp:\t2", "/etc"],
        "{ended:?}"
    );
    assert!(
        all[5..].iter().all(|line| line.ends_with(&it.cgroup)),
        "{ended:?}"
    );
    assert_eq!(pids(&it.container).unwrap(), [init.pid]);
    kill(&it.container, 9).unwrap();
    assert_eq!(init.end().code, 137);
    assert_eq!(
        kill(&it.container, 9).unwrap_err().message,
        "container not running"
    );
}

fn an_exec_that_fails_says_why() {
    let it = Box::new(&["sleep", "100"]);
    it.run().unwrap();
    let fail = |change: fn(&mut serde_json::Value)| {
        let error = it.exec(change).err().unwrap();
        (error.kind, error.message)
    };
    let begin = "OCI runtime exec failed: exec failed: unable to start container process: ";
    let (kind, text) = fail(|process| process["args"] = json!(["nosuchcmd"]));
    assert_eq!(kind, FailureKind::NotFound);
    assert_eq!(
        text,
        format!("{begin}exec: \"nosuchcmd\": executable file not found in $PATH")
    );
    let (kind, text) = fail(|process| process["cwd"] = json!("/nope"));
    assert_eq!(kind, FailureKind::NotFound);
    assert_eq!(
        text,
        format!(
            "{begin}chdir to cwd (\"/nope\") set in config.json failed: no such file or directory"
        )
    );
    let (_, text) = fail(|process| process["cwd"] = json!("rel"));
    assert_eq!(
        text,
        "OCI runtime exec failed: exec failed: Cwd must be an absolute path"
    );
}

fn a_terminal_has_its_size_and_is_the_console() {
    let mut it = Box::new(&[
        "sh",
        "-c",
        "stty size; tty; [ -c /dev/console ] && echo console; read -r x; echo got $x",
    ]);
    it.spec["process"]["user"] = json!({"uid": 33, "gid": 33});
    let (running, mut terminal) = it.run_with_terminal();
    terminal.write_all(b"hello\n").unwrap();
    let mut said = Vec::new();
    // A terminal that nobody holds any more is an error to read.
    let mut byte = [0];
    while let Ok(1) = terminal.read(&mut byte) {
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).unwrap().replace('\r', "");
    assert_eq!(running.end().code, 0, "{said}");
    for expected in ["7 42\n", "/dev/pts/0\n", "console\n", "got hello\n"] {
        assert!(said.contains(expected), "{said}");
    }
}

fn limits_are_in_the_cgroup() {
    let mut it = Box::new(&["sleep", "100"]);
    let resources = &mut it.spec["linux"]["resources"];
    resources["memory"] = json!({"limit": 64 << 20, "swap": 128 << 20});
    resources["pids"] = json!({"limit": 50});
    resources["cpu"] = json!({"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0"});
    it.run().unwrap();
    let paths = cgroups(&it.container).unwrap();
    let read = |controller: &str, v1: &str, v2: &str| {
        let dir = paths.v1.get(controller).or(paths.unified.as_ref()).unwrap();
        let file = if paths.is_v2() { v2 } else { v1 };
        fs::read_to_string(dir.join(file))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (64 << 20).to_string()
    );
    assert_eq!(read("pids", "pids.max", "pids.max"), "50");
    assert_eq!(read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let change = |json: serde_json::Value| {
        update(&it.container, &serde_json::from_value(json).unwrap()).unwrap();
    };
    change(json!({"memory": {"limit": 256 << 20, "swap": 512 << 20}, "pids": {"limit": -1}}));
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (256 << 20).to_string()
    );
    assert_eq!(read("pids", "pids.max", "pids.max"), "max");
    change(json!({"memory": {"limit": 32 << 20, "swap": 64 << 20}}));
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (32 << 20).to_string()
    );
    let wrong =
        serde_json::from_value(json!({"pids": {"limit": 5}, "cpu": {"cpus": "4096"}})).unwrap();
    update(&it.container, &wrong).unwrap_err();
}

fn a_paused_container_does_nothing() {
    let it = Box::new(&["sleep", "100"]);
    let init = it.run().unwrap();
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{}/wchan", init.pid)).unwrap();
        let paths = cgroups(&it.container).unwrap();
        let file = paths.v1.get("freezer").map(|dir| dir.join("freezer.state"));
        let file = file.unwrap_or_else(|| paths.unified.unwrap().join("cgroup.events"));
        (stat, fs::read_to_string(file).unwrap())
    };
    pause(&it.container).unwrap();
    let (_, frozen) = state();
    assert!(
        frozen.contains("FROZEN") || frozen.contains("frozen 1"),
        "{frozen}"
    );
    resume(&it.container).unwrap();
    let (_, thawed) = state();
    assert!(
        thawed.contains("THAWED") || thawed.contains("frozen 0"),
        "{thawed}"
    );
    // Deleting a paused container does not wait for ever.
    pause(&it.container).unwrap();
    delete(&it.container).unwrap();
    assert_eq!(init.end().code, 137);
}

fn deletion_ends_everything() {
    let mut it = Box::new(&["sh", "-c", "sleep 100 & sleep 100 & sleep 100"]);
    // Without a pid namespace the end of the init ends nobody else.
    it.spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network"}]);
    it.spec.as_object_mut().unwrap().remove("hostname");
    it.spec["mounts"][0] =
        json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
    it.spec["linux"]["maskedPaths"] = json!([]);
    it.spec["linux"]["readonlyPaths"] = json!([]);
    let init = it.run().unwrap();
    while pids(&it.container).unwrap().len() < 3 {
        std::thread::yield_now();
    }
    delete(&it.container).unwrap();
    assert_eq!(init.end().code, 137);
    for (name, dir) in hierarchies() {
        assert!(!dir.join(&it.cgroup[1..]).exists(), "{name}");
    }
    assert!(!it.path("state").join(&it.container.id).exists());
    delete(&it.container).unwrap();
}

fn binds_propagate_as_they_are_told() {
    use rustix::mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
    };
    let mut it = Box::new(&[
        "sh",
        "-c",
        "echo ready; read -r x; ls /shared/sub /slave/sub /private/sub; mount -t tmpfs none /shared/back; mount -t tmpfs none /slave/back; touch /shared/back/s /slave/back/s; echo done; read -r x",
    ]);
    let host = it.path("host");
    for sub in ["host/sub", "host/back"] {
        fs::create_dir_all(it.path(sub)).unwrap();
    }
    mount_bind(&host, &host).unwrap();
    mount_change(&host, MountPropagationFlags::SHARED).unwrap();
    let binds = [
        ("shared", "rshared"),
        ("slave", "rslave"),
        ("private", "rprivate"),
    ];
    for (name, propagation) in binds {
        it.spec["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": format!("/{name}"), "type": "bind",
            "source": host, "options": ["rbind", propagation]}));
    }
    it.spec["linux"]["rootfsPropagation"] = json!("shared");
    for set in ["bounding", "effective", "permitted"] {
        it.spec["process"]["capabilities"][set]
            .as_array_mut()
            .unwrap()
            .push(json!("CAP_SYS_ADMIN"));
    }
    let (running, mut terminal) = it.run_with_terminal();
    let mut expect = |word: &str| {
        let mut said = String::new();
        let mut byte = [0];
        while !said.contains(word) {
            terminal
                .read_exact(&mut byte)
                .unwrap_or_else(|_| panic!("{said}"));
            said.push(char::from(byte[0]));
        }
        terminal.write_all(b"\n").unwrap();
        said
    };
    expect("ready");
    mount("none", host.join("sub"), "tmpfs", MountFlags::empty(), c"").unwrap();
    fs::write(host.join("sub/from-host"), "").unwrap();
    let said = expect("done").replace('\r', "");
    assert_eq!(
        said.matches("from-host").count(),
        2,
        "shared and slave see it: {said}"
    );
    assert!(
        host.join("back/s").exists(),
        "the shared bind reaches the host"
    );
    assert_eq!(running.end().code, 0);
    delete(&it.container).unwrap();
    let host_mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !host_mounts.contains(&it.container.id),
        "the root was never seen by the host"
    );
    for at in ["host/sub", "host/back", "host"] {
        unmount(it.path(at), UnmountFlags::DETACH).ok();
    }
}

fn a_read_only_root_is_read_only() {
    let mut it = Box::new(&[
        "sh",
        "-c",
        "touch /x 2>/dev/null || echo root; touch /tmp/x && echo tmp; touch /dev/shm/x && echo shm",
    ]);
    it.spec["root"]["readonly"] = json!(true);
    it.spec["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]}),
    );
    assert_eq!(lines(&it.run_to_end()), ["root", "tmp", "shm"]);
}

fn hooks_run_where_they_belong() {
    let mut it = Box::new(&["sh", "-c", "cat /from-start"]);
    let log = it.path("log");
    let host = |word: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo {word} >>{}", log.display())]}]);
    it.spec["hooks"] = json!({
        "prestart": host("prestart"), "createRuntime": host("createRuntime"), "createContainer": host("createContainer"),
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "hostname >/from-start"]}],
        "poststart": host("poststart"), "poststop": host("poststop")
    });
    assert_eq!(lines(&it.run_to_end()), ["boxed"]);
    let said = fs::read_to_string(log).unwrap();
    assert_eq!(
        said,
        "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n"
    );
}

fn seccomp_refuses_calls() {
    for no_new_privileges in [false, true] {
        let mut it = Box::new(&["sh", "-c", "mkdir /x 2>&1; grep Seccomp: /proc/self/status"]);
        it.spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
        it.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]});
        let ended = it.run_to_end();
        assert_eq!(
            lines(&ended),
            [
                "mkdir: can't create directory '/x': Permission denied",
                "Seccomp:\t2"
            ]
        );
    }
}

/// A foreign runtime: `ARCA_TEST_RUNC`, or `runc` on the PATH. Optional.
fn runc() -> Option<RuntimeKind> {
    let path = std::env::var_os("ARCA_TEST_RUNC")
        .map(PathBuf::from)
        .or_else(|| {
            let all = std::env::var_os("PATH")?;
            std::env::split_paths(&all)
                .map(|dir| dir.join("runc"))
                .find(|file| file.is_file())
        });
    if path.is_none() {
        println!("  (optional: no runc on the PATH and ARCA_TEST_RUNC is not set)");
    }
    Some(RuntimeKind::Binary {
        path: path?,
        args: Vec::new(),
    })
}

fn a_foreign_runtime_does_the_same() {
    let Some(runtime) = runc() else { return };
    let make = |args: &[&str]| Box::with_runtime(args, runtime.clone());
    let ended = make(&["sh", "-c", "echo out; echo err >&2; hostname; exit 7"]).run_to_end();
    let expected = Ended {
        code: 7,
        stdout: "out\nboxed\n".to_owned(),
        stderr: "err\n".to_owned(),
    };
    assert_eq!(ended, expected);

    let error = make(&["nosuchcmd"]).run().err().unwrap();
    let text = "OCI runtime create failed: runc create failed: unable to start container process: \
        error during container init: exec: \"nosuchcmd\": executable file not found in $PATH";
    assert_eq!(
        (error.kind, error.message.as_str()),
        (FailureKind::NotFound, text)
    );

    let it = make(&["sleep", "100"]);
    let init = it.run().unwrap();
    let ended = it.exec(|process| process["args"] = json!(["sh", "-c", "hostname; exit 4"]));
    let ended = ended.unwrap().end();
    assert_eq!((ended.code, ended.stdout.as_str()), (4, "boxed\n"));
    let error = it
        .exec(|process| process["args"] = json!(["/etc"]))
        .err()
        .unwrap();
    assert_eq!(error.kind, FailureKind::PermissionDenied, "{error}");
    assert!(
        error
            .message
            .starts_with("OCI runtime exec failed: exec failed: "),
        "{error}"
    );
    pause(&it.container).unwrap();
    resume(&it.container).unwrap();
    let limit = serde_json::from_value(json!({"pids": {"limit": 33}})).unwrap();
    update(&it.container, &limit).unwrap();
    let paths = cgroups(&it.container).unwrap();
    let dir = paths.v1.get("pids").or(paths.unified.as_ref()).unwrap();
    assert_eq!(fs::read_to_string(dir.join("pids.max")).unwrap(), "33\n");
    assert_eq!(pids(&it.container).unwrap(), [init.pid]);
    kill(&it.container, 9).unwrap();
    assert_eq!(init.end().code, 137);
    delete(&it.container).unwrap();
    assert!(!dir.exists());
}

fn a_foreign_runtime_has_terminals() {
    let Some(runtime) = runc() else { return };
    let mut it = Box::with_runtime(&["sh", "-c", "stty size; tty"], runtime);
    let (running, mut terminal) = it.run_with_terminal();
    let mut said = Vec::new();
    let mut byte = [0];
    while let Ok(1) = terminal.read(&mut byte) {
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).unwrap().replace('\r', "");
    assert_eq!(
        (running.end().code, said.as_str()),
        (0, "7 42\n/dev/pts/0\n")
    );
}

fn a_user_namespace_maps_users() {
    let script = "id -u; cat /proc/self/uid_map; touch /tmp/x && ls -ln /tmp/x; echo x >/dev/null && echo null; hostname";
    let mut it = Box::new(&["sh", "-c", script]);
    it.spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        it.spec["linux"][map] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    }
    it.spec["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]}),
    );
    let ended = it.run_to_end();
    let all = lines(&ended);
    assert_eq!(all[0], "0");
    assert_eq!(
        all[1].split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    assert!(all[2].contains(" 0 "), "{all:?}");
    assert_eq!(all[3..], ["null", "boxed"]);
}

fn namespaces_of_others_are_joined() {
    let first = Box::new(&["sleep", "100"]);
    let running = first.run().unwrap();
    let mut second = Box::new(&[
        "sh",
        "-c",
        "cat /proc/1/comm; hostname; [ $$ = 1 ] || echo second",
    ]);
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", running.pid);
    second.spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network", "path": path("net")},
        {"type": "uts", "path": path("uts")}, {"type": "pid", "path": path("pid")}, {"type": "ipc", "path": path("ipc")}]);
    second.spec.as_object_mut().unwrap().remove("hostname");
    assert_eq!(lines(&second.run_to_end()), ["sleep", "boxed", "second"]);
    let exec = second.exec(|_| ()).err().unwrap();
    assert!(exec.message.ends_with("container does not exist"), "{exec}");
}

fn a_cgroup_namespace_hides_what_is_above() {
    let mut it = Box::new(&[
        "sh",
        "-c",
        "grep -vc ':/$' /proc/self/cgroup; ls /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null | grep -c pids.max",
    ]);
    it.spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "cgroup"}));
    let ended = it.run_to_end();
    assert_eq!(ended.stdout, "0\n1\n", "{ended:?}");
}

fn a_privileged_container_may_do_almost_everything() {
    let mut it = Box::new(&[
        "sh",
        "-c",
        "mkdir /m && mount -t tmpfs none /m && touch /m/x && echo mounted; (echo 0 >/proc/sys/net/ipv4/ip_forward) && echo written; grep CapEff /proc/self/status",
    ]);
    let all: Vec<String> = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "SYS_ADMIN",
        "NET_ADMIN",
        "SYS_RESOURCE",
        "SETUID",
        "SETGID",
    ]
    .iter()
    .map(|name| format!("CAP_{name}"))
    .collect();
    it.spec["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all});
    it.spec["linux"]["maskedPaths"] = json!([]);
    it.spec["linux"]["readonlyPaths"] = json!([]);
    it.spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    it.spec["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}]);
    let ended = it.run_to_end();
    assert_eq!(lines(&ended)[..2], ["mounted", "written"]);
}

fn what_a_container_gets_hold_of_cannot_be_written() {
    // The image's command is the engine's own program, if that could be reached (CVE-2019-5736).
    let it = Box::new(&["/proc/self/exe"]);
    let result = it.run();
    if let Ok(running) = result {
        assert_ne!(running.end().code, 0);
    }
}

fn many_at_once_do_not_disturb_each_other() {
    let boxes: Vec<Box> = (0..8)
        .map(|n| Box::new(&["sh", "-c", &format!("exit {n}")]))
        .collect();
    std::thread::scope(|scope| {
        let runs: Vec<_> = boxes
            .iter()
            .map(|it| scope.spawn(|| it.run().unwrap().end().code))
            .collect();
        let codes: Vec<i32> = runs.into_iter().map(|run| run.join().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}
