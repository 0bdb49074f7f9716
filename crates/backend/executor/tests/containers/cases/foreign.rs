//! The same with a foreign runtime.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use arca_executor::{FailureKind, cgroups, delete, kill, pause, pids, resume, update};
use arca_shim_proto::RuntimeKind;
use serde_json::json;

use crate::host::{Box, Ended};

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

pub(super) fn a_foreign_runtime_does_the_same() {
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

pub(super) fn a_foreign_runtime_has_terminals() {
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
