//! A running exec session on disk: its process outlives the daemon, and so does what was asked of it.

use std::collections::HashMap;

use arca_store::{Batch, Durability, Record};
use arca_types::{ContainerId, ExecId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::execs::Exec;
use crate::requests::ExecRequest;
use crate::service::Service;
use crate::start::blocking;

/// A session as the store keeps it while its process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecRecord {
    /// Its container.
    pub(crate) container: ContainerId,
    /// What was asked for.
    pub(crate) request: ExecRequest,
    /// When it was started.
    pub(crate) since: Timestamp,
}

impl Record for ExecRecord {
    const TABLE: &'static str = "execs";
    const VERSION: u32 = 1;
}

impl Service {
    /// Notes a session that is about to be started.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn note_exec(&self, exec: &Exec, since: Timestamp) -> Result<(), Error> {
        let record = ExecRecord {
            container: exec.container.clone(),
            request: ExecRequest::clone(&exec.request),
            since,
        };
        let batch = Batch::new().put(exec.id.as_str(), &record);
        let saved = self
            .store
            .commit(batch.map_err(Error::Store)?, Durability::Process);
        saved.await.map_err(Error::Store)
    }

    /// Forgets sessions that have ended.
    pub(crate) async fn forget_execs(&self, ended: &[ExecId]) {
        if ended.is_empty() {
            return;
        }
        let batch = ended.iter().fold(Batch::new(), |batch, id| {
            batch.delete::<ExecRecord>(id.as_str())
        });
        if let Err(error) = self.store.commit(batch, Durability::Process).await {
            let error = arca_types::chain(&error);
            tracing::warn!(error, "exec sessions that have ended are not forgotten");
        }
    }

    /// The sessions that ran when the last daemon ended.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn noted_execs(&self) -> Result<HashMap<String, ExecRecord>, Error> {
        let store = self.store.clone();
        let all = blocking(move || {
            let table = store.table::<ExecRecord>();
            table.load_all().map_err(Error::Store)
        });
        Ok(all.await?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_reads_back() {
        let golden = r#"{"container":"abababababababababababababababababababababababababababababababab","request":{"streams":{"stdin":true,"stdout":true,"stderr":false},"tty":true,"cmd":["sh"],"env":["A=1"],"user":"1","privileged":false,"working_dir":"/","detach_keys":"ctrl-a","console_size":[24,80]},"since":"2026-01-02T03:04:05Z"}"#;
        let record: ExecRecord = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), golden);
    }
}
