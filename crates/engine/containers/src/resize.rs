//! `ContainerResize`: the size of a container's terminal.

use arca_runtime::ConsoleSize;

use crate::Error;
use crate::actor::{Actor, Command};
use crate::service::Containers;
use crate::state::State;

impl Containers {
    /// Sets the size of a container's terminal, in characters (`ContainerResize`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`]. Without a terminal there is nothing to do.
    pub async fn resize(&self, id: &str, height: u16, width: u16) -> Result<(), Error> {
        let handle = self.service().index.find(id)?;
        let size = ConsoleSize { width, height };
        self.ask(&handle, |reply| Command::Resize(size, reply))
            .await
    }
}

impl Actor {
    pub(crate) async fn resize(&mut self, size: ConsoleSize) -> Result<(), Error> {
        if !matches!(self.c.state, State::Running(_) | State::Paused(_)) {
            return Err(Error::NotRunning(self.c.id.to_string()));
        }
        if self.c.spec.tty {
            let resized = self.service.runtime.resize(&self.c.id, None, size).await;
            resized.map_err(Error::Runtime)?;
        }
        let attributes = [
            ("height", size.height.to_string()),
            ("width", size.width.to_string()),
        ];
        self.event_with("resize", attributes).await;
        Ok(())
    }
}
