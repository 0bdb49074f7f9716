//! `ContainerUpdate`: other limits, another restart policy, also while it runs.

use std::sync::Arc;

use arca_store::Durability;

use crate::Error;
use crate::actor::{Actor, Command};
use crate::check;
use crate::limits;
use crate::model::{ContainerSpec, Resources};
use crate::requests::UpdateRequest;
use crate::service::Containers;
use crate::spec::resources;

impl Containers {
    /// Changes limits and the restart policy (`ContainerUpdate`); returns warnings.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for what cannot be; [`Error::Runtime`] when the kernel
    /// refuses. Nothing has changed then.
    pub async fn update(&self, id: &str, request: UpdateRequest) -> Result<Vec<String>, Error> {
        let handle = self.service().index.find(id)?;
        self.ask(&handle, |reply| Command::Update(Box::new(request), reply))
            .await
    }
}

impl Actor {
    pub(crate) async fn update(&mut self, request: UpdateRequest) -> Result<Vec<String>, Error> {
        let failed =
            |cause| Error::context(format!("Cannot update container {}", self.c.id), cause);
        if self.is_going() {
            return Err(failed(Error::MarkedForRemoval("\"update\"")));
        }
        let mut asked = request.resources.clone();
        let warnings = limits::check(
            &mut asked,
            &self.service.facts.abilities,
            limits::Occasion::Update,
        )?;
        let mut spec = ContainerSpec::clone(&self.c.spec);
        apply(&mut spec.host.resources, &asked).map_err(failed)?;
        if let Some(policy) = request.restart_policy {
            check::check_restart_policy(&policy)?;
            if spec.host.auto_remove && policy.kind != crate::model::RestartKind::No {
                let text = "Restart policy cannot be updated because AutoRemove is enabled for the container";
                return Err(failed(Error::Conflict(text.to_owned())));
            }
            spec.host.restart_policy = policy;
        }
        if self.c.state.process().is_some() && request.resources != Resources::default() {
            let limits = resources::convert(&spec.host.resources)?;
            let done = self.service.runtime.update(&self.c.id, &limits).await;
            done.map_err(|error| failed(Error::Runtime(error)))?;
        }
        let before = std::mem::replace(&mut self.c.spec, Arc::new(spec));
        if let Err(error) = self.save(Durability::Disk).await {
            self.c.spec = before;
            return Err(error);
        }
        self.event("update").await;
        Ok(warnings)
    }
}

/// Takes over what is set.
fn apply(own: &mut Resources, new: &Resources) -> Result<(), Error> {
    let number = |own: &mut i64, new: i64| {
        if new != 0 {
            *own = new;
        }
    };
    for (what, has, wants) in [
        ("Period", own.cpu_period, new.cpu_period),
        ("Quota", own.cpu_quota, new.cpu_quota),
    ] {
        let text = if new.nano_cpus > 0 && has > 0 {
            format!("Nano CPUs cannot be updated as CPU {what} has already been set")
        } else if wants > 0 && own.nano_cpus > 0 {
            format!("CPU {what} cannot be updated as NanoCPUs has already been set")
        } else {
            continue;
        };
        return Err(Error::Conflict(format!("Conflicting options: {text}")));
    }
    // Without a limit of swap, too, as with dockerd.
    if new.memory != 0 && new.memory > own.memory_swap && new.memory_swap == 0 {
        let text = "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time";
        return Err(Error::Conflict(text.to_owned()));
    }
    number(&mut own.cpu_shares, new.cpu_shares);
    number(&mut own.memory, new.memory);
    number(&mut own.nano_cpus, new.nano_cpus);
    number(&mut own.cpu_period, new.cpu_period);
    number(&mut own.cpu_quota, new.cpu_quota);
    number(&mut own.cpu_realtime_period, new.cpu_realtime_period);
    number(&mut own.cpu_realtime_runtime, new.cpu_realtime_runtime);
    number(&mut own.memory_reservation, new.memory_reservation);
    number(&mut own.memory_swap, new.memory_swap);
    if new.blkio_weight != 0 {
        own.blkio_weight = new.blkio_weight;
    }
    if !new.cpuset_cpus.is_empty() {
        own.cpuset_cpus.clone_from(&new.cpuset_cpus);
    }
    if !new.cpuset_mems.is_empty() {
        own.cpuset_mems.clone_from(&new.cpuset_mems);
    }
    if new.pids_limit.is_some() {
        own.pids_limit = new.pids_limit;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays() {
        let mut own = Resources {
            memory: 7,
            cpu_shares: 5,
            ..Resources::default()
        };
        let new = Resources {
            cpu_shares: 9,
            pids_limit: Some(3),
            ..Resources::default()
        };
        apply(&mut own, &new).unwrap();
        assert_eq!(
            (own.memory, own.cpu_shares, own.pids_limit),
            (7, 9, Some(3))
        );
    }

    #[test]
    fn memory_cannot_grow_over_the_swap_limit() {
        let mut own = Resources {
            memory: 10,
            memory_swap: 20,
            ..Resources::default()
        };
        let new = Resources {
            memory: 30,
            ..Resources::default()
        };
        assert!(
            apply(&mut own, &new)
                .unwrap_err()
                .to_string()
                .starts_with("Memory limit should be")
        );
        let new = Resources {
            memory: 30,
            memory_swap: 60,
            ..Resources::default()
        };
        assert!(apply(&mut own, &new).is_ok());
    }
}
