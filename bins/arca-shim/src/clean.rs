//! Taking apart a container whose shim is gone.

use anyhow::Context;
use arca_shim_proto::{RUN_FILE, RunSpec, STATE_FILE, StateRecord};

use crate::container;
use crate::directory::Directory;

/// Kills what is left of the container of this directory and removes its cgroups.
pub(crate) fn clean(directory: &str) -> anyhow::Result<()> {
    let directory = Directory::new(directory);
    let Some(state) = directory.read::<StateRecord>(STATE_FILE)? else {
        return Ok(());
    };
    let Some(run) = directory.read::<RunSpec>(RUN_FILE)? else {
        return Ok(());
    };
    let container = container::of(state.id.as_str(), directory.path(), run.runtime);
    arca_executor::delete(&container).context("delete the container")
}
