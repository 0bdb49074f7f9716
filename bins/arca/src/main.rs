//! The operator's tool: `arca doctor` checks a host and the engine's state, and repairs what it can.
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

mod api;
mod doctor;
mod finding;
mod host;
mod repair;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The operator's tool of the arca container engine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks what the kernel offers, the daemon's socket, disk space, and the state against reality.
    Doctor(Options),
}

/// Which engine is looked at.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Root directory of persistent state.
    #[arg(long, default_value = "/var/lib/arca")]
    pub(crate) data_root: PathBuf,
    /// Root directory of execution state files.
    #[arg(long, default_value = "/run/arca")]
    pub(crate) exec_root: PathBuf,
    /// The daemon's socket.
    #[arg(long, default_value = "/var/run/arca.sock")]
    pub(crate) socket: PathBuf,
    /// Repairs what can be repaired; only while the daemon is not running.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn main() -> ExitCode {
    let Command::Doctor(options) = Arguments::parse().command;
    match doctor::run(&options) {
        Ok(healthy) if healthy => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("arca: {error:#}");
            ExitCode::from(2)
        }
    }
}
