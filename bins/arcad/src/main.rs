//! The arca daemon: reads dockerd's flags and `daemon.json`, builds the engine, listens.
//!
//! Nothing here but wiring. What a flag means is in [`options`], what the two sources of settings
//! say together in [`settings`], and what each service gets of it in `services`.

mod accounts;
mod builds;
mod cli;
mod container_log;
mod file;
mod image_gc;
mod listen;
mod logging;
mod objects;
mod options;
mod parse;
mod pidfile;
mod reload;
mod run;
mod services;
mod settings;
mod teardown;
mod userns;
mod validate;

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Version as `docker version` shows it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let program = cli::Program::from_arg0(std::env::args_os().next().as_deref());
    let outcome = match Cli::parse(&program, std::env::args().skip(1)) {
        Ok(Command::Help) => say(&options::usage(&program)),
        Ok(Command::Version) => say(&format!("arca version {VERSION}\n")),
        Ok(Command::Validate(cli)) => {
            validate::check(&program, &cli).and_then(|()| say("configuration OK\n"))
        }
        Ok(Command::Teardown(cli)) => teardown::run(&program, &cli),
        Ok(Command::Run(cli)) => run::run(&program, &cli),
        Err(error) => Err(anyhow::anyhow!("{error}\nSee '{} --help'.", program.name)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}\n");
            // Nothing is left to tell it to when stderr is gone too.
            drop(std::io::stderr().write_all(text.as_bytes()));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
