//! `ContainerDelete`: everything a container holds is given back; its record goes last.

use std::io;
use std::sync::Arc;

use arca_store::{Batch, Durability};
use arca_types::Signal;

use crate::Error;
use crate::actor::{Actor, AtEnd, Command, Reply};
use crate::model::MountType;
use crate::record::ContainerRecord;
use crate::requests::RemoveRequest;
use crate::service::Containers;
use crate::start::blocking;
use crate::state::{Input, State};
use crate::stop::DEATH;
use crate::timers::Timer;

impl Containers {
    /// Removes a container (`ContainerDelete`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it runs and `force` is not set;
    /// [`Error::RemovalInProgress`]; others when something cannot be removed: it is `dead` then, and
    /// removing it may be tried again.
    pub async fn remove(&self, id: &str, request: RemoveRequest) -> Result<(), Error> {
        if request.link {
            return self.unlink(id).await;
        }
        let handle = self.service().index.find(id)?;
        if matches!(handle.snapshot().state, State::Removing) {
            return Err(Error::RemovalInProgress(id.to_owned()));
        }
        self.ask(&handle, |reply| Command::Remove(request, reply))
            .await
    }
}

impl Actor {
    /// Removes it now, or when its process has been killed.
    pub(crate) async fn remove(&mut self, request: RemoveRequest, reply: Reply<()>) {
        if self.c.state.is_running() && !request.force {
            let (name, state) = (&self.c.name, self.c.state.as_str());
            let hint = if matches!(self.c.state, State::Paused(_)) {
                " and must be unpaused first"
            } else {
                ": stop the container before removing or force remove"
            };
            let text = format!("cannot remove container \"{name}\": container is {state}{hint}");
            return self.answer(reply, Err(Error::Conflict(text)));
        }
        if matches!(self.c.state, State::Restarting) {
            self.call_off_restart().await;
        }
        if self.c.state.process().is_none() {
            let removed = self.take_apart(request).await;
            return self.answer(reply, removed);
        }
        self.intent.remove = Some(request.volumes);
        match self.send_signal(Signal::KILL).await {
            Ok(()) => {
                self.timers.start(DEATH, Timer::GiveUp);
                self.at_end.push(AtEnd::Remove(request, reply));
            }
            Err(cause) => {
                self.intent.remove = None;
                self.save_quietly().await;
                let text = format!(
                    "cannot remove container \"{}\": could not kill",
                    self.c.name
                );
                self.answer(reply, Err(Error::context(text, cause)));
            }
        }
    }

    /// Gives everything back. What fails leaves the container dead.
    ///
    /// # Errors
    /// The first failure; the others are logged.
    pub(crate) async fn take_apart(&mut self, request: RemoveRequest) -> Result<(), Error> {
        self.intent.remove = Some(request.volumes);
        self.request(Input::Remove).await?;
        self.prober = None;
        self.early.clear();
        match self.give_back(request.volumes).await {
            Ok(()) => {
                self.service.index.remove(&self.c.id);
                self.event("destroy").await;
                tracing::info!(container.id = %self.c.id, "removed");
                self.gone = true;
                Ok(())
            }
            Err(error) => {
                self.c.run.error = arca_types::chain(&error);
                self.note(Input::RemoveFailed).await;
                Err(error)
            }
        }
    }

    /// All steps, each of which may be repeated; the record goes when nothing else is left.
    async fn give_back(&mut self, volumes: bool) -> Result<(), Error> {
        let service = Arc::clone(&self.service);
        let id = self.c.id.clone();
        service.execs.forget(&id);
        service.networks.detach(&id).await.map_err(Error::from)?;
        service.runtime.remove(&id).await.map_err(Error::Runtime)?;
        service.storage.remove(&id).await.map_err(Error::Storage)?;
        for holder in self
            .c
            .mounts
            .iter()
            .filter_map(|point| point.layers.as_ref())
        {
            service
                .storage
                .remove(holder)
                .await
                .map_err(Error::Storage)?;
        }
        for point in self
            .c
            .mounts
            .iter()
            .filter(|point| point.kind == MountType::Volume)
        {
            service.volumes.release(&point.name, &id);
            let last = service.volumes.users(&point.name) == 0;
            if volumes && point.anonymous && last {
                match service.volumes.remove(&point.name, true).await {
                    Ok(()) | Err(arca_volumes::Error::NotFound(_)) => {}
                    Err(error) => {
                        let error = arca_types::chain(&error);
                        tracing::warn!(volume = point.name, error, "a volume is not removed");
                    }
                }
            }
        }
        let dir = Arc::clone(&self.c.dir);
        blocking(move || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(Error::file("remove directory", &*dir)),
        })
        .await?;
        let batch = Batch::new().delete::<ContainerRecord>(id.as_str());
        service
            .store
            .commit(batch, Durability::Disk)
            .await
            .map_err(Error::Store)?;
        service.images.release(&id);
        Ok(())
    }
}
