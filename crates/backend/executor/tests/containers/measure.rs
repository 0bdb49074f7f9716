//! How long it takes: `containers measure`; with `ARCA_TEST_RUNC` also on that runtime. Figures for
//! people, not a test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use arca_executor::delete;
use arca_shim_proto::RuntimeKind;
use serde_json::json;

use crate::host::Box;

const ROUNDS: usize = 30;

pub(crate) fn main() {
    measure("built in", &RuntimeKind::BuiltIn);
    if let Some(path) = std::env::var_os("ARCA_TEST_RUNC").map(PathBuf::from) {
        let args = Vec::new();
        measure("foreign", &RuntimeKind::Binary { path, args });
    }
}

fn measure(name: &str, runtime: &RuntimeKind) {
    let (mut runs, mut ends, mut deletes, mut execs) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let it = Box::with_runtime(&["true"], runtime.clone());
        let running = timed(&mut runs, || it.run().unwrap());
        timed(&mut ends, || running.end());
        timed(&mut deletes, || delete(&it.container).unwrap());
    }
    let it = Box::with_runtime(&["sleep", "1000"], runtime.clone());
    it.run().unwrap();
    for _ in 0..ROUNDS {
        let exec = || {
            it.exec(|process| process["args"] = json!(["true"]))
                .unwrap()
        };
        timed(&mut execs, exec).end();
    }
    for (what, times) in [
        ("run", runs),
        ("end", ends),
        ("delete", deletes),
        ("exec", execs),
    ] {
        print(name, what, times);
    }
}

fn timed<T>(times: &mut Vec<Duration>, what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    times.push(start.elapsed());
    result
}

fn print(name: &str, what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (best, median) = (times[0], times[times.len() / 2]);
    println!("{name}, {what}: best {best:.1?}, median {median:.1?}");
}
