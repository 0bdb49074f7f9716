//! A container has ended: its network goes.

use arca_store::{Batch, Durability};
use arca_types::{ContainerId, chain};

use crate::Networks;
use crate::endpoint::release;
use crate::error::Error;
use crate::record::SandboxRecord;
use crate::service::Inner;
use crate::translate;

impl Networks {
    /// Takes a container's network away, whatever there is of it; no harm when there is none.
    ///
    /// # Errors
    /// The first failure; everything else has been taken away all the same.
    pub async fn detach(&self, id: &ContainerId) -> Result<(), Error> {
        let sandbox = self.sandbox(id);
        let result = self.0.take_down(id).await;
        if let Some(sandbox) = sandbox {
            self.0.tell(id, &sandbox, "disconnect").await;
        }
        result
    }
}

impl Inner {
    /// Namespace, links, redirections, ports, record, addresses, in this order: an address is given to the
    /// next one only when nobody answers to it any more.
    pub(crate) async fn take_down(&self, id: &ContainerId) -> Result<(), Error> {
        let sandbox = self
            .state()
            .sandboxes
            .get(id)
            .map(|live| live.record.sandbox.clone());
        let Some(sandbox) = sandbox else {
            return Ok(());
        };
        sandbox
            .endpoints
            .iter()
            .for_each(|endpoint| self.silence(endpoint));
        let deleted = async {
            let batch = Batch::new().delete::<SandboxRecord>(id.as_str());
            self.commit(batch, Durability::Process).await
        };
        let detached = async {
            if sandbox.netns.is_none() {
                return Ok(());
            }
            let config = translate::sandbox(&sandbox)?;
            let failed = |cause| Error::Backend {
                container: id.short().to_owned(),
                cause,
            };
            self.net.detach(config).await.map_err(failed)
        };
        let (deleted, detached) = tokio::join!(deleted, detached);
        let ports = self
            .state()
            .sandboxes
            .get_mut(id)
            .and_then(|live| live.ports.take());
        if let Some(ports) = ports {
            ports.release().await;
        }
        let mut guard = self.state();
        guard.sandboxes.remove(id);
        sandbox
            .endpoints
            .iter()
            .for_each(|endpoint| release(&mut guard, endpoint));
        if let (Err(error), Err(_)) = (&deleted, &detached) {
            tracing::warn!(container.id = %id, error = chain(error), "a network's record stays");
        }
        detached.and(deleted)
    }
}
