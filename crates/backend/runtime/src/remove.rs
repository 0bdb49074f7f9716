//! Forgetting a container that has ended.

use arca_types::ContainerId;

use crate::error::Error;
use crate::lost;
use crate::runtime::{Runtime, blocking};

impl Runtime {
    /// Removes what the shim of an ended container has left. A container that never ran, or was
    /// removed already, is no error. Clients that have yet to read its last output keep their
    /// sessions.
    ///
    /// # Errors
    /// [`Error::Running`] while it runs; [`Error::File`] or [`Error::Spawn`] when something cannot
    /// be removed: try again then.
    pub async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let directory = self.directory(id);
        let connected = self.shim(id).is_ok();
        let program = self.inner.config.shim.clone();
        let container = id.clone();
        blocking(move || {
            if directory
                .path()
                .try_exists()
                .map_err(Error::file("find", directory.path()))?
            {
                if directory.exit()?.is_none() {
                    if connected {
                        return Err(Error::Running(container));
                    }
                    lost::clean_up(&program, &directory)?;
                }
                directory.remove()?;
            }
            Ok(())
        })
        .await?;
        self.forget(id);
        Ok(())
    }
}
