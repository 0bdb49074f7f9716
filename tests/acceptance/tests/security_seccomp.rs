//! The system call filter: what containers may call is what they may call under dockerd 28.5.2.
//!
//! A program in the container tries each system call with arguments that make no sense; refused by the
//! filter is what fails with `EPERM` or `ENOSYS`, and does not so in a container without a filter. It
//! runs with all capabilities (`exec --privileged`), so that the kernel's own refusals hide nothing.
//! `golden/seccomp-refused.json` is what dockerd refused (`ARCA_TEST_RECORD=1` with
//! `ARCA_TEST_DOCKER_HOST` set writes it).
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests fail where they stand, and a story is told in one piece"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use arca_testkit::Engine;
use serde_json::{Value, json};
use syscalls::Sysno;

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Calls that are not tried: they end the process, or keep the host busy.
const LEFT_OUT: [&str; 5] = ["exit", "exit_group", "sync", "vfork", "rt_sigreturn"];

/// Calls whose arguments the filter looks at: a name, the call, arguments.
const WITH_ARGUMENTS: [(&str, Sysno, [u64; 3]); 13] = [
    ("personality:linux", Sysno::personality, [0, 0, 0]),
    ("personality:linux32", Sysno::personality, [8, 0, 0]),
    ("personality:uname26", Sysno::personality, [0x2_0000, 0, 0]),
    ("personality:both", Sysno::personality, [0x2_0008, 0, 0]),
    ("personality:query", Sysno::personality, [0xffff_ffff, 0, 0]),
    (
        "personality:no-randomize",
        Sysno::personality,
        [0x4_0000, 0, 0],
    ),
    ("clone:process", Sysno::clone, [17, 0, 0]),
    ("clone:user-namespace", Sysno::clone, [0x1000_0011, 0, 0]),
    ("clone:network-namespace", Sysno::clone, [0x4000_0011, 0, 0]),
    ("socket:inet", Sysno::socket, [2, 1, 0]),
    ("socket:packet", Sysno::socket, [17, 3, 0]),
    ("socket:vsock", Sysno::socket, [40, 1, 0]),
    ("socket:alg", Sysno::socket, [38, 5, 0]),
];

/// Configurations whose filters differ.
const CONFIGURATIONS: [(&str, &[&str]); 6] = [
    ("default", &[]),
    ("no-capabilities", &["--cap-drop", "ALL"]),
    ("sys-admin", &["--cap-add", "SYS_ADMIN"]),
    ("all-capabilities", &["--cap-add", "ALL"]),
    ("privileged", &["--privileged"]),
    ("unconfined", &["--security-opt", "seccomp=unconfined"]),
];

/// What the program reads: each call with senseless arguments, and those above.
fn calls() -> String {
    let mut text = String::new();
    let senseless = "ffffffffffffffff ".repeat(6);
    for call in Sysno::iter().filter(|call| !LEFT_OUT.contains(&call.name())) {
        writeln!(text, "{} {} {senseless}", call.name(), call.id()).unwrap();
    }
    for (name, call, [a, b, c]) in WITH_ARGUMENTS {
        writeln!(text, "{name} {} {a:x} {b:x} {c:x} 0 0 0", call.id()).unwrap();
    }
    text
}

/// Builds the program.
fn program(directory: &Path) -> PathBuf {
    let program = directory.join("syscall");
    arca_testkit::static_c(include_str!("../c/syscall.c"), &program);
    program
}

/// The result of each call in a container with `options`.
fn results(engine: &Engine, program: &Path, options: &[&str]) -> BTreeMap<String, i32> {
    let name = engine.name("seccomp");
    let bind = format!("{}:/syscall:ro", program.display());
    let mut arguments = vec![
        "run",
        "-d",
        "--name",
        &name,
        "-v",
        &bind,
        "--network",
        "none",
    ];
    arguments.extend(options);
    arguments.extend(["busybox", "sleep", "600"]);
    engine.docker(&arguments).ok();
    let exec = ["exec", "-i", "--privileged", &name, "/syscall"];
    let output = engine.docker_with(&exec, calls().as_bytes()).ok();
    engine.docker(&["rm", "-f", &name]).ok();
    let line = |line: &str| {
        let (name, result) = line.split_once(' ').unwrap();
        (name.to_owned(), result.parse().unwrap())
    };
    output.lines().map(line).collect()
}

fn is_refusal(result: i32) -> bool {
    matches!(result, EPERM | ENOSYS)
}

#[test]
fn each_system_call_is_refused_where_dockerd_refuses_it() {
    if cfg!(not(target_arch = "x86_64")) {
        // The recorded answers are of that machine; the profile for others has unit tests.
        return;
    }
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let found: BTreeMap<&str, BTreeMap<String, i32>> = CONFIGURATIONS
        .iter()
        .map(|(name, options)| (*name, results(&engine, &program, options)))
        .collect();
    let bare = &found["unconfined"];
    assert!(bare.len() > 300, "{}", bare.len());
    let visible: BTreeSet<&String> = bare
        .iter()
        .filter(|(_, result)| !is_refusal(**result))
        .map(|(name, _)| name)
        .collect();
    let refused: BTreeMap<&str, BTreeMap<&String, i32>> = found
        .iter()
        .map(|(configuration, results)| {
            let refused = results
                .iter()
                .filter(|(name, result)| is_refusal(**result) && visible.contains(name));
            let refused = refused.map(|(name, result)| (name, *result)).collect();
            (*configuration, refused)
        })
        .collect();
    if std::env::var_os("ARCA_TEST_RECORD").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/seccomp-refused.json");
        assert!(!engine.is_own(), "recorded from another engine");
        let record = json!({"visible": visible, "refused": refused});
        let text = serde_json::to_string_pretty(&record).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
        return;
    }
    let golden: Value =
        serde_json::from_str(include_str!("../golden/seccomp-refused.json")).unwrap();
    let recorded: BTreeSet<&str> = golden["visible"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    let mut differences = Vec::new();
    let mut compared = 0;
    for (configuration, refused) in &refused {
        for name in visible
            .iter()
            .filter(|name| recorded.contains(name.as_str()))
        {
            let ours = refused.get(*name).copied();
            let theirs = golden["refused"][*configuration].get(name.as_str());
            let theirs = theirs.map(|result| i32::try_from(result.as_i64().unwrap()).unwrap());
            compared += 1;
            if ours != theirs {
                differences.push(format!(
                    "{configuration}: {name}: {ours:?}, dockerd {theirs:?}"
                ));
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
    assert!(compared > 6 * 250, "{compared}");
}

#[test]
fn a_profile_of_ones_own_is_obeyed() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.json");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
        {"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO",
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    ]});
    std::fs::write(&file, profile.to_string()).unwrap();
    let option = format!("seccomp={}", file.display());
    let inside = |more: &[&str]| {
        let mut arguments = vec!["run", "--rm", "--security-opt", &option];
        arguments.extend(more);
        let script = "mkdir /x 2>&1; chmod 700 /tmp 2>&1; echo $?";
        arguments.extend(["busybox", "sh", "-c", script]);
        engine.docker(&arguments).ok()
    };
    let found = inside(&[]);
    assert!(found.contains("File descriptor in bad state"), "{found}");
    assert!(found.ends_with("Operation not permitted\n1"), "{found}");
    let found = inside(&["--cap-add", "SYS_ADMIN"]);
    assert!(found.contains("File descriptor in bad state"), "{found}");
    assert!(found.ends_with("\n0"), "{found}");
}

#[test]
fn a_profile_that_is_none_is_refused() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.json");
    for (text, words) in [
        ("{", "compacting json for seccomp profile"),
        (r#"{"defaultAction": 5}"#, "Decoding seccomp profile failed"),
    ] {
        std::fs::write(&file, text).unwrap();
        let option = format!("seccomp={}", file.display());
        let output = engine.docker(&["run", "--rm", "--security-opt", &option, "busybox", "true"]);
        let said = output.expect(125).stderr;
        assert!(said.contains(words), "{said}");
    }
}
