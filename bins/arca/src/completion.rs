//! `arca completion`: what a shell needs to complete this tool's arguments.

use clap::CommandFactory as _;
use clap_complete::Shell;

/// What is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The shell.
    shell: Shell,
}

/// Prints the completion script.
#[expect(clippy::unnecessary_wraps, reason = "as the other commands have it")]
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    print!("{}", String::from_utf8_lossy(&script(options.shell)));
    Ok(true)
}

/// The completion script of a shell.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::Arguments::command(), "arca", &mut text);
    text
}
