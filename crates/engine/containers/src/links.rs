//! Legacy links of the default bridge (`HostConfig.Links`): a container knows others by an alias, with
//! their addresses in `/etc/hosts` and their ports and environment in its own environment.

use std::collections::HashMap;
use std::sync::Arc;

use arca_store::Durability;
use arca_types::ContainerId;

use crate::Error;
use crate::actor::{Actor, Command};
use crate::container::Container;
use crate::model::{ContainerSpec, Link, NetworkMode, Port, Protocol};
use crate::service::{Containers, Service};

/// A link to a container that runs.
#[derive(Debug, Clone)]
pub(crate) struct Linked {
    alias: String,
    address: String,
    child: Arc<Container>,
}

impl Service {
    /// Finds the containers that a new one is linked to.
    ///
    /// # Errors
    /// [`Error::Failed`] for what is not of the form `container[:alias]`; [`Error::Invalid`] for a
    /// container that does not exist, or is on the host's network.
    pub(crate) fn find_links(&self, spec: &mut ContainerSpec) -> Result<(), Error> {
        let links = spec.host.links.take().unwrap_or_default();
        if let NetworkMode::Named(_) = spec.host.network_mode {
            // There the endpoint has them, as aliases that the DNS server knows.
            return Ok(());
        }
        for text in &links {
            let (name, alias) = parse(text)?;
            let found = |name: &str| {
                let found = self.index.find(name).map_err(Error::into_invalid);
                found.map_err(|cause| {
                    Error::context(format!("could not get container for {name}"), cause)
                })
            };
            let mut child = found(name)?.snapshot();
            while let NetworkMode::Container(other) = &child.spec.host.network_mode {
                child = found(other)?.snapshot();
            }
            if child.spec.host.network_mode == NetworkMode::Host {
                return Err(Error::Invalid(
                    "conflicting options: host type networking can't be used with links. This \
                     would result in undefined behavior"
                        .to_owned(),
                ));
            }
            spec.host.linked.push(Link {
                container: child.id.clone(),
                name: child.name.to_string(),
                alias: alias.to_owned(),
            });
        }
        Ok(())
    }

    /// The containers that a container is linked to; all of them have to run.
    ///
    /// # Errors
    /// [`Error::Failed`] when one does not run or is not on the default bridge.
    pub(crate) fn linked(&self, container: &Container) -> Result<Vec<Linked>, Error> {
        if !container.network.networks.contains_key("bridge") {
            return Ok(Vec::new());
        }
        let links = container.spec.host.linked.iter();
        links
            .map(|link| {
                let child = self.index.get(&link.container);
                let child = child.map(|child| child.snapshot());
                let Some(child) = child.filter(|child| child.state.process().is_some()) else {
                    let text = format!("Cannot link to a non running container: {}", {
                        let link = self.shown(link, &container.name);
                        link.replacen(':', " AS ", 1)
                    });
                    return Err(Error::Failed(text));
                };
                let endpoint = child.network.networks.get("bridge");
                let address = endpoint.map(|endpoint| endpoint.ip_address.clone());
                let Some(address) = address else {
                    let text = format!(
                        "container {} not attached to default bridge network",
                        child.id
                    );
                    return Err(Error::Failed(text));
                };
                Ok(Linked {
                    alias: link.alias.clone(),
                    address,
                    child,
                })
            })
            .collect()
    }

    /// A link as inspect shows it: `/child:/parent/alias`.
    fn shown(&self, link: &Link, parent: &str) -> String {
        let child = self.index.get(&link.container);
        let name = child.map_or_else(
            || link.name.clone(),
            |child| child.snapshot().name.to_string(),
        );
        format!("/{name}:/{parent}/{}", link.alias)
    }
}

impl Containers {
    /// The links of a container as inspect shows them; `None` when it has none.
    pub(crate) fn shown_links(&self, container: &Container) -> Option<Vec<String>> {
        let links = container.spec.host.linked.iter();
        let shown: Vec<String> = links
            .map(|link| self.service().shown(link, &container.name))
            .collect();
        (!shown.is_empty()).then_some(shown)
    }

    /// The names that containers have by the links of others: `/parent/alias`.
    pub(crate) fn link_names(&self) -> HashMap<ContainerId, Vec<String>> {
        let mut names: HashMap<ContainerId, Vec<String>> = HashMap::new();
        for parent in self.all() {
            for link in &parent.spec.host.linked {
                let name = format!("/{}/{}", parent.name, link.alias);
                names.entry(link.container.clone()).or_default().push(name);
            }
        }
        names
    }

    /// Removes a link, `parent/alias` (`ContainerDelete` with `link`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Failed`] for what is the name of a container, not of a link.
    pub(crate) async fn unlink(&self, link: &str) -> Result<(), Error> {
        let bare = link.strip_prefix('/').unwrap_or(link);
        let Some((parent, alias)) = bare.split_once('/') else {
            self.service().index.find(link)?;
            let text = "Conflict, cannot remove the default link name of the container";
            return Err(Error::Failed(text.to_owned()));
        };
        let not_found = |_error| Error::NotFound(bare.to_owned());
        let handle = self.service().index.find(parent).map_err(not_found)?;
        let alias = alias.to_owned();
        let done = self.ask(&handle, |reply| Command::Unlink(alias, reply));
        match done.await {
            Err(Error::NotFound(_)) => Err(Error::NotFound(bare.to_owned())),
            done => done,
        }
    }
}

impl Actor {
    /// Forgets a link, and its line in `/etc/hosts`.
    pub(crate) async fn unlink(&mut self, alias: String) -> Result<(), Error> {
        let before = Arc::clone(&self.c.spec);
        let mut spec = ContainerSpec::clone(&before);
        let count = spec.host.linked.len();
        spec.host.linked.retain(|link| link.alias != alias);
        if spec.host.linked.len() == count {
            return Err(Error::NotFound(alias));
        }
        self.c.spec = Arc::new(spec);
        if let Err(error) = self.save(Durability::Disk).await {
            self.c.spec = before;
            return Err(error);
        }
        if self.c.state.process().is_some()
            && let Some(sandbox) = self.service.networks.sandbox(&self.c.id)
        {
            self.write_files(&sandbox).await?;
        }
        Ok(())
    }
}

/// Splits `container[:alias]`. What inspect shows is understood, too: `/container:/parent/alias`.
fn parse(text: &str) -> Result<(&str, &str), Error> {
    if text.is_empty() {
        return Err(Error::Failed("empty string specified for links".to_owned()));
    }
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    if alias.contains(':') {
        return Err(Error::Failed(format!("bad format for links: {text}")));
    }
    match name.strip_prefix('/') {
        Some(bare) => Ok((bare, alias.rsplit('/').next().unwrap_or(alias))),
        None => Ok((name, alias)),
    }
}

/// A line of `/etc/hosts` for each link, as `names:address`.
pub(crate) fn hosts(links: &[Linked]) -> Vec<String> {
    let lines = links.iter().map(|link| {
        let mut names = format!("{} {}", link.alias, link.child.hostname());
        if *link.alias != *link.child.name {
            names.push(' ');
            names.push_str(&link.child.name);
        }
        format!("{names}:{}", link.address)
    });
    lines.collect()
}

/// The variables that tell about the linked containers; those that `env` sets itself win.
pub(crate) fn add_environment(env: &mut Vec<String>, parent: &str, links: &[Linked]) {
    fn name(variable: &str) -> &str {
        variable.split_once('=').map_or(variable, |(name, _)| name)
    }
    for link in links {
        for variable in variables(parent, link) {
            if !env.iter().any(|own| name(own) == name(&variable)) {
                env.push(variable);
            }
        }
    }
}

fn variables(parent: &str, link: &Linked) -> Vec<String> {
    let alias = link.alias.to_uppercase().replace('-', "_");
    let mut ports: Vec<Port> = link.child.spec.exposed_ports.iter().copied().collect();
    ports.sort_by_key(|port| (port.protocol != Protocol::Tcp, *port));
    let mut env = port_variables(&alias, &link.address, &ports);
    env.push(format!("{alias}_NAME=/{parent}/{}", link.alias));
    for variable in &link.child.spec.env {
        // Those of the image's build say nothing about the container.
        if let Some((name, value)) = variable.split_once('=')
            && !matches!(name, "HOME" | "PATH")
        {
            env.push(format!("{alias}_ENV_{name}={value}"));
        }
    }
    env
}

fn port_variables(alias: &str, address: &str, ports: &[Port]) -> Vec<String> {
    let url = |port: &Port| format!("{}://{address}:{}", port.protocol.as_str(), port.number);
    let prefix = |port: &Port| {
        let protocol = port.protocol.as_str().to_uppercase();
        format!("{alias}_PORT_{}_{protocol}", port.number)
    };
    let mut env = Vec::new();
    env.extend(
        ports
            .first()
            .map(|port| format!("{alias}_PORT={}", url(port))),
    );
    for port in ports {
        let prefix = prefix(port);
        env.push(format!("{prefix}={}", url(port)));
        env.push(format!("{prefix}_ADDR={address}"));
        env.push(format!("{prefix}_PORT={}", port.number));
        env.push(format!("{prefix}_PROTO={}", port.protocol.as_str()));
    }
    let follows =
        |a: &Port, b: &Port| a.protocol == b.protocol && a.number.checked_add(1) == Some(b.number);
    for range in ports.chunk_by(follows) {
        if let [first, .., last] = range {
            let prefix = prefix(first);
            env.push(format!("{prefix}_START={}", url(first)));
            env.push(format!("{prefix}_PORT_START={}", first.number));
            env.push(format!("{prefix}_END={}", url(last)));
            env.push(format!("{prefix}_PORT_END={}", last.number));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn links_are_written_with_or_without_alias_or_as_they_are_shown() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:mysql").unwrap(), ("db", "mysql"));
        assert_eq!(parse("/db:/web/mysql").unwrap(), ("db", "mysql"));
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(refused(""), "empty string specified for links");
        assert_eq!(refused("a:b:c"), "bad format for links: a:b:c");
    }

    #[test]
    fn ports_and_environment_of_a_linked_container_are_told() {
        let mut child = testing::container(&ContainerId::random(), "db");
        let spec = Arc::make_mut(&mut child.spec);
        spec.env = vec!["PASSWORD=x".into(), "PATH=/bin".into()];
        spec.exposed_ports = ["80/tcp", "53/udp", "81/tcp"]
            .map(|port| port.parse().unwrap())
            .into();
        let link = Linked {
            alias: "my-db".into(),
            address: "10.0.0.2".into(),
            child: Arc::new(child),
        };
        let mut env = vec!["MY_DB_PORT_53_UDP_ADDR=own".to_owned()];
        add_environment(&mut env, "web", &[link]);
        let expected = [
            "MY_DB_PORT_53_UDP_ADDR=own",
            "MY_DB_PORT=tcp://10.0.0.2:80",
            "MY_DB_PORT_80_TCP=tcp://10.0.0.2:80",
            "MY_DB_PORT_80_TCP_ADDR=10.0.0.2",
            "MY_DB_PORT_80_TCP_PORT=80",
            "MY_DB_PORT_80_TCP_PROTO=tcp",
            "MY_DB_PORT_81_TCP=tcp://10.0.0.2:81",
            "MY_DB_PORT_81_TCP_ADDR=10.0.0.2",
            "MY_DB_PORT_81_TCP_PORT=81",
            "MY_DB_PORT_81_TCP_PROTO=tcp",
            "MY_DB_PORT_53_UDP=udp://10.0.0.2:53",
            "MY_DB_PORT_53_UDP_PORT=53",
            "MY_DB_PORT_53_UDP_PROTO=udp",
            "MY_DB_PORT_80_TCP_START=tcp://10.0.0.2:80",
            "MY_DB_PORT_80_TCP_PORT_START=80",
            "MY_DB_PORT_80_TCP_END=tcp://10.0.0.2:81",
            "MY_DB_PORT_80_TCP_PORT_END=81",
            "MY_DB_NAME=/web/my-db",
            "MY_DB_ENV_PASSWORD=x",
        ];
        assert_eq!(env, expected);
    }
}
