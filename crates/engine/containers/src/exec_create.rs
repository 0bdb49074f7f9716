//! `ContainerExec`: a further process is described; it does not run yet.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use arca_types::ExecId;

use crate::Error;
use crate::container::Container;
use crate::execs::Exec;
use crate::keys;
use crate::requests::ExecRequest;
use crate::service::Containers;
use crate::start::blocking;
use crate::state::State;
use crate::users;

impl Containers {
    /// Describes a further process of a running container (`ContainerExec`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`], [`Error::ExecPaused`], [`Error::Restarting`];
    /// [`Error::Invalid`] without a command or for keys that are not understood.
    pub async fn exec_create(&self, id: &str, request: ExecRequest) -> Result<ExecId, Error> {
        let container = self.get(id)?;
        can_exec(&container, id)?;
        if request.cmd.is_empty() {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        keys::parse(request.detach_keys.as_deref()).map_err(|_error| {
            let keys = request.detach_keys.as_deref().unwrap_or_default();
            Error::Failed(format!("Invalid escape keys ({keys}) provided"))
        })?;
        if !request.user.is_empty() {
            find_user(&container, request.user.clone()).await?;
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
        // The program, a blank, and its arguments: the blank is there without arguments, too.
        let (program, arguments) = match exec.request.cmd.split_first() {
            Some((program, arguments)) => (program.as_str(), arguments.join(" ")),
            None => ("", String::new()),
        };
        let action = format!("{action}: {program} {arguments}");
        let event = crate::actor::event(container, &action).with("execID", exec.id.as_str());
        self.service().events.publish(event).await;
    }
}

/// Checks that a user is known in a container that runs.
async fn find_user(container: &Container, user: String) -> Result<(), Error> {
    let id = container.id.to_string();
    let pid = container.state.process().map_or(0, |process| process.pid);
    blocking(move || {
        let root = std::fs::File::open(format!("/proc/{pid}/root"))
            .map_err(|_gone| Error::NotRunning(id))?;
        users::resolve(root.as_fd(), &user, &[]).map(|_account| ())
    })
    .await
}

/// Whether a further process can be started in a container, which a client calls `name`.
///
/// # Errors
/// What it is in the way.
pub(crate) fn can_exec(container: &Container, name: &str) -> Result<(), Error> {
    let id = container.id.to_string();
    match container.state {
        State::Running(_) => Ok(()),
        State::Paused(_) => Err(Error::ExecPaused(name.to_owned())),
        State::Restarting => Err(Error::Restarting(id)),
        _ => Err(Error::NotRunning(id)),
    }
}
