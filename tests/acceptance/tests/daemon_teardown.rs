//! The end of an engine on a host: what stays between containers goes too, and nothing of anybody else.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::process::Output;

use arca_testkit::{Engine, NetNs, Options, eventually, program};

/// Links, firewall tables and forwarding of a network namespace.
fn kernel(netns: &NetNs) -> String {
    let told = |program: &str, arguments: &[&str]| {
        let output = netns.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let links = told("ip", &["-o", "link", "show"]);
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    format!(
        "{}\n{}{}",
        names.collect::<Vec<_>>().join(" "),
        told("nft", &["list", "ruleset"]),
        told(
            "sysctl",
            &["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
        )
    )
}

fn run(netns: &NetNs, words: &str) {
    let (program, rest) = words.split_once(' ').unwrap();
    let output = netns.command(program).args(rest.split(' ')).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

fn teardown(engine: &Engine) -> Output {
    let roots = [
        ("data-root", engine.data_root()),
        ("exec-root", engine.exec_root()),
    ];
    let mut command = engine.command_beside(program("arcad"));
    command.arg("--teardown");
    for (flag, path) in roots {
        command.arg(format!("--{flag}={}", path.display()));
    }
    let config = engine.data_root().with_file_name("daemon.json");
    command.arg(format!("--config-file={}", config.display()));
    command.output().unwrap()
}

/// The command lines of what runs for an engine, and names its run-time files.
fn processes(engine: &Engine) -> Vec<String> {
    let root = engine.exec_root().to_str().unwrap().to_owned();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&root))
        .collect()
}

/// Whether the process runs that answers containers' DNS questions.
fn answers_names(engine: &Engine) -> bool {
    let all = processes(engine);
    all.iter().any(|line| line.contains("/arca-dns "))
}

#[track_caller]
fn refused(engine: &Engine, why: &str) {
    let output = teardown(engine);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains(why), "{text}");
}

#[track_caller]
fn torn_down(engine: &Engine) {
    let output = teardown(engine);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[test]
fn nothing_of_an_engine_stays_on_the_host_when_it_leaves() {
    let engine = Engine::start();
    let Some(netns) = engine.netns() else {
        // It is arcad's own way to leave.
        return;
    };
    let fresh = kernel(&NetNs::new());
    // It is somebody else's, though it looks like one of ours.
    run(netns, "ip link add other0 alias arca type bridge");
    run(netns, "nft add table inet arca-other");
    let [both, inner, name] = ["both", "inner", "app"].map(|what| engine.name(what));
    let create = ["network", "create", "--ipv6", &both];
    engine.docker(&create).ok();
    let create = ["network", "create", "--internal", &inner];
    engine.docker(&create).ok();
    let on = ["--network", &both, "-p", "127.0.0.1::80", "busybox"];
    engine
        .run_detached(&name, &[&on[..], &["sleep", "1000"]].concat())
        .ok();
    assert_ne!(kernel(netns), fresh);

    // Not under a daemon, nor under a container.
    refused(&engine, "arca.db");
    engine.stop();
    assert!(answers_names(&engine), "a container needs it");
    let before = kernel(netns);
    refused(&engine, "containers run: 1; stop them first");
    assert_eq!(kernel(netns), before);
    engine.launch();
    engine.docker(&["exec", &name, "true"]).ok();
    engine.docker(&["stop", &name]).ok();
    engine.stop();
    assert!(!answers_names(&engine), "nobody needs it");

    torn_down(&engine);
    let left = kernel(netns);
    assert!(
        left.contains("other0") && left.contains("arca-other"),
        "{left}"
    );
    run(netns, "ip link delete other0");
    run(netns, "nft delete table inet arca-other");
    assert_eq!(kernel(netns), fresh);
    torn_down(&engine);
    assert_eq!(kernel(netns), fresh);
    let exec_root = engine.exec_root();
    let netns_files = std::fs::read_dir(exec_root.join("netns")).unwrap();
    assert_eq!(netns_files.count(), 0);
    eventually("nothing runs any more, and nothing is mounted", || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let gone = !mounts.contains(exec_root.to_str().unwrap()) && processes(&engine).is_empty();
        gone.then_some(())
    });

    // What it had made is still known, and made again.
    engine.launch();
    engine.docker(&["start", &name]).ok();
    assert!(engine.docker(&["port", &name]).ok().contains("127.0.0.1:"));
    engine.docker(&["rm", "-f", &name]).ok();
    engine.stop();
    torn_down(&engine);
    assert_eq!(kernel(netns), fresh);
    engine.launch();
}

#[test]
fn what_others_have_put_on_the_engines_things_stays() {
    let engine = Engine::start_with(Options {
        flags: vec!["--bridge=shared0".to_owned()],
        ..Options::default()
    });
    let Some(netns) = engine.netns() else {
        return;
    };
    let tables = || {
        let output = netns.command("nft").args(["list", "tables"]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(' ').nth(2));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let own = tables();
    let user = own.iter().find(|name| name.ends_with("-user")).unwrap();
    run(netns, &format!("nft add rule inet {user} forward counter"));
    run(netns, "ip link add guest0 type veth peer name guest1");
    run(netns, "ip link set guest0 master shared0");
    engine.stop();
    refused(
        &engine,
        "links that are not the engine's are on shared0: it stays",
    );
    run(netns, "ip link delete guest0");
    torn_down(&engine);
    assert_eq!(tables(), [user.as_str()]);
    run(netns, &format!("nft flush table inet {user}"));
    torn_down(&engine);
    assert!(tables().is_empty());
    engine.launch();
    assert_eq!(tables(), own);
}
