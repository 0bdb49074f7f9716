//! The cases, as facts.

mod foreign;
mod isolation;
mod limits;

use std::fs;
use std::io::{Read, Write};

use arca_executor::{FailureKind, kill, pids};
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
        "an_exec_may_have_a_terminal_too",
        an_exec_may_have_a_terminal_too,
    ),
    (
        "descriptors_of_the_host_lead_nowhere",
        descriptors_of_the_host_lead_nowhere,
    ),
    (
        "limits_are_in_the_cgroup_and_can_be_changed",
        limits::limits_are_in_the_cgroup,
    ),
    (
        "a_paused_container_does_nothing",
        limits::a_paused_container_does_nothing,
    ),
    (
        "systemd_makes_the_cgroup_if_asked",
        limits::systemd_makes_the_cgroup_if_asked,
    ),
    ("deletion_ends_everything", limits::deletion_ends_everything),
    (
        "binds_propagate_as_they_are_told",
        isolation::binds_propagate_as_they_are_told,
    ),
    (
        "a_read_only_root_is_read_only",
        isolation::a_read_only_root_is_read_only,
    ),
    (
        "hooks_run_where_they_belong",
        isolation::hooks_run_where_they_belong,
    ),
    ("seccomp_refuses_calls", isolation::seccomp_refuses_calls),
    (
        "a_user_namespace_maps_users",
        isolation::a_user_namespace_maps_users,
    ),
    (
        "new_namespaces_belong_to_the_user_namespace_that_is_joined",
        isolation::new_namespaces_belong_to_the_user_namespace_that_is_joined,
    ),
    (
        "namespaces_of_others_are_joined",
        isolation::namespaces_of_others_are_joined,
    ),
    (
        "a_cgroup_namespace_hides_what_is_above",
        isolation::a_cgroup_namespace_hides_what_is_above,
    ),
    (
        "a_privileged_container_may_do_almost_everything",
        isolation::a_privileged_container_may_do_almost_everything,
    ),
    (
        "what_a_container_gets_hold_of_cannot_be_written",
        isolation::what_a_container_gets_hold_of_cannot_be_written,
    ),
    (
        "many_at_once_do_not_disturb_each_other",
        isolation::many_at_once_do_not_disturb_each_other,
    ),
    (
        "a_foreign_runtime_does_the_same",
        foreign::a_foreign_runtime_does_the_same,
    ),
    (
        "a_foreign_runtime_has_terminals",
        foreign::a_foreign_runtime_has_terminals,
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
    let script = "id -u; id -g; id -G; pwd; grep -E '^(CapEff|CapBnd|NoNewPrivs|SigBlk)' /proc/self/status; env";
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
        ls -l /dev | grep -v core | grep -c -- '->'";
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

fn an_exec_may_have_a_terminal_too() {
    let it = Box::new(&["sleep", "100"]);
    it.run().unwrap();
    let (running, mut terminal) = it.exec_with_terminal(&["sh", "-c", "stty size; tty"]);
    let mut said = Vec::new();
    let mut byte = [0];
    while let Ok(1) = terminal.read(&mut byte) {
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).unwrap().replace('\r', "");
    assert_eq!(
        (running.end().code, said.as_str()),
        (0, "9 99\n/dev/pts/0\n")
    );
}

fn descriptors_of_the_host_lead_nowhere() {
    // An image may name its working directory or its program through a descriptor of the process.
    for number in 3..24 {
        let mut it = Box::new(&["pwd"]);
        it.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        if let Ok(running) = it.run() {
            assert_eq!(running.end().stdout, "/\n", "the container's own root");
        }
        let path = format!("/proc/self/fd/{number}/../../../../../../../usr/bin/env");
        assert!(Box::new(&[&path]).run().is_err(), "{path}");
    }
}
