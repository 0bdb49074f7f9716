//! Which of the addresses of a registry is asked first.

use std::sync::OnceLock;

use crate::endpoint::Endpoint;
use crate::remote::{Access, Call};

/// The addresses that gave the first good answers: later requests go there first. What a tag stands for
/// and content may be had from different ones.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    tags: OnceLock<Endpoint>,
    content: OnceLock<Endpoint>,
}

impl Chosen {
    /// Remembers who answered.
    pub(crate) fn note(&self, call: &Call, endpoint: &Endpoint) {
        let _first = self.of(call).get_or_init(|| endpoint.clone());
    }

    /// Who is asked first.
    pub(crate) fn get(&self, call: &Call, all: &[Endpoint]) -> Option<&Endpoint> {
        let chosen = self.of(call).get().or_else(|| {
            // Who knew the tag has the content too, unless a mirror is there for the content alone.
            let idle = all
                .iter()
                .any(|other| other.mirror && !other.capabilities.resolve);
            self.tags.get().filter(|one| one.mirror || !idle)
        });
        chosen.filter(|endpoint| may(endpoint, call))
    }

    /// Who took content, or gave it.
    pub(crate) fn of_content(&self) -> Option<&Endpoint> {
        self.content.get()
    }

    /// Has a mirror answered?
    pub(crate) fn is_mirror(&self) -> bool {
        let answered = [self.content.get(), self.tags.get()];
        answered.into_iter().flatten().any(|one| one.mirror)
    }

    /// Everybody who may be asked, in order.
    pub(crate) fn order<'a>(
        &'a self,
        call: &'a Call,
        all: &'a [Endpoint],
    ) -> impl Iterator<Item = &'a Endpoint> {
        let chosen = self.get(call, all);
        let rest = all
            .iter()
            .filter(move |endpoint| may(endpoint, call) && Some(*endpoint) != chosen);
        chosen.into_iter().chain(rest)
    }

    fn of(&self, call: &Call) -> &OnceLock<Endpoint> {
        if call.resolves {
            &self.tags
        } else {
            &self.content
        }
    }
}

fn may(endpoint: &Endpoint, call: &Call) -> bool {
    if call.past_mirrors && endpoint.mirror {
        return false;
    }
    match call.access {
        Access::Push => endpoint.capabilities.push,
        Access::Pull if call.resolves => endpoint.capabilities.resolve,
        Access::Pull => endpoint.capabilities.pull,
    }
}
