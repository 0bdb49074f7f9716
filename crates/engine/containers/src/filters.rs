//! Filters of `ContainerList`.

use std::collections::BTreeMap;

use arca_types::Timestamp;
use regex::Regex;

use crate::Error;
use crate::container::Container;
use crate::model::{HealthStatus, MountType, Port};
use crate::requests::Filters;

const LIST: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATUSES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// What a filter needs to know that a container does not.
pub(crate) trait Knowledge {
    /// The container that `before` and `since` name.
    ///
    /// # Errors
    /// When there is none.
    fn container(&self, reference: &str) -> Result<std::sync::Arc<Container>, Error>;
    /// The images that `ancestor` names, with those made from them.
    fn descends(&self, container: &Container, ancestor: &str) -> bool;
}

/// The filters of a list, understood.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    names: Vec<(Option<Regex>, String)>,
    ids: Vec<String>,
    labels: Vec<String>,
    statuses: Vec<String>,
    health: Vec<String>,
    exited: Vec<i32>,
    ancestors: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
    publish: Vec<PortRange>,
    expose: Vec<PortRange>,
    tasks: Option<bool>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    /// Whether containers that do not run are wanted by what is asked for.
    pub(crate) all: bool,
}

/// Ports of one protocol. A protocol that there is none of is no error; no port fits then.
#[derive(Debug)]
struct PortRange {
    protocol: String,
    first: u16,
    last: u16,
}

impl Filter {
    /// Understands the filters of `ContainerList`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter or a value that is not known; [`Error::NotFound`] for a container
    /// that does not exist.
    pub(crate) fn list(filters: &Filters, knowledge: &dyn Knowledge) -> Result<Self, Error> {
        for name in filters.keys() {
            if !LIST.contains(&name.as_str()) {
                return Err(Error::Invalid(format!("invalid filter '{name}'")));
            }
        }
        let values = |name: &str| filters.get(name).cloned().unwrap_or_default();
        let mut filter = Self {
            ids: values("id"),
            labels: values("label"),
            statuses: checked(values("status"), ("status", "state"), &STATUSES)?,
            health: checked(values("health"), ("health", "health"), &HEALTH)?,
            ancestors: values("ancestor"),
            networks: values("network"),
            volumes: values("volume"),
            publish: ports("publish", &values("publish"))?,
            expose: ports("expose", &values("expose"))?,
            tasks: tasks(&values("is-task"))?,
            ..Self::default()
        };
        for name in values("name") {
            // What is no expression may still be a name.
            filter.names.push((Regex::new(&name).ok(), name));
        }
        for code in values("exited") {
            let invalid = |_error| {
                Error::Invalid(format!(
                    "invalid filter 'exited={code}': strconv.Atoi: parsing \"{code}\": invalid syntax"
                ))
            };
            filter.exited.push(code.parse().map_err(invalid)?);
        }
        if let Some(other) = values("before").first() {
            filter.before = Some(knowledge.container(other)?.created);
        }
        if let Some(other) = values("since").first() {
            filter.since = Some(knowledge.container(other)?.created);
        }
        filter.all = !filter.statuses.is_empty();
        Ok(filter)
    }

    /// Whether a container passes.
    pub(crate) fn passes(&self, container: &Container, knowledge: &dyn Knowledge) -> bool {
        let any = |values: &[String], fits: &dyn Fn(&str) -> bool| {
            values.is_empty() || values.iter().any(|value| fits(value))
        };
        let spec = &container.spec;
        self.passes_names(container)
            && labels_fit(&spec.labels, &self.labels)
            && any(&self.statuses, &|status| status == container.state.as_str())
            && any(&self.health, &|health| health == health_of(container))
            && (self.exited.is_empty() || self.passes_exited(container))
            && any(&self.ancestors, &|ancestor| {
                knowledge.descends(container, ancestor)
            })
            && any(&self.networks, &|network| {
                container.network.networks.iter().any(|(name, endpoint)| {
                    name == network
                        || (!endpoint.network_id.is_empty()
                            && endpoint.network_id.starts_with(network))
                })
            })
            && any(&self.volumes, &|volume| {
                container.mounts.iter().any(|point| {
                    (point.kind == MountType::Volume && point.name == volume)
                        || point.destination == volume
                        || (!point.source.is_empty() && point.source == volume)
                })
            })
            && (self.publish.is_empty() || self.passes_publish(container))
            && (self.expose.is_empty()
                || spec
                    .exposed_ports
                    .iter()
                    .any(|port| within(&self.expose, *port)))
            && self.tasks != Some(true)
            && self.before.is_none_or(|before| container.created < before)
            && self.since.is_none_or(|since| container.created > since)
    }

    fn passes_names(&self, container: &Container) -> bool {
        let id = self.ids.is_empty()
            || self
                .ids
                .iter()
                .any(|wanted| !wanted.is_empty() && container.id.as_str().starts_with(wanted));
        let slashed = format!("/{}", container.name);
        let name = self.names.is_empty()
            || self.names.iter().any(|(regex, text)| {
                let fits = |name: &str| regex.as_ref().is_some_and(|regex| regex.is_match(name));
                fits(&container.name)
                    || fits(&slashed)
                    || *text == slashed
                    || **text == *container.name
            });
        id && name
    }

    fn passes_exited(&self, container: &Container) -> bool {
        let ended = !container.state.is_running() && !container.run.started_at.is_zero();
        ended && self.exited.contains(&container.run.exit_code)
    }

    fn passes_publish(&self, container: &Container) -> bool {
        let bindings = container.network.ports.iter();
        bindings.into_iter().any(|(port, bindings)| {
            bindings.iter().flatten().any(|binding| {
                binding.host_port.parse().is_ok_and(|number| {
                    within(
                        &self.publish,
                        Port {
                            number,
                            protocol: port.protocol,
                        },
                    )
                })
            })
        })
    }
}

/// The health of a container in the words of the filter.
fn health_of(container: &Container) -> &'static str {
    match container.health.as_deref().map(|health| health.status) {
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Unhealthy) => "unhealthy",
        None => "none",
    }
}

/// Values that are all known; `names` are those of the filter, and of what it is about.
fn checked(values: Vec<String>, names: (&str, &str), known: &[&str]) -> Result<Vec<String>, Error> {
    let (name, what) = names;
    match values.iter().find(|value| !known.contains(&value.as_str())) {
        Some(value) => Err(Error::Invalid(format!(
            "invalid filter '{name}={value}': invalid value for {what} ({value}): must be one of {}",
            known.join(", ")
        ))),
        None => Ok(values),
    }
}

/// Whether tasks of services are wanted, if that is said.
fn tasks(values: &[String]) -> Result<Option<bool>, Error> {
    match values {
        [] => Ok(None),
        [value] if let Some(wanted) = truth(value) => Ok(Some(wanted)),
        values => Err(Error::Invalid(format!(
            "invalid filter 'is-task=[{}]'",
            values.join(" ")
        ))),
    }
}

/// Parses `80`, `80/udp`, `80-90/tcp`.
fn ports(filter: &str, values: &[String]) -> Result<Vec<PortRange>, Error> {
    values
        .iter()
        .map(|value| {
            // 500, as with dockerd.
            let failed = |why: String| {
                Error::Failed(format!(
                    "error while looking up for {filter} {value}: {why}"
                ))
            };
            let (numbers, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
            if numbers.is_empty() {
                return Err(failed("Empty string specified for ports.".to_owned()));
            }
            let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
            let number = |text: &str| {
                text.parse::<u16>().map_err(|_error| {
                    failed(format!(
                        "strconv.ParseUint: parsing \"{text}\": invalid syntax"
                    ))
                })
            };
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                let text = format!("Invalid range specified for the Port: {numbers}");
                return Err(failed(text));
            }
            Ok(PortRange {
                protocol: protocol.to_owned(),
                first,
                last,
            })
        })
        .collect()
}

fn within(ranges: &[PortRange], port: Port) -> bool {
    ranges.iter().any(|range| {
        range.protocol == port.protocol.as_str()
            && (range.first..=range.last).contains(&port.number)
    })
}

/// Whether all of `wanted` (`name` or `name=value`) are among the labels.
pub(crate) fn labels_fit(labels: &BTreeMap<String, String>, wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| label_fits(labels, wanted))
}

fn label_fits(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|own| own == value),
        None => labels.contains_key(wanted),
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "True" | "TRUE" | "t" | "T" => Some(true),
        "0" | "false" | "False" | "FALSE" | "f" | "F" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Process, State};
    use crate::testing;
    use arca_types::ContainerId;
    use std::sync::Arc;

    struct Nothing;
    impl Knowledge for Nothing {
        fn container(&self, reference: &str) -> Result<Arc<Container>, Error> {
            Err(Error::NotFound(reference.to_owned()))
        }
        fn descends(&self, container: &Container, ancestor: &str) -> bool {
            container.spec.image == ancestor
        }
    }

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        let mut all = Filters::new();
        for (name, value) in pairs {
            all.entry((*name).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        all
    }

    #[test]
    fn containers_pass_as_with_dockerd() {
        let id: ContainerId = "ab".repeat(32).parse().unwrap();
        let mut container = testing::container(&id, "web-1");
        container.state = State::Running(Process { pid: 1 });
        Arc::make_mut(&mut container.spec).labels = [("a".to_owned(), "1".to_owned())].into();
        let cases = [
            (vec![("name", "web")], true),
            (vec![("name", "^web-1$")], true),
            (vec![("name", "/web-1")], true),
            (vec![("name", "db")], false),
            (vec![("name", "db"), ("name", "web")], true),
            (vec![("id", "abab")], true),
            (vec![("label", "a")], true),
            (vec![("label", "a=1"), ("label", "b")], false),
            (vec![("status", "running")], true),
            (vec![("status", "exited")], false),
            (vec![("health", "none")], true),
            (vec![("ancestor", "busybox")], true),
            (vec![("exited", "0")], false),
            (vec![("is-task", "true")], false),
            (vec![("network", "bridge")], false),
            (vec![("publish", "80-90/tcp")], false),
        ];
        for (pairs, expected) in cases {
            let filter = Filter::list(&filters(&pairs), &Nothing).unwrap();
            assert_eq!(filter.passes(&container, &Nothing), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_unknown_is_refused() {
        let refused = |pairs: &[(&str, &str)]| {
            Filter::list(&filters(pairs), &Nothing)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused(&[("foo", "bar")]), "invalid filter 'foo'");
        assert_eq!(
            refused(&[("status", "bar")]),
            "invalid filter 'status=bar': invalid value for state (bar): must be one of created, \
             running, paused, restarting, removing, exited, dead"
        );
        assert_eq!(refused(&[("is-task", "x")]), "invalid filter 'is-task=[x]'");
        assert_eq!(
            refused(&[("exited", "x")]),
            "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            refused(&[("publish", "90-80")]),
            "error while looking up for publish 90-80: Invalid range specified for the Port: 90-80"
        );
        assert_eq!(refused(&[("before", "x")]), "No such container: x");
    }
}
