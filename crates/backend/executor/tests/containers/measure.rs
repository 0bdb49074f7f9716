//! How long it takes: `containers measure`. Figures for people, not a test.

use std::time::{Duration, Instant};

use arca_executor::delete;
use serde_json::json;

use crate::host::Box;

const ROUNDS: usize = 30;

pub(crate) fn main() {
    let (mut runs, mut ends, mut deletes, mut execs) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let it = Box::new(&["true"]);
        let running = timed(&mut runs, || it.run().unwrap());
        timed(&mut ends, || running.end());
        timed(&mut deletes, || delete(&it.container).unwrap());
    }
    let it = Box::new(&["sleep", "1000"]);
    it.run().unwrap();
    for _ in 0..ROUNDS {
        let running = timed(&mut execs, || {
            it.exec(|process| process["args"] = json!(["true"]))
                .unwrap()
        });
        running.end();
    }
    for (name, times) in [
        ("run", runs),
        ("end", ends),
        ("delete", deletes),
        ("exec", execs),
    ] {
        print(name, times);
    }
}

fn timed<T>(times: &mut Vec<Duration>, what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    times.push(start.elapsed());
    result
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!(
        "{name}: best {:.1?}, median {:.1?}",
        times[0],
        times[times.len() / 2]
    );
}
