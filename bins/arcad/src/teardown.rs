//! `arcad --teardown`: the kernel as it was before the engine came. Removing files is left to who installed them.

use anyhow::{Context as _, anyhow};

use crate::cli::{Cli, Program};
use crate::settings::Settings;
use crate::{services, userns};

/// Removes what an engine with these settings keeps in the kernel while no container runs.
///
/// # Errors
/// The configuration is wrong, a container or a daemon runs, or something cannot be removed.
pub(crate) fn run(program: &Program, cli: &Cli) -> anyhow::Result<()> {
    let settings = Settings::load(program, cli)?;
    let config = services::engine(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime
        .block_on(arca_engine::teardown(config))
        .map_err(|error| anyhow!("{}", arca_types::chain(&error)))?;
    userns::release(&settings.exec_root)
}
