//! Checks and chores of the repository: `cargo xtask tidy`, `cargo xtask coverage`, `cargo xtask bench`.
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

mod bench;
mod coverage;
mod layers;
mod source;
mod workspace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str =
    "usage: cargo xtask <tidy | coverage [--check] | bench [arguments of scripts/bench]>";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["tidy"] => tidy(),
        ["coverage"] => coverage::write(&root()),
        ["coverage", "--check"] => coverage::check(&root()),
        ["bench", rest @ ..] => bench::run(&root(), rest),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository that cargo was called in: a program that was built in another checkout, and
/// copied with its target directory, works on this one.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = Path::new(&here);
    here.parent().unwrap_or(here).to_owned()
}

/// Checks the rules of ARCHITECTURE.md that a program can check.
fn tidy() -> anyhow::Result<()> {
    let root = root();
    let packages = workspace::packages(&root)?;
    let mut found = layers::check(&root, &packages)?;
    found.extend(source::check(&root, &packages)?);
    if found.is_empty() {
        println!("tidy: {} packages are in order", packages.len());
        return Ok(());
    }
    for violation in &found {
        println!("{violation}");
    }
    bail!("tidy: {} violations", found.len())
}
