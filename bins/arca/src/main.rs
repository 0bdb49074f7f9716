//! The operator's tool: `arca doctor` checks a host and the engine's state, and repairs what it can;
//! `arca gc` makes room; `arca setup` installs the engine.
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

mod api;
mod completion;
mod deep;
mod doctor;
mod finding;
mod gc;
mod host;
mod repair;
mod setup;
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
    /// Removes images that nobody uses until the disk is used less than the low watermark.
    Gc(gc::Options),
    /// Installs the engine on this host, which runs systemd, or takes it away again.
    Setup(setup::Options),
    /// Prints what a shell needs to complete the arguments of arca.
    Completion(completion::Options),
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
    /// Repairs what can be repaired: state only while the daemon is not running, content only while it is.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Compares all content of images with its digests, too; this reads the whole store.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Doctor(options) => doctor::run(&options),
        Command::Gc(options) => gc::run(&options),
        Command::Setup(options) => setup::run(&options),
        Command::Completion(options) => completion::run(&options),
    };
    match outcome {
        Ok(healthy) if healthy => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("arca: {error:#}");
            ExitCode::from(2)
        }
    }
}
