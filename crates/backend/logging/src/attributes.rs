//! What each entry is marked with: the options `labels`, `labels-regex`, `env`, `env-regex`, and `tag`.

use std::collections::BTreeMap;

use arca_types::Timestamp;
use regex::Regex;

use crate::template::{self, Value};

/// What log options may say about the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The container's ID.
    pub id: String,
    /// Its name without a leading slash.
    pub name: String,
    /// The image's ID, with `sha256:`.
    pub image_id: String,
    /// The image as it was asked for.
    pub image_name: String,
    /// The path of the program, then its arguments.
    pub command: Vec<String>,
    /// When the container was created.
    pub created: Option<Timestamp>,
    /// `NAME=value` of its environment.
    pub env: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The daemon's name: `docker` where clients expect dockerd.
    pub daemon: String,
    /// The host's name.
    pub hostname: String,
}

/// Works out the attributes; an error is its text.
pub(crate) fn attributes(
    options: &BTreeMap<String, String>,
    subject: &Subject,
) -> Result<BTreeMap<String, String>, String> {
    let option = |name: &str| {
        options
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    let env: BTreeMap<&str, &str> = subject
        .env
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .collect();
    let mut attributes = BTreeMap::new();
    for key in option("labels")
        .into_iter()
        .flat_map(|list| list.split(','))
    {
        let value = subject.labels.get(key);
        attributes.extend(value.map(|value| (key.to_owned(), value.clone())));
    }
    if let Some(pattern) = option("labels-regex") {
        let pattern = compile(pattern)?;
        let found = subject
            .labels
            .iter()
            .filter(|(key, _)| pattern.is_match(key));
        attributes.extend(found.map(|(key, value)| (key.clone(), value.clone())));
    }
    for key in option("env").into_iter().flat_map(|list| list.split(',')) {
        let value = env.get(key);
        attributes.extend(value.map(|value| (key.to_owned(), (*value).to_owned())));
    }
    if let Some(pattern) = option("env-regex") {
        let pattern = compile(pattern)?;
        let found = env.iter().filter(|(key, _)| pattern.is_match(key));
        attributes.extend(found.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    }
    Ok(attributes)
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("error parsing regexp: {error}: `{pattern}`"))
}

/// Fills in the option `tag`, or what stands for it.
pub(crate) fn tag(template: &str, subject: &Subject) -> Result<String, String> {
    template::execute(template, &|name| field(name, subject))
}

fn field(name: &str, subject: &Subject) -> Option<Value> {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let image = subject.image_id.as_str();
    let bare_image = image.strip_prefix("sha256:").unwrap_or(image);
    let list = |texts: &[String]| Value::List(texts.iter().map(Value::text).collect());
    let labels = || subject.labels.iter();
    Some(match name {
        "ID" => Value::Text(short(&subject.id)),
        "FullID" | "ContainerID" => Value::text(&subject.id),
        "Name" => Value::text(&subject.name),
        "ContainerName" => Value::Text(format!("/{}", subject.name)),
        "ImageID" => Value::Text(short(bare_image)),
        "ImageFullID" | "ContainerImageID" => Value::text(image),
        "ImageName" | "ContainerImageName" => Value::text(&subject.image_name),
        "Command" => Value::Text(subject.command.join(" ")),
        "ContainerEntrypoint" => Value::text(subject.command.first().cloned().unwrap_or_default()),
        "ContainerArgs" => list(subject.command.get(1..).unwrap_or_default()),
        "ContainerEnv" => list(&subject.env),
        "ContainerLabels" => {
            Value::Map(labels().map(|(k, v)| (k.clone(), Value::text(v))).collect())
        }
        "ContainerCreated" => Value::Text(subject.created.unwrap_or(Timestamp::ZERO).to_string()),
        "DaemonName" => Value::text(&subject.daemon),
        "Hostname" => Value::text(&subject.hostname),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            id: "0123456789abcdef".to_owned(),
            name: "web".to_owned(),
            image_id: "sha256:fedcba9876543210".to_owned(),
            image_name: "busybox".to_owned(),
            env: vec!["A=1".to_owned(), "AB=2=3".to_owned(), "C".to_owned()],
            labels: [("x.y".to_owned(), "l".to_owned())].into(),
            ..Subject::default()
        }
    }

    fn of(options: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Ok(attributes(&options, &subject())?.into_iter().collect())
    }

    #[test]
    fn labels_and_environment_are_chosen_by_name_or_pattern() {
        let found = of(&[("labels", "x.y,none"), ("env-regex", "^A")]).unwrap();
        let expected = [("A", "1"), ("AB", "2=3"), ("x.y", "l")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_tag_is_a_template_of_fields() {
        let tag = tag("{{.ID}}/{{ .Name }}/{{.ImageID}}!", &subject());
        assert_eq!(tag.as_deref(), Ok("0123456789ab/web/fedcba987654!"));
    }

    #[test]
    fn what_the_template_does_not_know_is_refused() {
        assert!(tag("{{.Foo}}", &subject()).is_err());
        assert!(of(&[("labels-regex", "(")]).is_err());
    }
}
