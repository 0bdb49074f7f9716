//! An SSH agent of the client's, as a socket in a step, or for git.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::secrets::{SecretDir, set};
use crate::Error;
use crate::graph::SshMount;
use crate::session::BuildSession;
use crate::solve::Step;

/// Connections that are forwarded at the same time.
const CONNECTIONS: usize = 64;

/// A socket that is forwarded as long as this lives.
#[derive(Debug)]
pub(crate) struct Agent {
    _serving: JoinSet<()>,
}

/// Makes the socket; `None` when the client has no agent and need not.
pub(crate) async fn forward(
    step: &Step,
    mount: &SshMount,
    (directory, name): (&SecretDir, &str),
) -> Result<Option<(Agent, PathBuf)>, Error> {
    let session = Arc::clone(step.job.session());
    if !session.has_ssh(&mount.id).await? {
        if mount.optional {
            return Ok(None);
        }
        let id = if mount.id.is_empty() {
            "default"
        } else {
            &mount.id
        };
        return Err(Error::NotFound(format!("unset ssh forward key {id}")));
    }
    let path = directory.path(name);
    let listener = UnixListener::bind(&path).map_err(Error::file("listen on", &path))?;
    set(&path, (mount.uid, mount.gid, mount.mode))?;
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, session, mount.id.clone()));
    Ok(Some((Agent { _serving: serving }, path)))
}

async fn serve(listener: UnixListener, session: Arc<dyn BuildSession>, id: String) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        while connections.len() >= CONNECTIONS && connections.join_next().await.is_some() {}
        let (session, id) = (Arc::clone(&session), id.clone());
        connections.spawn(async move {
            if let Err(error) = session.ssh(&id, connection).await {
                tracing::debug!(%error, "a connection to an SSH agent ended");
            }
        });
    }
}
