//! What a cached step is, for `docker buildx du`.

use crate::graph::{Op, Source};

use super::Step;

impl Step {
    /// The kind of record it makes.
    pub(crate) fn kind(&self) -> &'static str {
        match self.vertex.op() {
            Op::Source(Source::Local(_)) => "source.local",
            Op::Source(Source::Git(_)) => "source.git.checkout",
            _ => "regular",
        }
    }

    /// What people see of it.
    pub(crate) fn description(&self) -> String {
        let name = self.vertex.name();
        match self.vertex.op() {
            Op::Source(Source::Image(image)) => format!("pulled from {}", image.reference),
            Op::Exec(_) => format!("mount / from exec {name}"),
            _ => name,
        }
    }
}
