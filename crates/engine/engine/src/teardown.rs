//! The end of an engine on a host.

use arca_networks::Networks;
use arca_runtime::{AdoptedState, Runtime};
use arca_store::Store;

use crate::engine::Config;
use crate::error::Error;
use crate::identity;

/// Removes from the kernel what an engine keeps there while no container runs: bridges, rules, forwarding.
/// State on disk stays, and the next start makes everything again.
///
/// # Errors
/// [`Error::StillRuns`] when a container runs, [`Error::Store`] when a daemon does; what could not be removed.
pub async fn teardown(config: Config) -> Result<(), Error> {
    let path = config.data_root.join("arca.db");
    if !path.exists() {
        // There never was an engine here.
        return Ok(());
    }
    let store = tokio::task::spawn_blocking(|| Store::open(path)).await;
    let store = store
        .map_err(|_cancelled| Error::ShuttingDown)?
        .map_err(Error::Store)?;
    let running = running(&config).await?;
    if running > 0 {
        return Err(Error::StillRuns(running));
    }
    Networks::teardown(&config.networks, &store)
        .await
        .map_err(|cause| Error::Networks(Box::new(cause)))
}

/// How many containers run. What lost ones have left is removed.
async fn running(config: &Config) -> Result<usize, Error> {
    if !config.exec_root.exists() {
        return Ok(0);
    }
    let rebooted = identity::is_rebooted(&config.exec_root)?;
    let runtime = Runtime::open(config.runtime.clone()).map_err(Error::Runtime)?;
    let adopted = runtime.adopt(rebooted).await.map_err(Error::Runtime)?;
    runtime.close().await;
    let runs = |state: &AdoptedState| {
        !matches!(
            state,
            AdoptedState::Ended { .. } | AdoptedState::Lost { .. }
        )
    };
    Ok(adopted.iter().filter(|one| runs(&one.state)).count())
}
