//! Which volumes a client wants.

use std::collections::BTreeMap;

use regex::Regex;

use crate::error::Error;
use crate::record::Volume;

/// Filters of `VolumeList` and `VolumePrune`, by name; values are in the client's order.
#[derive(Debug, Clone, Default)]
pub struct Filter(BTreeMap<String, Vec<String>>);

impl Filter {
    /// Checks that every filter is one of `allowed`.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`] names the first that is not; [`Error::InvalidFilterValue`] the first
    /// value that has to be a boolean and is not.
    fn new(filters: BTreeMap<String, Vec<String>>, allowed: &[&str]) -> Result<Self, Error> {
        if let Some(name) = filters
            .keys()
            .find(|name| !allowed.contains(&name.as_str()))
        {
            return Err(Error::InvalidFilter(name.clone()));
        }
        let filter = Self(filters);
        for name in ["dangling", "all"] {
            filter.flag(name)?;
        }
        Ok(filter)
    }

    /// Checks the filters of a list: `dangling`, `driver`, `label` and `name`.
    ///
    /// # Errors
    /// As described for each name by [`Error`].
    pub fn for_list(filters: BTreeMap<String, Vec<String>>) -> Result<Self, Error> {
        Self::new(filters, &["dangling", "driver", "label", "name"])
    }

    /// Checks the filters of a prune: `all`, `label` and `label!`.
    ///
    /// # Errors
    /// As described for each name by [`Error`].
    pub fn for_prune(filters: BTreeMap<String, Vec<String>>) -> Result<Self, Error> {
        Self::new(filters, &["all", "label", "label!"])
    }

    fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Reads a filter that is a boolean; `None` when it was not given.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        let mut flag = None;
        if let [_, _, ..] = self.values(name) {
            let value = self.values(name).join(" ");
            let name = name.to_owned();
            return Err(Error::InvalidFilterValue { name, value });
        }
        for value in self.values(name) {
            flag = Some(match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                _ => {
                    let (name, value) = (name.to_owned(), value.clone());
                    return Err(match name.as_str() {
                        "all" => Error::InvalidAll(value),
                        _ => Error::InvalidFilterValue { name, value },
                    });
                }
            });
        }
        Ok(flag)
    }

    /// Does `volume` pass all filters that look at nothing but its record?
    pub(crate) fn includes(&self, volume: &Volume) -> bool {
        let (names, drivers) = (self.values("name"), self.values("driver"));
        (names.is_empty() || names.iter().any(|name| fits(&volume.name, name)))
            && (drivers.is_empty() || drivers.contains(&volume.driver))
            && self
                .values("label")
                .iter()
                .all(|label| has_label(volume, label))
            && !self
                .values("label!")
                .iter()
                .any(|label| has_label(volume, label))
    }
}

/// Is `wanted` the name, or a regular expression that occurs in it? What is none fits nothing else.
fn fits(name: &str, wanted: &str) -> bool {
    name == wanted || Regex::new(wanted).is_ok_and(|expression| expression.is_match(name))
}

/// Does the volume have the label `key` or `key=value`?
fn has_label(volume: &Volume, wanted: &str) -> bool {
    let (key, value) = match wanted.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (wanted, None),
    };
    volume
        .labels
        .as_ref()
        .and_then(|labels| labels.get(key))
        .is_some_and(|found| value.is_none_or(|value| value == found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            filters
                .entry((*name).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        filters
    }

    #[test]
    fn names_match_in_part_and_labels_all_have_to_fit() {
        let volume = Volume {
            labels: Some([("a".to_owned(), "1".to_owned())].into()),
            ..Volume::named("web-data")
        };
        let passes =
            |pairs: &[(&str, &str)]| Filter::for_list(filters(pairs)).unwrap().includes(&volume);
        assert!(passes(&[
            ("name", "data"),
            ("label", "a"),
            ("label", "a=1"),
            ("driver", "local")
        ]));
        assert!(passes(&[("name", "^web-.*a$")]));
        assert!(!passes(&[("name", "^data"), ("name", "(")]));
        assert!(!passes(&[("label", "a=2")]));
        assert!(!passes(&[("label", "a"), ("label", "b")]));
        assert!(!passes(&[("driver", "nfs")]));
    }

    #[test]
    fn unknown_filters_and_values_are_refused_by_name() {
        let error = Filter::for_list(filters(&[("size", "1")])).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'size'");
        let error = Filter::for_list(filters(&[("dangling", "maybe")])).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'dangling=[maybe]'");
    }
}
