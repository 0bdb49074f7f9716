//! The program itself, as a subreaper of this host.
#![expect(clippy::unwrap_used, reason = "all of this program is test code")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn init(script: &str) -> Child {
    // Below nohup it would begin with a signal ignored, which no shell can catch.
    Command::new("env")
        .args(["--default-signal", env!("CARGO_BIN_EXE_arca-init")])
        .args(["-s", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads a line from the program's output.
fn line(child: &mut Child) -> String {
    let mut text = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut text)
        .unwrap();
    text
}

#[test]
fn it_ends_as_the_program_ends() {
    assert_eq!(init("exit 7").wait().unwrap().code(), Some(7));
    assert_eq!(init("kill -9 $$").wait().unwrap().code(), Some(137));
}

#[test]
fn signals_reach_the_program() {
    for (signal, number) in [("TERM", 15), ("USR1", 10), ("HUP", 1)] {
        let mut child = init(&format!(
            "trap 'exit 3' {signal}; echo ready; while :; do sleep 0.01; done"
        ));
        assert_eq!(line(&mut child), "ready\n");
        arca_sys::signals::send(i32::try_from(child.id()).unwrap(), number).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "{signal}");
    }
}

#[test]
fn orphans_are_taken_in() {
    // The orphan's parent ends at once; the program waits until the orphan is no zombie any more.
    let script = "pid=$(sh -c 'sleep 0.01 >/dev/null & echo $!'); while [ -d /proc/$pid ]; do :; done; exit 5";
    assert_eq!(init(script).wait().unwrap().code(), Some(5));
}

#[test]
fn a_program_that_cannot_run_has_the_code_of_a_shell() {
    let run = |program: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arca-init"));
        let output = command.arg("--").arg(program).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = run("/no/such");
    assert_eq!(code, Some(127));
    assert!(
        said.contains("] exec /no/such failed: No such file or directory"),
        "{said}"
    );
    assert_eq!(run("/etc/passwd").0, Some(126));
}
