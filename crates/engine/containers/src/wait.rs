//! `ContainerWait`: a subscription to the published state.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Error;
use crate::container::Container;
use crate::requests::{WaitCondition, WaitOutcome};
use crate::service::Containers;
use crate::state::State;

/// Somebody waits. The subscription holds from the moment this exists.
#[derive(Debug)]
pub struct Waiting {
    state: watch::Receiver<Arc<Container>>,
    condition: WaitCondition,
    /// How often the process had ended before.
    ends: u64,
}

impl Containers {
    /// Subscribes to the end of a container (`ContainerWait`); nothing that happens after this returns
    /// is missed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting, Error> {
        let state = self.service().index.find(id)?.state.clone();
        let ends = state.borrow().ends.count;
        Ok(Waiting {
            state,
            condition,
            ends,
        })
    }
}

impl Waiting {
    /// Waits, as long as it takes. The exit code is there also when the container is not any more.
    pub async fn outcome(mut self) -> WaitOutcome {
        let (condition, ends) = (self.condition, self.ends);
        let reached = self
            .state
            .wait_for(|container| reached(container, condition, ends))
            .await;
        // The sender goes with the container, or with the daemon.
        let container = reached.map(|found| Arc::clone(&found));
        match container {
            Ok(container) => outcome(&container, condition),
            Err(_gone) => {
                let last = Arc::clone(&self.state.borrow());
                let removed = matches!(last.state, State::Removing);
                WaitOutcome {
                    exit_code: exit_code(&last),
                    error: (!removed).then(|| Error::ShuttingDown.to_string()),
                }
            }
        }
    }
}

fn reached(container: &Container, condition: WaitCondition, ends: u64) -> bool {
    match condition {
        // An end counts, though the restart policy starts it again.
        WaitCondition::NotRunning => {
            container.ends.count > ends
                || (!container.state.is_running() && !matches!(container.state, State::Starting(_)))
        }
        WaitCondition::NextExit => container.ends.count > ends,
        WaitCondition::Removed => matches!(container.state, State::Dead),
    }
}

/// The code of the last end, also while it runs again.
fn exit_code(container: &Container) -> i32 {
    if container.ends.count > 0 {
        container.ends.exit_code
    } else {
        container.run.exit_code
    }
}

fn outcome(container: &Container, condition: WaitCondition) -> WaitOutcome {
    let dead = condition == WaitCondition::Removed && matches!(container.state, State::Dead);
    WaitOutcome {
        exit_code: exit_code(container),
        error: dead.then(|| container.run.error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Process;
    use crate::testing;
    use arca_types::ContainerId;

    fn waiting(condition: WaitCondition) -> (watch::Sender<Arc<Container>>, Waiting, Container) {
        let container = testing::container(&ContainerId::random(), "web");
        let (sender, state) = watch::channel(Arc::new(container.clone()));
        (
            sender,
            Waiting {
                state,
                condition,
                ends: 0,
            },
            container,
        )
    }

    #[tokio::test]
    async fn a_container_that_does_not_run_is_not_waited_for() {
        let (_sender, waiting, _) = waiting(WaitCondition::NotRunning);
        assert_eq!(
            waiting.outcome().await,
            WaitOutcome {
                exit_code: 0,
                error: None
            }
        );
    }

    #[tokio::test]
    async fn an_end_is_noticed_even_when_it_runs_again() {
        let (sender, waiting, mut container) = waiting(WaitCondition::NextExit);
        container.state = State::Running(Process { pid: 1 });
        container.ends.count = 1;
        container.ends.exit_code = 3;
        sender.send_replace(Arc::new(container));
        assert_eq!(waiting.outcome().await.exit_code, 3);
    }

    #[tokio::test]
    async fn an_end_ends_the_wait_for_one_that_is_started_again() {
        let (sender, mut waiting, mut container) = waiting(WaitCondition::NotRunning);
        container.ends.count = 1;
        container.state = State::Running(Process { pid: 1 });
        sender.send_replace(Arc::new(container.clone()));
        waiting.ends = 1;
        container.ends.count = 2;
        container.ends.exit_code = 3;
        sender.send_replace(Arc::new(container));
        assert_eq!(waiting.outcome().await.exit_code, 3);
    }

    #[tokio::test]
    async fn the_exit_code_outlives_the_container() {
        let (sender, waiting, mut container) = waiting(WaitCondition::Removed);
        container.ends.count = 1;
        container.ends.exit_code = 7;
        container.state = State::Removing;
        sender.send_replace(Arc::new(container));
        drop(sender);
        assert_eq!(
            waiting.outcome().await,
            WaitOutcome {
                exit_code: 7,
                error: None
            }
        );
    }

    #[tokio::test]
    async fn a_removal_that_failed_is_told() {
        let (sender, waiting, mut container) = waiting(WaitCondition::Removed);
        container.state = State::Dead;
        container.run.error = "disk on fire".into();
        sender.send_replace(Arc::new(container));
        assert_eq!(
            waiting.outcome().await.error.as_deref(),
            Some("disk on fire")
        );
    }
}
