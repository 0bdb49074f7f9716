//! Real containers in this host's kernel: what a shim does, with a busybox for an image.
//!
//! The harness is our own: `run` and `exec` need a process with one thread, so this program plays the
//! shim's helper as well when it is called with a directory. Needs root and a static busybox.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "all of this program is test code"
)]

mod cases;
mod helper;
mod host;
mod measure;

use std::panic::catch_unwind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, dir] = arguments.as_slice()
        && word == "helper"
    {
        return helper::main(dir.as_ref());
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        // What test runners ask for before they run each case by its name. None is ignored.
        let cases = cases::ALL.iter().filter(|_| !has("--ignored"));
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let exact = has("--exact");
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    if wanted.is_some_and(|wanted| wanted == "measure") {
        measure::main();
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, case) in cases::ALL {
        if wanted.is_some_and(|wanted| name != wanted && (exact || !name.contains(wanted.as_str())))
        {
            continue;
        }
        let passed = catch_unwind(case).is_ok();
        println!("{name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    println!("{failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
