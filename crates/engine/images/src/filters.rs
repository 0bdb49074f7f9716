//! Filters of lists and prunes.

use std::collections::BTreeMap;

use arca_types::Timestamp;

use crate::error::Error;
use crate::until;

/// Filters as the API hands them over: values by name.
pub type Filters = BTreeMap<String, Vec<String>>;

/// Conditions on labels: `key` or `key=value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Labels {
    fn of(filters: &Filters) -> Self {
        let values = |key: &str| filters.get(key).cloned().unwrap_or_default();
        Self {
            wanted: values("label"),
            unwanted: values("label!"),
        }
    }

    /// All wanted labels are there, and none of the unwanted.
    pub(crate) fn match_labels(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let has = |condition: &String| {
            let (key, value) = match condition.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (condition.as_str(), None),
            };
            let found = labels.and_then(|labels| labels.get(key));
            found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.wanted.iter().all(has) && !self.unwanted.iter().any(has)
    }
}

/// The filters of a list (`ImageList`), checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilters {
    pub(crate) dangling: Option<bool>,
    pub(crate) before: Vec<String>,
    pub(crate) since: Vec<String>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) labels: Labels,
    pub(crate) references: Vec<String>,
}

impl ListFilters {
    /// Checks filters.
    ///
    /// # Errors
    /// [`Error::Filter`] for a name or a value that does not exist, [`Error::Until`] for what is no time.
    pub fn parse(filters: &Filters, now: Timestamp) -> Result<Self, Error> {
        let known = [
            "dangling",
            "label",
            "label!",
            "before",
            "since",
            "reference",
            "until",
        ];
        check_names(filters, &known)?;
        let values = |key: &str| filters.get(key).cloned().unwrap_or_default();
        Ok(Self {
            dangling: boolean(filters, "dangling")?,
            before: values("before"),
            since: values("since"),
            until: times(filters, now)?.into_iter().min(),
            labels: Labels::of(filters),
            references: values("reference"),
        })
    }
}

/// The filters of a prune (`ImagePrune`), checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneFilters {
    pub(crate) dangling: bool,
    pub(crate) until: Option<Timestamp>,
    pub(crate) labels: Labels,
}

impl PruneFilters {
    /// Checks filters. Without `dangling`, only images without a tag go.
    ///
    /// # Errors
    /// As [`ListFilters::parse`]; [`Error::Untils`] for more than one time.
    pub fn parse(filters: &Filters, now: Timestamp) -> Result<Self, Error> {
        check_names(filters, &["dangling", "label", "label!", "until"])?;
        let times = times(filters, now)?;
        if times.len() > 1 {
            return Err(Error::Untils);
        }
        Ok(Self {
            dangling: boolean(filters, "dangling")?.unwrap_or(true),
            until: times.first().copied(),
            labels: Labels::of(filters),
        })
    }
}

fn check_names(filters: &Filters, known: &[&str]) -> Result<(), Error> {
    match filters.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Error::Filter(name.clone())),
        None => Ok(()),
    }
}

fn boolean(filters: &Filters, name: &str) -> Result<Option<bool>, Error> {
    let Some(values) = filters.get(name) else {
        return Ok(None);
    };
    let one = |value: &str| match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    };
    match values.as_slice() {
        [] => Ok(None),
        [value] if one(value).is_some() => Ok(one(value)),
        values => Err(Error::Filter(format!("{name}=[{}]", values.join(" ")))),
    }
}

fn times(filters: &Filters, now: Timestamp) -> Result<Vec<Timestamp>, Error> {
    let values = filters.get("until").map(Vec::as_slice).unwrap_or_default();
    let parse =
        |value: &String| until::parse(value, now).ok_or_else(|| Error::Until(value.clone()));
    values.iter().map(parse).collect()
}

/// Matches a pattern as Go's `path.Match` does: `*` and `?` stop at `/`, `[a-z]`, `[^a]`, `\` escapes.
///
/// # Errors
/// [`Error::Pattern`] when the pattern is malformed.
pub(crate) fn glob(pattern: &str, text: &str) -> Result<bool, Error> {
    let pattern: Vec<char> = pattern.chars().collect();
    check_pattern(&pattern)?;
    let text: Vec<char> = text.chars().collect();
    Ok(matches(&pattern, &text))
}

/// One element of a pattern, and how many characters it takes there.
enum Element {
    Any,
    One,
    Set {
        inside: Vec<(char, char)>,
        negated: bool,
    },
    Character(char),
}

fn element(pattern: &[char]) -> Option<(Element, usize)> {
    match pattern {
        ['*', ..] => Some((Element::Any, 1)),
        ['?', ..] => Some((Element::One, 1)),
        ['\\', escaped, ..] => Some((Element::Character(*escaped), 2)),
        ['\\'] | [] => None,
        ['[', rest @ ..] => set(rest),
        [other, ..] => Some((Element::Character(*other), 1)),
    }
}

fn set(pattern: &[char]) -> Option<(Element, usize)> {
    let negated = pattern.first() == Some(&'^');
    let mut at = usize::from(negated);
    let mut inside = Vec::new();
    let character = |at: &mut usize| -> Option<char> {
        let found = match pattern.get(*at..)? {
            ['\\', escaped, ..] => {
                *at += 1;
                *escaped
            }
            ['-' | ']' | '\\', ..] | [] => return None,
            [other, ..] => *other,
        };
        *at += 1;
        Some(found)
    };
    loop {
        if pattern.get(at) == Some(&']') && !inside.is_empty() {
            return Some((Element::Set { inside, negated }, at + 2));
        }
        let low = character(&mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            at += 1;
            high = character(&mut at)?;
        }
        inside.push((low, high));
    }
}

fn check_pattern(pattern: &[char]) -> Result<(), Error> {
    let mut rest = pattern;
    while !rest.is_empty() {
        let (_, length) = element(rest).ok_or(Error::Pattern)?;
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Matches with one place to come back to, so that no pattern takes more than quadratic time.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let here = pattern.get(p..).and_then(element);
        match (here, text.get(t)) {
            (Some((Element::Any, length)), _) => {
                p += length;
                star = Some((p, t));
                continue;
            }
            (Some((element, length)), Some(character)) if accepts(&element, *character) => {
                p += length;
                t += 1;
                continue;
            }
            (None, None) if p >= pattern.len() => return true,
            _ => {}
        }
        match star {
            Some((after, at)) if text.get(at).is_some_and(|character| *character != '/') => {
                star = Some((after, at + 1));
                p = after;
                t = at + 1;
            }
            _ => return false,
        }
    }
}

fn accepts(element: &Element, character: char) -> bool {
    match element {
        Element::Any | Element::One => character != '/',
        Element::Character(wanted) => *wanted == character,
        Element::Set { inside, negated } => {
            let found = inside
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&character));
            character != '/' && found != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, wanted) in [
            ("busy*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*d", "xxaxxbxxc", false),
            ("\\*", "*", true),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text).unwrap(), wanted, "{pattern} {text}");
        }
        for pattern in ["[a", "[]a]", "[-a]", "\\", "[a-"] {
            assert_eq!(
                glob(pattern, "x").unwrap_err().to_string(),
                "syntax error in pattern",
                "{pattern}"
            );
        }
    }

    fn filters(name: &str, values: &[&str]) -> Filters {
        Filters::from([(
            name.to_owned(),
            values.iter().map(|value| (*value).to_owned()).collect(),
        )])
    }

    #[test]
    fn filters_are_refused_in_dockerds_words() {
        let now = Timestamp::from_unix(1_000_000, 0);
        for (name, values, wanted) in [
            ("dangling", vec!["x"], "invalid filter 'dangling=[x]'"),
            (
                "dangling",
                vec!["true", "false"],
                "invalid filter 'dangling=[true false]'",
            ),
            ("foo", vec!["x"], "invalid filter 'foo'"),
            (
                "until",
                vec!["xx"],
                "failed to parse value as time or duration: \"xx\"",
            ),
        ] {
            let filters = filters(name, &values);
            assert_eq!(
                ListFilters::parse(&filters, now).unwrap_err().to_string(),
                wanted
            );
            assert_eq!(
                PruneFilters::parse(&filters, now).unwrap_err().to_string(),
                wanted
            );
        }
        let two = filters("until", &["1h", "2h"]);
        assert_eq!(
            PruneFilters::parse(&two, now).unwrap_err().to_string(),
            "more than one until filter specified"
        );
    }

    #[test]
    fn labels_are_wanted_or_unwanted() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        for (name, value, wanted) in [
            ("label", "a", true),
            ("label", "a=b", true),
            ("label", "a=c", false),
            ("label!", "a", false),
            ("label!", "a=c", true),
        ] {
            let condition = Labels::of(&filters(name, &[value]));
            assert_eq!(
                condition.match_labels(Some(&labels)),
                wanted,
                "{name} {value}"
            );
        }
    }
}
