//! How to take back what was set up, step by step.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::Error;

type Step = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The steps back, the last first. Dropping it keeps what was set up.
#[derive(Default)]
pub(crate) struct Undo(Vec<(&'static str, Step)>);

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(what, _)| what))
            .finish()
    }
}

impl Undo {
    /// Notes how to take back a step that succeeded.
    pub(crate) fn push(
        &mut self,
        what: &'static str,
        step: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        self.0.push((what, Box::pin(step)));
    }

    /// Takes everything back. What fails is logged, and the rest goes on.
    pub(crate) async fn run(self) {
        for (what, step) in self.0.into_iter().rev() {
            if let Err(error) = step.await {
                let error = arca_types::chain(&error);
                tracing::warn!(what, error, "a step could not be taken back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn steps_are_taken_back_in_reverse_and_a_failure_stops_nothing() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut undo = Undo::default();
        for step in 1..=3 {
            let done = Arc::clone(&done);
            undo.push("step", async move {
                done.lock().unwrap().push(step);
                if step == 2 {
                    Err(Error::ShuttingDown)
                } else {
                    Ok(())
                }
            });
        }
        undo.run().await;
        assert_eq!(*done.lock().unwrap(), [3, 2, 1]);
    }
}
