//! `ContainerExec`: a further process is described; it does not run yet.

use std::sync::Arc;

use arca_types::ExecId;

use crate::Error;
use crate::container::Container;
use crate::execs::Exec;
use crate::keys;
use crate::requests::ExecRequest;
use crate::service::Containers;
use crate::state::State;

impl Containers {
    /// Describes a further process of a running container (`ContainerExec`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`], [`Error::ExecPaused`], [`Error::Restarting`];
    /// [`Error::Invalid`] without a command or for keys that are not understood.
    pub async fn exec_create(&self, id: &str, request: ExecRequest) -> Result<ExecId, Error> {
        let container = self.get(id)?;
        can_exec(&container)?;
        if request.cmd.is_empty() {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        keys::parse(request.detach_keys.as_deref())?;
        if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
            let dir = &request.working_dir;
            let text = format!(
                "the working directory '{dir}' is invalid, it needs to be an absolute path"
            );
            return Err(Error::Invalid(text));
        }
        let exec = self.add_exec(&container, ExecId::random(), request).await;
        Ok(exec.id.clone())
    }

    /// Registers a session.
    pub(crate) async fn add_exec(
        &self,
        container: &Container,
        id: ExecId,
        request: ExecRequest,
    ) -> Arc<Exec> {
        let exec = Exec::new(id, container.id.clone(), request);
        let service = self.service();
        service.execs.insert(Arc::clone(&exec), service.clock.now());
        self.exec_event(container, &exec, "exec_create").await;
        exec
    }

    /// Publishes an event about a session, with its command.
    pub(crate) async fn exec_event(&self, container: &Container, exec: &Exec, action: &str) {
        let action = format!("{action}: {}", exec.request.cmd.join(" "));
        let event = crate::actor::event(container, &action).with("execID", exec.id.as_str());
        self.service().events.publish(event).await;
    }
}

/// Whether a further process can be started in a container.
///
/// # Errors
/// What it is in the way.
pub(crate) fn can_exec(container: &Container) -> Result<(), Error> {
    let id = container.id.to_string();
    match container.state {
        State::Running(_) => Ok(()),
        State::Paused(_) => Err(Error::ExecPaused(id)),
        State::Restarting => Err(Error::Restarting(id)),
        _ => Err(Error::NotRunning(id)),
    }
}
