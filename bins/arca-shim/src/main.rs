//! `arca-shim`: one per running container. It starts the container, reaps its init process and its
//! execs, holds their standard streams, writes the log, keeps the exit status on disk, and serves
//! arcad and attached clients. It never needs arcad to be alive.
//!
//! One thread, one loop ([`serve`]). What changes the process it runs in, or takes long, is done by
//! the same program in another role. `docs/design/shim-protocol.md` has the protocol and the files.

mod clean;
mod client;
mod container;
mod delivery;
mod detach;
mod directory;
mod helper;
mod input;
mod oom;
mod poller;
mod process;
mod serve;
mod shim;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arca-shim {}: {error:#}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Does what the first argument says.
fn run(arguments: &[&str]) -> anyhow::Result<()> {
    arca_sys::startup::close_inherited().context("close what was inherited")?;
    match arguments {
        // For arcad, with the first connection as standard input.
        ["serve", directory, id] => serve::serve(directory, id),
        // For arcad, when the shim of a container is gone.
        ["clean", directory] => clean::clean(directory),
        // For arcad: namespaces, which only a process with one thread can make.
        ["userns", path, users, groups, directory] => arca_executor::keep_user_namespace(
            Path::new(path),
            (users, groups),
            Path::new(directory),
        )
        .map_err(anyhow::Error::new),
        ["netns", path, users] => {
            arca_executor::keep_network_namespace(Path::new(path), Path::new(users))
                .map_err(anyhow::Error::new)
        }
        // For the shim, with the request as a socket on standard input.
        [helper::ROLE] => helper::main(),
        // For the shim: standard input to standard output.
        ["compress"] => compress(),
        // For the shim, with what to deliver on standard input. The directory tells people whose it is.
        [delivery::ROLE, _directory] => delivery::main(),
        _ => bail!("this program is for arcad; it has no use on the command line"),
    }
}

/// Compresses a log file, when nothing else is to be done.
fn compress() -> anyhow::Result<()> {
    let clone = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(std::fs::File::from);
    let input = clone(rustix::stdio::stdin()).context("standard input")?;
    let output = clone(rustix::stdio::stdout()).context("standard output")?;
    rustix::process::nice(19).context("nice")?;
    arca_logging::compress(&input, &output).context("compress a log file")
}
