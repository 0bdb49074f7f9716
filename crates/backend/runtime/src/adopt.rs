//! Taking over the shims that an earlier arcad has left.

use arca_shim_proto::{ExecExit, ExitStatus, Phase, Request, Response, Started, State};
use arca_types::{ContainerId, ExecId, Timestamp};
use futures_util::stream::{self, StreamExt};

use crate::error::Error;
use crate::lost;
use crate::runtime::{Runtime, START, blocking};
use crate::start::our_hello;

/// A container that an earlier arcad has started.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Which.
    pub id: ContainerId,
    /// What has become of it.
    pub state: AdoptedState,
}

/// What has become of a container.
#[derive(Debug, Clone)]
pub enum AdoptedState {
    /// It runs, and its events are told from now on.
    Live {
        /// Its init process.
        pid: i32,
        /// When that was started.
        at: Timestamp,
        /// It is frozen.
        paused: bool,
        /// The kernel has killed a process of it for want of memory.
        oom_killed: bool,
        /// Execs that run.
        execs: Vec<(ExecId, i32)>,
        /// Execs that have ended, the last 64.
        ended_execs: Vec<ExecExit>,
    },
    /// It has ended; [`Runtime::remove`] is due.
    Ended {
        /// How.
        status: ExitStatus,
        /// Execs that have ended.
        execs: Vec<ExecExit>,
    },
    /// Its shim is gone without a word; what was left of it is killed. [`Runtime::remove`] is due.
    Lost {
        /// What is known.
        reason: String,
        /// To be taken for its end.
        status: ExitStatus,
    },
}

const AT_ONCE: usize = 32;

impl Runtime {
    /// Takes over all shims of the exec root. Call it once, before anything is started. A shim that
    /// is starting its container is waited for. `rebooted` says that the host was started since they
    /// were: then whoever has the number of a lost process is somebody else, and is left alone.
    ///
    /// # Errors
    /// [`Error::File`] when the directory of shims cannot be read. What fails for a single container
    /// makes it [`AdoptedState::Lost`].
    pub async fn adopt(&self, rebooted: bool) -> Result<Vec<Adopted>, Error> {
        let root = self.shims_root();
        let names = blocking(move || names(&root)).await?;
        let ids = names
            .into_iter()
            .filter_map(|name| match name.parse::<ContainerId>() {
                Ok(id) => Some(id),
                Err(error) => {
                    tracing::warn!(name, %error, "something foreign among the shims is left alone");
                    None
                }
            });
        let adopted = stream::iter(ids)
            .map(|id| async move {
                let state = self.adopt_one(&id, rebooted).await;
                Adopted { id, state }
            })
            .buffer_unordered(AT_ONCE);
        Ok(adopted.collect().await)
    }

    async fn adopt_one(&self, id: &ContainerId, rebooted: bool) -> AdoptedState {
        let reason = match self.greet(id).await {
            Ok(Some(state)) => match self.accept(id, state) {
                Some(state) => return state,
                None => "it ended before it ran anything".to_owned(),
            },
            Ok(None) => "its process is gone".to_owned(),
            Err(error) => arca_types::chain(&error),
        };
        self.forget(id);
        let directory = self.directory(id);
        let program = self.inner.config.shim.clone();
        let found = blocking(move || match directory.exit()? {
            Some(exit) => Ok((Some(exit.execs), exit.status)),
            None if rebooted => {
                directory.remove()?;
                Ok((None, lost::killed()))
            }
            None => Ok((None, lost::clean_up(&program, &directory)?)),
        });
        match found.await {
            Ok((Some(execs), status)) => AdoptedState::Ended { status, execs },
            Ok((None, status)) => AdoptedState::Lost { reason, status },
            Err(error) => AdoptedState::Lost {
                reason: format!("{reason}; {}", arca_types::chain(&error)),
                status: lost::killed(),
            },
        }
    }

    /// Connects to a shim and hears how things stand; `None` when nobody listens.
    async fn greet(&self, id: &ContainerId) -> Result<Option<State>, Error> {
        let directory = self.directory(id);
        let Some(socket) = blocking(move || directory.connect()).await? else {
            return Ok(None);
        };
        let link = self.link(id, socket, None)?;
        match link
            .ask("hello", START, Request::Hello(our_hello()))
            .await?
        {
            Response::State(state) => Ok(Some(*state)),
            _ => Err(Error::Answer {
                id: id.clone(),
                what: "hello",
            }),
        }
    }

    fn accept(&self, id: &ContainerId, state: State) -> Option<AdoptedState> {
        let (Started { pid, at }, paused) = match state.phase {
            Phase::New => return None,
            Phase::Ended(status) => {
                return Some(AdoptedState::Ended {
                    status,
                    execs: state.ended_execs,
                });
            }
            Phase::Running(started) => (started, false),
            Phase::Paused(started) => (started, true),
        };
        let broken = self.amend(id, |shim| {
            shim.init = Some(pid);
            shim.cgroups = Some(state.cgroups.into());
            shim.broken
        });
        (broken == Some(false)).then_some(AdoptedState::Live {
            pid,
            at,
            paused,
            oom_killed: state.oom_killed,
            execs: state.execs,
            ended_execs: state.ended_execs,
        })
    }
}

fn names(root: &std::path::Path) -> Result<Vec<String>, Error> {
    let failed = || Error::file("read", root);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
