//! PID 1 for containers that ask for an init (`docker run --init`).
//!
//! Runs one program, passes signals on to it, takes in every process whose parent has ended, and
//! ends as the program ended. It is mounted into containers whose image may have no C library, so it
//! is linked statically (`build.rs`).
//!
//! Usage: `arca-init [-s] [-g] [--version] [--] PROGRAM [ARGUMENT..]`; `-s` makes it take in orphans
//! though it is not PID 1, `-g` passes signals on to the whole process group of the program.

use std::io::{self, Write};
use std::process::{Command, ExitCode};

use arca_sys::signals::{Received, block_signals, send, spawn_unblocked, wait_for_signal};
use rustix::process::{Pid, WaitOptions, WaitStatus, getpgid, getpid, set_child_subreaper, wait};

const CHILD: i32 = rustix::process::Signal::CHILD.as_raw();
const HANGUP: i32 = rustix::process::Signal::HUP.as_raw();
const USAGE: &str = "usage: arca-init [-s] [-g] [--version] [--] PROGRAM [ARGUMENT..]";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Version,
    Run {
        subreaper: bool,
        group: bool,
        program: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|one| one.to_string_lossy().into_owned());
    match parse(arguments) {
        Some(Request::Version) => {
            let said = writeln!(
                io::stdout(),
                "arca-init version {}",
                env!("CARGO_PKG_VERSION")
            );
            if said.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Some(Request::Run {
            subreaper,
            group,
            program,
        }) => match run(subreaper, group, &program) {
            Ok(code) => ExitCode::from(code),
            Err((what, error)) => {
                eprintln!(
                    "[FATAL arca-init ({})] {what} failed: {error}",
                    getpid().as_raw_nonzero()
                );
                ExitCode::from(match error.kind() {
                    io::ErrorKind::NotFound => 127,
                    io::ErrorKind::PermissionDenied => 126,
                    _ => 1,
                })
            }
        },
        None => {
            eprintln!("{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Request> {
    let (mut subreaper, mut group) = (false, false);
    let mut arguments = arguments.peekable();
    while let Some(flag) = arguments.next_if(|one| one.starts_with('-')) {
        match flag.as_str() {
            "-s" => subreaper = true,
            "-g" => group = true,
            "--version" => return Some(Request::Version),
            "--" => break,
            _ => return None,
        }
    }
    let program: Vec<String> = arguments.collect();
    (!program.is_empty()).then_some(Request::Run {
        subreaper,
        group,
        program,
    })
}

/// What failed, and why.
type Failure = (String, io::Error);

/// Runs the program to its end and returns its exit code.
fn run(subreaper: bool, group: bool, program: &[String]) -> Result<u8, Failure> {
    if subreaper {
        set_child_subreaper(Some(getpid())).map_err(|error| ("prctl".to_owned(), error.into()))?;
    }
    // Before the program is there: not one of its signals may be missed. It starts with none blocked.
    block_signals().map_err(|error| ("sigprocmask".to_owned(), error))?;
    let (name, arguments) = program
        .split_first()
        .ok_or_else(|| (USAGE.to_owned(), io::Error::other("")))?;
    let child = spawn_unblocked(Command::new(name).args(arguments));
    let child = Pid::from_child(&child.map_err(|error| (format!("exec {name}"), error))?);
    loop {
        match wait_for_signal() {
            Ok(Received { number: CHILD, .. }) => {
                if let Some(status) = reap(child).map_err(|error| ("wait".to_owned(), error))? {
                    return Ok(exit_code(status));
                }
            }
            Ok(signal) => pass_on(signal, child, group),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(("sigwaitinfo".to_owned(), error)),
        }
    }
}

/// Takes in all processes that have ended; returns how the program ended if it is among them.
fn reap(program: Pid) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => ended = Some(status),
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Passes a signal on. What a terminal sends to its foreground process group has reached the
/// program already while both are in one group.
fn pass_on(signal: Received, program: Pid, group: bool) {
    let same_group = getpgid(Some(program))
        .is_ok_and(|of_program| getpgid(None).is_ok_and(|own| own == of_program));
    if signal.from_kernel && same_group && signal.number != HANGUP {
        return;
    }
    let target = program.as_raw_nonzero().get();
    // The program may have ended just now; that is its own event.
    send(
        if group && !same_group {
            -target
        } else {
            target
        },
        signal.number,
    )
    .ok();
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or(status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Request> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn flags_end_at_the_program() {
        let run = |subreaper, group, program: &[&str]| {
            let program = program.iter().map(|&one| one.to_owned()).collect();
            Some(Request::Run {
                subreaper,
                group,
                program,
            })
        };
        assert_eq!(parsed("-- sh -c x"), run(false, false, &["sh", "-c", "x"]));
        assert_eq!(parsed("-s -g ls -l"), run(true, true, &["ls", "-l"]));
        assert_eq!(parsed("-- --version"), run(false, false, &["--version"]));
        assert_eq!(parsed("--version"), Some(Request::Version));
        assert_eq!(parsed("-x ls"), None);
        assert_eq!(parsed("--"), None);
    }
}
