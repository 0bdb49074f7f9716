//! The process that sends the log to somebody else: it is there as long as the container runs.

use std::time::{Duration, Instant};

use arca_shim_proto::{LogSpec, RUN_FILE, RunSpec};

use super::{Shim, complain};
use crate::delivery::Delivery;

/// The delay before it is started again.
const AGAIN: Duration = Duration::from_secs(1);

impl Shim {
    /// Begins to deliver a log, if it is to be delivered.
    pub(super) fn deliver(&mut self, log: &LogSpec) {
        if !arca_logging::is_delivered(log) {
            return;
        }
        match Delivery::start(log, self.directory.path()) {
            Ok(delivery) => self.delivery = Some(delivery),
            Err(error) => {
                complain("the log is not delivered", error.as_ref());
                self.delivery_due = Some((Instant::now() + AGAIN, log.clone()));
            }
        }
    }

    /// A child has ended: `true` when it was the one that delivers. While the container runs it has no
    /// reason to.
    pub(super) fn delivery_ended(&mut self, pid: i32) -> bool {
        if self
            .delivery
            .take_if(|delivery| delivery.pid == pid)
            .is_none()
        {
            return false;
        }
        match self.directory.read::<RunSpec>(RUN_FILE) {
            Ok(Some(run)) => self.delivery_due = Some((Instant::now() + AGAIN, run.log)),
            Ok(None) => {}
            Err(error) => complain("the log is not delivered any more", error.as_ref()),
        }
        true
    }

    /// Nothing more is written: what is there is delivered without the shim.
    pub(super) fn finish_delivery(&mut self) {
        if let Some((_, log)) = self.delivery_due.take() {
            self.deliver(&log);
        }
        if let Some(delivery) = self.delivery.take()
            && let Err(error) = delivery.finish()
        {
            complain("the end of the log may not be delivered", &error);
        }
    }
}
