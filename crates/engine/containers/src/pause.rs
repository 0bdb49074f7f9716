//! `ContainerPause` and `ContainerUnpause`: freezes all processes of a container, and lets them go on.

use crate::Error;
use crate::actor::{Actor, Command};
use crate::service::Containers;
use crate::state::{Input, State};

impl Containers {
    /// Freezes a container (`ContainerPause`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`], [`Error::Restarting`]; [`Error::Conflict`] when it is
    /// frozen already.
    pub async fn pause(&self, id: &str) -> Result<(), Error> {
        let handle = self.service().index.find(id)?;
        self.ask(&handle, Command::Pause).await
    }

    /// Lets a frozen container go on (`ContainerUnpause`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Failed`] when it is not frozen.
    pub async fn unpause(&self, id: &str) -> Result<(), Error> {
        let handle = self.service().index.find(id)?;
        self.ask(&handle, Command::Unpause).await
    }
}

impl Actor {
    pub(crate) async fn pause(&mut self) -> Result<(), Error> {
        let id = self.c.id.clone();
        match self.c.state {
            State::Running(_) => {}
            State::Paused(_) => {
                return Err(Error::Conflict(format!("Container {id} is already paused")));
            }
            State::Restarting => return Err(Error::Restarting(id.to_string())),
            _ => return Err(Error::NotRunning(id.to_string())),
        }
        let done = self.service.runtime.pause(&id).await;
        done.map_err(|error| {
            Error::context(
                format!("cannot pause container {id}"),
                Error::Runtime(error),
            )
        })?;
        self.prober = None;
        self.note(Input::Pause).await;
        self.event("pause").await;
        Ok(())
    }

    pub(crate) async fn unpause(&mut self) -> Result<(), Error> {
        let id = self.c.id.clone();
        if !matches!(self.c.state, State::Paused(_)) {
            return Err(Error::Failed(format!("Container {id} is not paused")));
        }
        let done = self.service.runtime.resume(&id).await;
        done.map_err(|error| {
            Error::context(
                format!("cannot resume container {id}"),
                Error::Runtime(error),
            )
        })?;
        self.note(Input::Unpause).await;
        self.resume_probing();
        self.event("unpause").await;
        Ok(())
    }
}
