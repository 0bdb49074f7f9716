//! Each flag of `docker run` and `docker create`: given to the client, and its effect read inside the
//! container or from the kernel. What belongs to networks, mounts, health, restart policies, logging and
//! terminals has test programs of its own besides.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail where they stand"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arca_testkit::Engine;
use serde_json::json;

/// What comes of a flag.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// The script writes exactly this.
    Is(&'static str),
    /// What it writes contains this.
    Has(&'static str),
    /// One or the other, depending on the version of the cgroups.
    Either(&'static str, &'static str),
    /// The client fails, and says this.
    Fails(&'static str),
}
use Want::{Either, Fails, Has, Is};

/// Flags, what runs, and what comes of it. `{ns:ipc}` is the host's namespace, `{hostname}` its name,
/// `{disk}` a block device, `{other}` a container that runs, `{id}` is different in each row.
type Row = (&'static [&'static str], &'static str, Want);

/// `cg V1 V2` shows a file of the container's cgroup.
const PRELUDE: &str =
    "cg() { cat /sys/fs/cgroup/$2 2>/dev/null || cat /sys/fs/cgroup/$1 2>/dev/null; }; ";

const RESOURCES: &[Row] = &[
    (
        &["-m", "64m"],
        "cg memory/memory.limit_in_bytes memory.max",
        Is("67108864"),
    ),
    (
        &["-m", "64m", "--memory-swap", "96m"],
        "cg memory/memory.memsw.limit_in_bytes memory.swap.max",
        Either("100663296", "33554432"),
    ),
    (
        &["-m", "64m"],
        "cg memory/memory.memsw.limit_in_bytes memory.swap.max",
        Either("134217728", "67108864"),
    ),
    (
        &["-m", "64m", "--memory-swap=-1"],
        "cg memory/memory.memsw.limit_in_bytes memory.swap.max",
        Either("9223372036854771712", "max"),
    ),
    (
        &["--memory-reservation", "32m"],
        "cg memory/memory.soft_limit_in_bytes memory.low",
        Is("33554432"),
    ),
    (
        &["-m", "4m"],
        ":",
        Fails("Minimum memory limit allowed is 6MB"),
    ),
    (
        &["-m", "64m", "--memory-swap", "32m"],
        ":",
        Fails("Minimum memoryswap limit should be larger than memory limit, see usage"),
    ),
    (
        &["--memory-swap", "64m"],
        ":",
        Fails("You should always set the Memory limit when using Memoryswap limit, see usage"),
    ),
    (
        &["--cpus", "0.5"],
        "cg cpu/cpu.cfs_quota_us cpu.max",
        Either("50000", "50000 100000"),
    ),
    (
        &["--cpus", "10000"],
        ":",
        Fails("range of CPUs is from 0.01 to "),
    ),
    (
        &["--cpu-period", "20000", "--cpu-quota", "10000"],
        "cg cpu/cpu.cfs_quota_us cpu.max; cg cpu/cpu.cfs_period_us /",
        Either("10000\n20000", "10000 20000"),
    ),
    (
        &["--cpu-quota", "10"],
        ":",
        Fails("CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ),
    (
        &["--cpu-period", "10"],
        ":",
        Fails(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
    ),
    (
        &["--cpus", "1", "--cpu-period", "20000"],
        ":",
        Fails("Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    ),
    (
        &["--cpu-shares", "512"],
        "cg cpu/cpu.shares cpu.weight",
        Either("512", "20"),
    ),
    (
        &["--cpuset-cpus", "0"],
        "grep Cpus_allowed_list /proc/self/status",
        Is("Cpus_allowed_list:\t0"),
    ),
    (
        &["--cpuset-mems", "0"],
        "grep Mems_allowed_list /proc/self/status",
        Is("Mems_allowed_list:\t0"),
    ),
    (
        &["--cpuset-cpus", "0,9999"],
        ":",
        Fails("Invalid value 0,9999 for cpuset cpus: value of out range, maximum is 8192"),
    ),
    (
        &["--cpuset-cpus", "4000"],
        ":",
        Fails("Requested CPUs are not available - requested 4000, available: "),
    ),
    (
        &["--pids-limit", "50"],
        "cg pids/pids.max pids.max",
        Is("50"),
    ),
    (
        &["--pids-limit", "-1"],
        "cg pids/pids.max pids.max",
        Is("max"),
    ),
    (
        &["--device-read-bps", "{disk}:1mb"],
        "cg blkio/blkio.throttle.read_bps_device io.max",
        Has("1048576"),
    ),
    (
        &["--device-write-bps", "{disk}:2mb"],
        "cg blkio/blkio.throttle.write_bps_device io.max",
        Has("2097152"),
    ),
    (
        &["--device-read-iops", "{disk}:100"],
        "cg blkio/blkio.throttle.read_iops_device io.max",
        Has("100"),
    ),
    (
        &["--device-write-iops", "{disk}:200"],
        "cg blkio/blkio.throttle.write_iops_device io.max",
        Has("200"),
    ),
    (
        &["--oom-score-adj", "500"],
        "cat /proc/self/oom_score_adj",
        Is("500"),
    ),
    (
        &["--oom-score-adj", "5000"],
        ":",
        Fails("Invalid value 5000, range for oom score adj is [-1000, 1000]"),
    ),
    (
        &["--ulimit", "nofile=500:600", "--ulimit", "core=0"],
        "ulimit -Sn; ulimit -Hn; ulimit -c",
        Is("500\n600\n0"),
    ),
    (
        &["--shm-size", "2m"],
        "grep ' /dev/shm ' /proc/mounts",
        Has("size=2048k"),
    ),
    (&["--kernel-memory", "64m"], "echo ignored", Is("ignored")),
    (&["--isolation", "default"], "echo accepted", Is("accepted")),
    (
        &["--isolation", "process"],
        ":",
        Fails("linux only supports 'default'"),
    ),
    (
        &["--cgroup-parent", "/arca-flags-{pid}", "--cgroupns", "host"],
        "cat /proc/self/cgroup",
        Has("/arca-flags-{pid}/"),
    ),
];

/// What only cgroups of version 1 have.
const RESOURCES_V1: &[Row] = &[
    (
        &["--memory-swappiness", "10"],
        "cat /sys/fs/cgroup/memory/memory.swappiness",
        Is("10"),
    ),
    (
        &["--oom-kill-disable", "-m", "64m"],
        "cat /sys/fs/cgroup/memory/memory.oom_control",
        Has("oom_kill_disable 1"),
    ),
    (
        &["--cpu-rt-period", "500000"],
        "cat /sys/fs/cgroup/cpu/cpu.rt_period_us",
        Is("500000"),
    ),
    (
        &["--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000"],
        ":",
        Fails("cpu real-time runtime cannot be higher than cpu real-time period"),
    ),
];

const PROCESS: &[Row] = &[
    (
        &["-e", "A=b c", "-e", "B=", "-e", "UNSET"],
        "echo \"$A|${B-unset}|${UNSET-unset}\"",
        Is("b c||unset"),
    ),
    (
        &["-h", "box", "--domainname", "example.org"],
        "hostname; cat /proc/sys/kernel/domainname; hostname -f",
        Is("box\nexample.org\nbox.example.org"),
    ),
    (&["-w", "/new/dir"], "pwd", Is("/new/dir")),
    (&["-w", "/new/../dir"], "pwd", Is("/dir")),
    (
        &["-w", "dir"],
        ":",
        Fails("the working directory 'dir' is invalid, it needs to be an absolute path"),
    ),
    (
        &["-u", "www-data"],
        "id -un; id -gn; id -G",
        Is("www-data\nwww-data\n33"),
    ),
    (
        &["-u", "1234"],
        "id -u; id -g; echo $HOME",
        Is("1234\n0\n/"),
    ),
    (&["-u", "33:8"], "id -u; id -g", Is("33\n8")),
    (
        &["-u", "nosuch"],
        ":",
        Fails("unable to find user nosuch: no matching entries in passwd file"),
    ),
    (
        &["--group-add", "mail", "--group-add", "4321"],
        "id -G",
        Has("4321"),
    ),
    (&["--init"], "cat /proc/1/comm", Is("docker-init")),
    (&["-t"], "tty; echo $TERM", Is("/dev/pts/0\r\nxterm")),
    (&["--stop-signal", "FOO"], ":", Fails("invalid signal: FOO")),
    (&["--runtime", "runc"], "echo ran", Is("ran")),
    (
        &["--runtime", "nosuch"],
        ":",
        Fails("unknown or invalid runtime name: nosuch"),
    ),
    (&["--platform", "linux/amd64"], "uname -m", Is("x86_64")),
    (
        &["--pull", "never", "--platform", "linux/arm64"],
        ":",
        Fails("linux/arm64"),
    ),
    (
        &["--read-only"],
        "touch /x 2>&1",
        Is("touch: /x: Read-only file system"),
    ),
    (
        &["--tmpfs", "/t:size=1m,mode=700"],
        "grep ' /t ' /proc/mounts; stat -c %a /t",
        Has("size=1024k"),
    ),
    (
        &["--tmpfs", "t"],
        ":",
        Fails("invalid mount path: 't' mount path must be absolute"),
    ),
    (
        &["--rm", "--restart", "always"],
        ":",
        Fails("conflicting options: cannot specify both --restart and --rm"),
    ),
    (
        &["--storage-opt", "size=1G"],
        ":",
        Fails("--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
    ),
    (
        &["--volumes-from", "{other}:ro"],
        "cat /shared/file; touch /shared/x 2>&1",
        Is("kept\ntouch: /shared/x: Read-only file system"),
    ),
    (
        &["--volumes-from", "nosuch"],
        ":",
        Fails("No such container: nosuch"),
    ),
    (
        &["--volumes-from", "{other}:odd"],
        ":",
        Fails("invalid mode: odd"),
    ),
    (
        &["--add-host", "a:1.2.3.4", "--add-host", "b:::5"],
        "grep -w a /etc/hosts; grep -w b /etc/hosts",
        Is("1.2.3.4\ta\n::5\tb"),
    ),
    (
        &[
            "--dns",
            "1.2.3.4",
            "--dns-search",
            "x.org",
            "--dns-option",
            "ndots:3",
        ],
        "grep '^[^#]' /etc/resolv.conf | sort",
        Is("nameserver 1.2.3.4\noptions ndots:3\nsearch x.org"),
    ),
    (
        &["--link", "{other}:other"],
        "getent hosts other >/dev/null || grep -c 'other' /etc/hosts; echo $OTHER_PORT_80_TCP_PORT $OTHER_ENV_FROM",
        Has("80 there"),
    ),
    (
        &["--link", "nosuch"],
        ":",
        Fails("could not get container for nosuch: No such container: nosuch"),
    ),
];

const SECURITY: &[Row] = &[
    (
        &["--cap-drop", "ALL", "--cap-add", "CHOWN"],
        "grep CapEff /proc/self/status",
        Is("CapEff:\t0000000000000001"),
    ),
    (&["--cap-add", "nosuch"], ":", Fails("CAP_NOSUCH")),
    (
        &["--cap-add", "SYS_TIME"],
        "grep CapEff /proc/self/status",
        Is("CapEff:\t00000000aa0425fb"),
    ),
    (
        &["--privileged"],
        "grep Seccomp: /proc/self/status; mount -o remount,rw /sys && echo may",
        Is("Seccomp:\t0\nmay"),
    ),
    (
        &["--security-opt", "no-new-privileges"],
        "grep NoNewPrivs /proc/self/status",
        Is("NoNewPrivs:\t1"),
    ),
    (
        &["--security-opt", "seccomp=unconfined"],
        "grep Seccomp: /proc/self/status",
        Is("Seccomp:\t0"),
    ),
    (
        &["--security-opt", "systempaths=unconfined"],
        "grep -c ' /proc/' /proc/mounts",
        Is("0"),
    ),
    (&["--security-opt", "label=disable"], "echo ran", Is("ran")),
    // Where the kernel has no SELinux a label has no effect.
    (
        &["--security-opt", "label=type:svirt_t"],
        "grep -c svirt_t /proc/self/attr/current 2>/dev/null || echo none",
        Has("n"),
    ),
    (
        &["--security-opt", "nosuch=1"],
        ":",
        Fails("invalid --security-opt 2: \"nosuch=1\""),
    ),
    (
        &["--device", "/dev/kmsg:/dev/odd:r"],
        "test -c /dev/odd && { echo x > /dev/odd; } 2>&1",
        Has("Operation not permitted"),
    ),
    (
        &["--device-cgroup-rule", "c 10:232 r"],
        "mknod /d c 10 232; (: </d) 2>&1 | grep -c 'not permitted'",
        Is("0"),
    ),
    (
        &[],
        "mknod /d c 10 232; (: </d) 2>&1 | grep -c 'not permitted'",
        Is("1"),
    ),
    (
        &[
            "--sysctl",
            "kernel.msgmax=4321",
            "--sysctl",
            "net.ipv4.ip_default_ttl=33",
        ],
        "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl",
        Is("4321\n33"),
    ),
    (
        &["--ipc", "host"],
        "readlink /proc/self/ns/ipc",
        Is("{ns:ipc}"),
    ),
    (
        &["--ipc", "none"],
        "ls -d /dev/shm 2>&1; mount | grep -c /dev/shm",
        Has("0"),
    ),
    (&["--ipc", "odd"], ":", Fails("invalid IPC mode: odd")),
    (
        &["--ipc", "container:nosuch"],
        ":",
        Fails("No such container: nosuch"),
    ),
    (
        &["--pid", "host"],
        "readlink /proc/self/ns/pid",
        Is("{ns:pid}"),
    ),
    (
        &["--pid", "container:{other}"],
        "ps | grep -c '[s]leep 98765'",
        Is("1"),
    ),
    (
        &["--pid", "container:nosuch"],
        ":",
        Fails("No such container: nosuch"),
    ),
    (
        &["--uts", "host"],
        "readlink /proc/self/ns/uts; hostname",
        Is("{ns:uts}\n{hostname}"),
    ),
    (
        &["--uts", "host", "-h", "x"],
        ":",
        Fails("conflicting options: hostname and the UTS mode"),
    ),
    (
        &["--userns", "host"],
        "readlink /proc/self/ns/user",
        Is("{ns:user}"),
    ),
    (
        &["--cgroupns", "host"],
        "readlink /proc/self/ns/cgroup",
        Is("{ns:cgroup}"),
    ),
    (&["--cgroupns", "odd"], ":", Fails("invalid CGROUP mode")),
];

const NETWORK_AND_MOUNTS: &[Row] = &[
    (
        &["--network", "{net}", "--ip", "10.213.7.9"],
        "ip -4 -o addr show eth0",
        Has("inet 10.213.7.9/24"),
    ),
    (
        &["--network", "{net}", "--ip6", "fd00:213::9"],
        "ip -6 -o addr show eth0",
        Has("inet6 fd00:213::9/64"),
    ),
    (
        &["--network", "{net}", "--ip", "10.99.1.1"],
        ":",
        Fails("no configured subnet or ip-range contain the IP address 10.99.1.1"),
    ),
    (
        &["--network", "{net}", "--link-local-ip", "169.254.7.9"],
        "ip -4 -o addr show eth0",
        Has("inet 169.254.7.9/16"),
    ),
    (
        &["--network", "{net}", "--network-alias", "friend"],
        "ping -c 1 -W 5 friend",
        Has("1 packets received"),
    ),
    (
        &["--network-alias", "friend"],
        ":",
        Fails("network-scoped aliases are only supported for user-defined networks"),
    ),
    (&["--network", "none"], "ls /sys/class/net", Is("lo")),
    (
        &["--network", "nosuch"],
        ":",
        Fails("network nosuch not found"),
    ),
    (
        &["--mac-address", "02:42:00:11:22:33"],
        "cat /sys/class/net/eth0/address",
        Is("02:42:00:11:22:33"),
    ),
    (
        &["--mac-address", "nonsense"],
        ":",
        Fails("nonsense is not a valid mac address"),
    ),
    (
        &["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m"],
        "grep ' /t ' /proc/mounts",
        Has("size=1024k"),
    ),
    (
        &["--mount", "type=bind,src=/nosuch,dst=/t"],
        ":",
        Fails("invalid mount config for type \"bind\": bind source path does not exist: /nosuch"),
    ),
    (
        &["--volume", "/v"],
        "touch /v/x && grep -c ' /v ' /proc/mounts",
        Is("1"),
    ),
    (
        &["--volume", "/etc/hostname:/host-name:ro"],
        "cat /host-name; touch /host-name 2>&1",
        Is("{file:/etc/hostname}touch: /host-name: Read-only file system"),
    ),
    (
        &["--volume-driver", "local", "-v", "/v"],
        "grep -c ' /v ' /proc/mounts",
        Is("1"),
    ),
    (&["-P", "--expose", "80"], "echo published", Is("published")),
    (
        &["--publish", "80:99999"],
        ":",
        Fails("nvalid containerPort: 99999"),
    ),
];

/// What is about the client, or changes nothing on Linux.
const CLIENT: &[Row] = &[
    (&["--attach", "stdout"], "echo out; echo err >&2", Is("out")),
    (
        &["--cpu-count", "2"],
        ":",
        Fails("only supported on a Docker daemon running on windows"),
    ),
    (
        &["--cpu-percent", "2"],
        ":",
        Fails("only supported on a Docker daemon running on windows"),
    ),
    (
        &["--io-maxbandwidth", "2"],
        ":",
        Fails("only supported on a Docker daemon running on windows"),
    ),
    (
        &["--io-maxiops", "2"],
        ":",
        Fails("only supported on a Docker daemon running on windows"),
    ),
    (&["--disable-content-trust"], "echo ran", Is("ran")),
    (&["--quiet"], "echo ran", Is("ran")),
    (&["--sig-proxy=false"], "echo ran", Is("ran")),
    (
        &["--detach-keys", "nonsense"],
        ":",
        Fails("unable to upgrade to tcp, received 400"),
    ),
    (
        &["--gpus", "all"],
        ":",
        Fails("could not select device driver \"\" with capabilities: [[gpu]]"),
    ),
    (
        &["--health-interval", "1us"],
        ":",
        Fails("Interval in Healthcheck cannot be less than 1ms"),
    ),
    (&["--no-healthcheck"], "echo ran", Is("ran")),
    (
        &["--log-driver", "nosuch"],
        ":",
        Fails("error looking up logging plugin nosuch: plugin \"nosuch\" not found"),
    ),
    (&["--log-driver", "none"], "echo shown", Is("shown")),
    (
        &["--log-opt", "nosuch=1"],
        ":",
        Fails("unknown log opt 'nosuch' for json-file log driver"),
    ),
    (&["--env", "A=1"], "echo $A", Is("1")),
    (&["--hostname", "box"], "hostname", Is("box")),
    (
        &["--memory", "1m"],
        ":",
        Fails("Minimum memory limit allowed is 6MB"),
    ),
    (&["--user", "33"], "id -u", Is("33")),
    (&["--workdir", "/tmp"], "pwd", Is("/tmp")),
    (&["--interactive"], "cat", Is("")),
    (&["--label", "a=b"], "echo ran", Is("ran")),
    (&["--tty"], "tty", Has("/dev/pts/0")),
    (
        &["--shm-size", "0"],
        "grep ' /dev/shm ' /proc/mounts",
        Has("size=65536k"),
    ),
];

/// Flags whose effect is tested elsewhere, and where.
const ELSEWHERE: &[(&str, &str)] = &[
    ("--annotation", "names_labels_and_annotations_are_kept"),
    (
        "--blkio-weight",
        "the_weight_of_block_io_is_set_where_the_kernel_has_it",
    ),
    (
        "--blkio-weight-device",
        "the_weight_of_block_io_is_set_where_the_kernel_has_it",
    ),
    ("--cidfile", "names_labels_and_annotations_are_kept"),
    (
        "--detach",
        "each test that runs something in the background, by -d",
    ),
    ("--entrypoint", "entry_points_replace_or_vanish"),
    ("--env-file", "names_labels_and_annotations_are_kept"),
    ("--expose", "names_labels_and_annotations_are_kept"),
    ("--health-cmd", "health.rs"),
    ("--health-retries", "health.rs"),
    ("--health-start-interval", "health.rs"),
    ("--health-start-period", "health.rs"),
    ("--health-timeout", "health.rs"),
    ("--help", "shows the flags"),
    ("--label-file", "names_labels_and_annotations_are_kept"),
    ("--name", "names_labels_and_annotations_are_kept"),
    ("--publish-all", "ports.rs, by -P"),
    ("--restart", "restart_policies.rs"),
    ("--rm", "each row"),
    (
        "--stop-timeout",
        "a_stop_uses_the_signal_and_the_time_of_the_container",
    ),
    (
        "--use-api-socket",
        "the_socket_of_the_api_is_mounted_when_it_is_there",
    ),
];

/// What is the same as another flag.
const SHORT: &[(&str, &str)] = &[
    ("-e", "--env"),
    ("-h", "--hostname"),
    ("-m", "--memory"),
    ("-t", "--tty"),
    ("-u", "--user"),
    ("-v", "--volume"),
    ("-w", "--workdir"),
    ("-P", "--publish-all"),
];

/// What a row means here.
fn filled(text: &str, engine: &Engine, other: &str) -> String {
    let namespace = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        link.to_string_lossy().into_owned()
    };
    let mut text = text
        .replace("{other}", other)
        .replace("{net}", other)
        .replace("{file:/etc/hostname}", &host_name_file())
        .replace("{pid}", &std::process::id().to_string())
        .replace("{disk}", &disk());
    for kind in ["ipc", "pid", "uts", "user", "cgroup"] {
        text = text.replace(&format!("{{ns:{kind}}}"), &namespace(kind));
    }
    if text.contains("{hostname}") {
        let (_, info) = engine.http().get("/info");
        text = text.replace("{hostname}", info["Name"].as_str().unwrap());
    }
    text
}

fn host_name_file() -> String {
    std::fs::read_to_string("/etc/hostname").unwrap_or_default()
}

/// Some block device of the host.
fn disk() -> String {
    let mut names: Vec<String> = std::fs::read_dir("/sys/block")
        .unwrap()
        .map(|entry| format!("/dev/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|path| std::path::Path::new(path).exists())
        .collect();
    names.sort();
    names.pop().unwrap()
}

fn check(engine: &Engine, other: &str, (flags, script, want): Row) -> Result<(), String> {
    let flags: Vec<String> = flags
        .iter()
        .map(|flag| filled(flag, engine, other))
        .collect();
    let script = format!("{PRELUDE}{script}");
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(["busybox", "sh", "-c", &script]);
    let output = engine.docker(&arguments);
    let text = output.stdout.trim_end();
    let is = |wanted: &str| text == filled(wanted, engine, other);
    let fits = match want {
        Is(wanted) => is(wanted),
        Has(wanted) => text.contains(&filled(wanted, engine, other)),
        Either(one, two) => is(one) || is(two),
        Fails(words) => output.code != 0 && output.stderr.contains(words),
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "{flags:?}: {want:?}\n  exit code {}\n  stdout {:?}\n  stderr {:?}",
        output.code, output.stdout, output.stderr
    ))
}

/// The cgroup that a row made for its container.
fn remove_parents() {
    let name = format!("arca-flags-{}", std::process::id());
    let roots = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    for root in roots.map(|entry| entry.path()) {
        drop(std::fs::remove_dir(root.join(&name)));
    }
    drop(std::fs::remove_dir(format!("/sys/fs/cgroup/{name}")));
}

/// Checks all rows, several at a time.
fn check_all(rows: &[Row]) {
    let engine = Engine::start();
    let other = engine.name("other");
    let script = "echo kept > /shared/file; exec sleep 98765";
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &other,
            "-v",
            "/shared",
            "-e",
            "FROM=there",
            "--expose",
            "80",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    let networked = rows.iter().any(|(flags, ..)| flags.contains(&"{net}"));
    if networked {
        let subnets = ["--subnet", "10.213.7.0/24", "--subnet", "fd00:213::/64"];
        engine
            .docker(&[&["network", "create", "--ipv6"], &subnets[..], &[&other]].concat())
            .ok();
    }
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = check(&engine, &other, *row) {
                        failures.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    drop(engine.docker(&["rm", "-f", &other]));
    if networked {
        drop(engine.docker(&["network", "rm", &other]));
    }
    remove_parents();
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn limits_are_those_of_the_kernel() {
    check_all(RESOURCES);
}

#[test]
fn limits_that_only_version_1_has_are_set_there() {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let engine = Engine::start();
        let output = engine.docker(&["run", "--rm", "--memory-swappiness=10", "busybox", "true"]);
        assert!(
            output.stderr.contains("Memory swappiness discarded"),
            "{}",
            output.stderr
        );
        return;
    }
    check_all(RESOURCES_V1);
}

#[test]
fn processes_are_as_they_were_asked_for() {
    check_all(PROCESS);
}

#[test]
fn privileges_and_namespaces_are_as_they_were_asked_for() {
    check_all(SECURITY);
}

#[test]
fn networks_and_mounts_are_as_they_were_asked_for() {
    check_all(NETWORK_AND_MOUNTS);
}

#[test]
fn what_the_client_does_it_does_and_what_is_of_other_systems_is_refused() {
    check_all(CLIENT);
}

#[test]
fn each_flag_of_the_client_is_in_a_table() {
    let engine = Engine::start();
    let tables = [
        RESOURCES,
        RESOURCES_V1,
        PROCESS,
        SECURITY,
        NETWORK_AND_MOUNTS,
        CLIENT,
    ];
    let rows = tables.iter().flat_map(|table| table.iter());
    let mut tested: Vec<&str> = rows
        .flat_map(|(flags, ..)| flags.iter())
        .map(|flag| flag.split('=').next().unwrap())
        .collect();
    tested.extend(ELSEWHERE.iter().map(|(flag, _)| *flag));
    let long = SHORT.iter().filter(|(short, _)| tested.contains(short));
    let long: Vec<&str> = long.map(|(_, long)| *long).collect();
    tested.extend(long);
    for command in ["run", "create"] {
        let help = engine.docker(&[command, "--help"]).ok();
        let words = help.lines().filter_map(|line| {
            let mut words = line.split_whitespace().take(2);
            words.find(|word| word.starts_with("--"))
        });
        let all: Vec<&str> = words.collect();
        assert!(all.len() > 90, "{help}");
        let missing: Vec<&&str> = all.iter().filter(|flag| !tested.contains(flag)).collect();
        assert!(missing.is_empty(), "docker {command}: {missing:?}");
    }
}

#[test]
fn the_socket_of_the_api_is_mounted_when_it_is_there() {
    let engine = Engine::start();
    let place = "/var/run/docker.sock";
    let flags = ["run", "--rm", "--use-api-socket"];
    let output = engine.docker(&[&flags[..], &["busybox", "test", "-S", place]].concat());
    if output.code == 0 {
        return;
    }
    let text = format!("bind source path does not exist: {place}");
    assert!(output.stderr.contains(&text), "{output:?}");
}

#[test]
fn the_weight_of_block_io_is_set_where_the_kernel_has_it() {
    let engine = Engine::start();
    let device = format!("{}:300", disk());
    let script = format!("{PRELUDE}cg blkio/blkio.weight_device io.bfq.weight");
    let flags = ["run", "--rm", "--blkio-weight-device", &device];
    let output = engine.docker(&[&flags[..], &["busybox", "sh", "-c", &script]].concat());
    let discarded = "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.";
    assert!(
        output.stderr.contains(discarded) || output.stdout.contains("300"),
        "{} {}",
        output.stdout,
        output.stderr
    );
    // Without BFQ version 2 has a weight of another scale: 10 to 1000 become 1 to 10000.
    let script =
        format!("{PRELUDE}cg blkio/blkio.weight io.bfq.weight || cat /sys/fs/cgroup/io.weight");
    let output = engine.docker(&[
        "run",
        "--rm",
        "--blkio-weight",
        "300",
        "busybox",
        "sh",
        "-c",
        &script,
    ]);
    let discarded = "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
    if output.stdout.is_empty() {
        assert!(output.stderr.contains(discarded), "{}", output.stderr);
    } else {
        let set = output.stdout.trim_end();
        assert!(set.ends_with("300") || set == "default 2930", "{set}");
    }
}

#[test]
fn entry_points_replace_or_vanish() {
    let engine = Engine::start();
    let run = |arguments: &[&str]| engine.docker(&[&["run", "--rm"], arguments].concat()).ok();
    assert_eq!(run(&["--entrypoint", "echo", "busybox", "a", "b"]), "a b");
    assert_eq!(run(&["--entrypoint", "", "busybox", "echo", "c"]), "c");
    let stdout = engine.docker(&[
        "run",
        "--rm",
        "-a",
        "stdout",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2",
    ]);
    assert_eq!(
        (stdout.stdout.as_str(), stdout.stderr.as_str()),
        ("out\n", "")
    );
}

#[test]
fn names_labels_and_annotations_are_kept() {
    let engine = Engine::start();
    let name = engine.name("kept");
    let files = tempfile::tempdir().unwrap();
    let (cid, labels) = (files.path().join("cid"), files.path().join("labels"));
    std::fs::write(&labels, "from=file\n").unwrap();
    engine
        .docker(&[
            "create",
            "--name",
            &name,
            "-l",
            "a=1",
            "-l",
            "b",
            "--annotation",
            "x.y=z",
            "--cidfile",
            cid.to_str().unwrap(),
            "--label-file",
            labels.to_str().unwrap(),
            "--expose",
            "80",
            "busybox",
        ])
        .ok();
    let shown = engine.inspect(&name);
    assert_eq!(
        std::fs::read_to_string(cid).unwrap(),
        shown["Id"].as_str().unwrap()
    );
    assert_eq!(
        shown["Config"]["Labels"],
        json!({"a": "1", "b": "", "from": "file"})
    );
    assert_eq!(shown["HostConfig"]["Annotations"], json!({"x.y": "z"}));
    assert_eq!(shown["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
    std::fs::write(&labels, "A=from the file\nHOME\n").unwrap();
    let file = labels.to_str().unwrap();
    let inside = ["busybox", "sh", "-c", "echo $A"];
    let run = [&["run", "--rm", "--env-file", file], &inside[..]].concat();
    assert_eq!(engine.docker(&run).ok(), "from the file");
    let listed = engine
        .docker(&["ps", "-aq", "--no-trunc", "--filter", "label=from=file"])
        .ok();
    assert!(listed.contains(shown["Id"].as_str().unwrap()));
}

#[test]
fn a_stop_uses_the_signal_and_the_time_of_the_container() {
    let engine = Engine::start();
    let run = |flags: &[&str], script: &str| {
        let name = engine.name("stop");
        let mut arguments = vec!["run", "-d", "--name", &name];
        arguments.extend(flags);
        let script = format!("{script}; echo ready; while :; do sleep 0.1; done");
        arguments.extend(["busybox", "sh", "-c", &script]);
        engine.docker(&arguments).ok();
        arca_testkit::eventually("ready", || {
            engine
                .docker(&["logs", &name])
                .stdout
                .contains("ready")
                .then_some(())
        });
        let stopped = engine.docker(&["stop", &name]).expect(0).took;
        (engine.inspect(&name)["State"]["ExitCode"].clone(), stopped)
    };
    assert_eq!(run(&["--stop-signal", "USR1"], "trap 'exit 9' USR1").0, 9);
    let (code, took) = run(&["--stop-timeout", "1"], "trap '' TERM");
    assert_eq!(code, 137);
    assert!((1..8).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_terminal_begins_with_the_size_that_was_asked_for() {
    let engine = Engine::start();
    let name = engine.name("console");
    let body = json!({"Image": "busybox", "Tty": true, "Cmd": ["stty", "size"],
        "HostConfig": {"ConsoleSize": [33, 77]}});
    let path = format!("/v1.51/containers/create?name={name}");
    assert_eq!(engine.http().post(&path, &body).0, 201);
    engine.docker(&["start", "-a", &name]).expect(0);
    assert_eq!(engine.docker(&["logs", &name]).ok(), "33 77");
}
