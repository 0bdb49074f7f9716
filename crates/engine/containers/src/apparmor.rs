//! Which AppArmor profile a container's processes run under.

use std::sync::Arc;

use crate::Error;
use crate::container::Container;
use crate::model::ContainerSpec;
use crate::service::Service;
use crate::spec::security;
use crate::start::blocking;

impl Service {
    /// The profile for processes of a container; `None` on a host without AppArmor. The default
    /// profile is loaded when it is not.
    ///
    /// # Errors
    /// [`Error::AppArmor`] when the default profile cannot be loaded.
    pub(crate) async fn apparmor_profile(
        self: &Arc<Self>,
        spec: &ContainerSpec,
    ) -> Result<Option<String>, Error> {
        if !self.facts.apparmor {
            return Ok(None);
        }
        let name = profile(spec)?;
        if name == arca_apparmor::DEFAULT_PROFILE {
            blocking(|| arca_apparmor::ensure_default().map_err(Error::AppArmor)).await?;
        }
        Ok(Some(name))
    }

    /// The profile as inspect shows it: decided at the first start.
    pub(crate) fn shown_profile(&self, container: &Container) -> String {
        if !self.facts.apparmor || container.run.started_at.is_zero() {
            return String::new();
        }
        profile(&container.spec).unwrap_or_default()
    }
}

/// The container's own profile, none for a privileged one, or the default.
fn profile(spec: &ContainerSpec) -> Result<String, Error> {
    let options = spec.host.security_opt.as_deref().unwrap_or_default();
    let own = security::parse(options)?.apparmor;
    Ok(own.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        if spec.host.privileged {
            arca_apparmor::UNCONFINED.to_owned()
        } else {
            arca_apparmor::DEFAULT_PROFILE.to_owned()
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_the_containers_own_or_follows_from_its_privileges() {
        let of = |options: &[&str], privileged: bool| {
            let mut spec = ContainerSpec::default();
            spec.host.privileged = privileged;
            spec.host.security_opt = Some(options.iter().map(|o| (*o).to_owned()).collect());
            profile(&spec).unwrap()
        };
        assert_eq!(of(&[], false), "docker-default");
        assert_eq!(of(&[], true), "unconfined");
        assert_eq!(of(&["apparmor=mine"], true), "mine");
        assert_eq!(of(&["apparmor=unconfined"], false), "unconfined");
        assert_eq!(of(&["apparmor:docker-default"], true), "docker-default");
    }
}
