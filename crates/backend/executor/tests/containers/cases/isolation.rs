//! What a container sees and may do, and what of it reaches others.

use std::fs;
use std::io::{Read, Write};

use arca_executor::delete;
use serde_json::json;

use super::lines;
use crate::host::Box;

/// A container with the shared directory `host` bound three times.
fn with_binds(script: &str, host: &std::path::Path) -> Box {
    let mut it = Box::new(&["sh", "-c", script]);
    for (name, propagation) in [
        ("shared", "rshared"),
        ("slave", "rslave"),
        ("private", "rprivate"),
    ] {
        let bind = json!({"destination": format!("/{name}"), "type": "bind", "source": host,
            "options": ["rbind", propagation]});
        it.spec["mounts"].as_array_mut().unwrap().push(bind);
    }
    it.spec["linux"]["rootfsPropagation"] = json!("shared");
    for set in ["bounding", "effective", "permitted"] {
        let capabilities = &mut it.spec["process"]["capabilities"][set];
        capabilities
            .as_array_mut()
            .unwrap()
            .push(json!("CAP_SYS_ADMIN"));
    }
    it
}

/// Reads from a terminal until it has said `word`; returns everything read.
fn expect(terminal: &mut impl Read, word: &str) -> String {
    let mut said = String::new();
    let mut byte = [0];
    while !said.contains(word) {
        terminal
            .read_exact(&mut byte)
            .unwrap_or_else(|_| panic!("{said}"));
        said.push(char::from(byte[0]));
    }
    said
}

pub(super) fn binds_propagate_as_they_are_told() {
    use rustix::mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
    };
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    for sub in ["sub", "back"] {
        fs::create_dir_all(host.join(sub)).unwrap();
    }
    mount_bind(&host, &host).unwrap();
    mount_change(&host, MountPropagationFlags::SHARED).unwrap();
    let script = "echo ready; read -r x; ls /shared/sub /slave/sub /private/sub; \
        mount -t tmpfs none /shared/back; mount -t tmpfs none /slave/back; \
        touch /shared/back/s /slave/back/s; echo done; read -r x";
    let mut it = with_binds(script, &host);
    let (running, mut terminal) = it.run_with_terminal();
    expect(&mut terminal, "ready");
    mount("none", host.join("sub"), "tmpfs", MountFlags::empty(), c"").unwrap();
    fs::write(host.join("sub/from-host"), "").unwrap();
    terminal.write_all(b"\n").unwrap();
    let said = expect(&mut terminal, "done").replace('\r', "");
    terminal.write_all(b"\n").unwrap();
    let reached = host.join("back/s").exists();
    let ended = running.end();
    delete(&it.container).unwrap();
    let host_mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for at in [host.join("sub"), host.join("back"), host.clone()] {
        unmount(at, UnmountFlags::DETACH).ok();
    }
    assert_eq!(
        said.matches("from-host").count(),
        2,
        "shared and slave see it: {said}"
    );
    assert!(reached, "the shared bind reaches the host");
    assert_eq!(ended.code, 0);
    assert!(
        !host_mounts.contains(&it.container.id),
        "the root was never seen by the host"
    );
}

pub(super) fn a_read_only_root_is_read_only() {
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

pub(super) fn hooks_run_where_they_belong() {
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

pub(super) fn seccomp_refuses_calls() {
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

pub(super) fn a_user_namespace_maps_users() {
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

pub(super) fn new_namespaces_belong_to_the_user_namespace_that_is_joined() {
    let maps = |it: &mut Box| {
        for map in ["uidMappings", "gidMappings"] {
            it.spec["linux"][map] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        }
    };
    let mut first = Box::new(&["sleep", "100"]);
    first.spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user"}));
    maps(&mut first);
    let running = first.run().unwrap();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", running.pid);
    let script = "readlink /proc/self/ns/user; id -u; ls -ldn /bin | grep -c ' 0 '; [ -d /proc/1 ] && [ $$ = 1 ] && echo first; hostname";
    // With a pid namespace of its own there is a process in between, without one there is none.
    for pid in [None, Some(path("pid"))] {
        let mut second = Box::new(&["sh", "-c", script]);
        let own = json!({"type": "pid"});
        let pid_namespace = pid
            .as_ref()
            .map_or(own, |path| json!({"type": "pid", "path": path}));
        second.spec["linux"]["namespaces"] = json!([{"type": "user", "path": path("user")}, {"type": "mount"},
            {"type": "network"}, {"type": "uts"}, {"type": "ipc"}, pid_namespace]);
        maps(&mut second);
        let ended = second.run_to_end();
        let all = lines(&ended);
        let theirs = std::fs::read_link(path("user")).unwrap();
        let mut wanted = vec![theirs.to_str().unwrap(), "0", "1"];
        wanted.extend(pid.is_none().then_some("first"));
        wanted.push("boxed");
        assert_eq!(all, wanted);
    }
}

pub(super) fn namespaces_of_others_are_joined() {
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

pub(super) fn a_cgroup_namespace_hides_what_is_above() {
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

pub(super) fn a_privileged_container_may_do_almost_everything() {
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

pub(super) fn what_a_container_gets_hold_of_cannot_be_written() {
    // The image's command is the engine's own program, if that could be reached (CVE-2019-5736).
    let it = Box::new(&["/proc/self/exe"]);
    let result = it.run();
    if let Ok(running) = result {
        assert_ne!(running.end().code, 0);
    }
}

pub(super) fn many_at_once_do_not_disturb_each_other() {
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
