//! Answers the DNS questions of containers. One for each engine, started by arcad; it outlives arcad and
//! ends when neither arcad nor a container needs it.
//!
//! Usage: `arca-dns <exec root>`.

use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let directory: PathBuf = arguments
        .next()
        .context("usage: arca-dns <exec root>")?
        .into();
    arca_net::keep_names(&directory)
        .with_context(|| format!("cannot serve {}", directory.display()))
}
