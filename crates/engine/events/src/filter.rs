//! Which events a client wants.

use std::collections::BTreeMap;

use arca_types::Reference;

use crate::event::{Event, Type};

/// The `filters` of `GET /events`: an event passes when it fits one value of each name given.
///
/// Labels are the exception, all of them have to fit. Names that dockerd does not know are passed over,
/// as it does.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    wanted: BTreeMap<String, Vec<String>>,
}

/// Actions that carry text behind a colon, so that their filters match as prefixes.
const PREFIXED: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// Types whose filter is compared with the ID and the name of any object.
const NAMED: [Type; 9] = [
    Type::Config,
    Type::Container,
    Type::Daemon,
    Type::Network,
    Type::Node,
    Type::Plugin,
    Type::Secret,
    Type::Service,
    Type::Volume,
];

impl Filter {
    /// A filter of the names and values of the request; an empty one lets everything pass.
    #[must_use]
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Self {
        Self { wanted }
    }

    /// Does `event` pass?
    #[must_use]
    pub fn includes(&self, event: &Event) -> bool {
        self.matches_action(&event.action)
            && self.matches("type", |value| value == event.kind.as_str())
            && self.matches("scope", |value| value == "local")
            && NAMED.iter().all(|kind| self.matches_object(*kind, event))
            && self.matches_image(event)
            && self.matches_labels(&event.actor.attributes)
    }

    /// Is `name` not asked for, or does one of its values fit?
    fn matches(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        match self.wanted.get(name) {
            Some(values) if !values.is_empty() => values.iter().any(|value| fits(value)),
            _ => true,
        }
    }

    fn matches_action(&self, action: &str) -> bool {
        let prefixes = self.wanted.get("event").is_some_and(|values| {
            values
                .iter()
                .any(|value| PREFIXED.contains(&value.as_str()))
        });
        self.matches("event", |value| {
            action == value || (prefixes && action.starts_with(value))
        })
    }

    fn matches_object(&self, kind: Type, event: &Event) -> bool {
        let name = event
            .actor
            .attributes
            .get("name")
            .map_or("", String::as_str);
        self.matches(kind.as_str(), |value| {
            event.actor.id.starts_with(value) || name.starts_with(value)
        })
    }

    /// Compares with the ID and the image's name, which is an attribute, each with and without tag.
    fn matches_image(&self, event: &Event) -> bool {
        if !self.wanted.contains_key("image") {
            return true;
        }
        let attribute = if event.kind == Type::Image {
            "name"
        } else {
            "image"
        };
        let id = event.actor.id.as_str();
        let name = event
            .actor
            .attributes
            .get(attribute)
            .map_or("", String::as_str);
        let (bare_id, bare_name) = (without_tag(id), without_tag(name));
        self.matches("image", |value| {
            [id, name, &bare_id, &bare_name].contains(&value)
        })
    }

    fn matches_labels(&self, attributes: &BTreeMap<String, String>) -> bool {
        let labels = self.wanted.get("label").map_or(&[][..], Vec::as_slice);
        labels.iter().all(|label| match label.split_once('=') {
            Some((name, value)) => attributes.get(name).is_some_and(|found| found == value),
            None => attributes.contains_key(label),
        })
    }
}

/// The familiar name without tag or digest; what is no reference is left as it is.
fn without_tag(image: &str) -> String {
    image.parse::<Reference>().map_or_else(
        |_not_a_reference| image.to_owned(),
        |reference| reference.repository().familiar(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter, and whether each of the two events passes.
    type Case<'a> = (&'a [(&'a str, &'a str)], bool, bool);

    fn filter(wanted: &[(&str, &str)]) -> Filter {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in wanted {
            map.entry((*name).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        Filter::new(map)
    }

    #[test]
    fn events_pass_as_with_dockerd() {
        let health = Event::new(Type::Container, "health_status: healthy", "abcdef")
            .with("name", "web")
            .with("image", "nginx:1.27")
            .with("com.example", "x");
        let pull = Event::new(Type::Image, "pull", "nginx:1.27").with("name", "nginx");
        let cases: [Case; 20] = [
            (&[], true, true),
            (&[("type", "image")], false, true),
            (&[("type", "image"), ("type", "container")], true, true),
            (&[("event", "health_status")], true, false),
            (&[("event", "health_status: healthy")], true, false),
            (&[("event", "health_status: unhealthy")], false, false),
            (&[("event", "health")], false, false),
            (&[("event", "pull")], false, true),
            (&[("container", "abc")], true, false),
            (&[("container", "we")], true, false),
            (&[("container", "eb")], false, false),
            (&[("image", "nginx")], true, true),
            (&[("image", "nginx:1.27")], true, true),
            (&[("image", "nginx:1.26")], false, false),
            (&[("image", "ngi")], false, false),
            (&[("label", "com.example")], true, false),
            (&[("label", "com.example=x")], true, false),
            (
                &[("label", "com.example=x"), ("label", "other")],
                false,
                false,
            ),
            (&[("scope", "swarm")], false, false),
            (&[("scope", "local"), ("bogus", "x")], true, true),
        ];
        for (wanted, on_health, on_pull) in cases {
            let filter = filter(wanted);
            assert_eq!(filter.includes(&health), on_health, "{wanted:?} and health");
            assert_eq!(filter.includes(&pull), on_pull, "{wanted:?} and pull");
        }
    }
}
