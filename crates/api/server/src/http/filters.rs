//! The parameter `filters`: a JSON map of name to values, in the form of today
//! (`{"label":{"a":true}}`) or of old (`{"label":["a"]}`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::ApiError;

/// Filters by name, each with its values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let invalid = || ApiError::bad("invalid filter");
        let map = match serde_json::from_str(text) {
            Ok(Value::Object(map)) => map,
            Ok(Value::Null) => return Ok(Self::default()),
            _ => return Err(invalid()),
        };
        let mut filters = BTreeMap::new();
        for (name, values) in map {
            let values = match values {
                Value::Null => Vec::new(),
                Value::Object(values) => values
                    .into_iter()
                    .map(|(value, set)| set.is_boolean().then_some(value).ok_or_else(invalid))
                    .collect::<Result<_, _>>()?,
                Value::Array(values) => values
                    .into_iter()
                    .map(|value| value.as_str().map(str::to_owned).ok_or_else(invalid))
                    .collect::<Result<_, _>>()?,
                _ => return Err(invalid()),
            };
            filters.insert(name, values);
        }
        Ok(Self(filters))
    }

    /// Refuses every filter that is not one of `known`.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::bad(format!("invalid filter '{name}'"))),
            None => Ok(self),
        }
    }

    /// The values of a filter.
    pub(crate) fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// As the engine takes them.
    pub(crate) fn into_map(self) -> BTreeMap<String, Vec<String>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let new = Filters::parse(r#"{"label":{"a":true,"b":true},"name":{}}"#).unwrap();
        let old = Filters::parse(r#"{"label":["a","b"],"name":[]}"#).unwrap();
        assert_eq!(new, old);
        assert_eq!(new.get("label"), ["a", "b"]);
        assert_eq!(Filters::parse("").unwrap(), Filters::default());
        assert_eq!(Filters::parse("null").unwrap(), Filters::default());
    }

    #[test]
    fn what_is_no_filter_is_refused_in_dockerds_words() {
        for text in [
            "x",
            "[]",
            r#"{"a":"b"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"b":"c"}}"#,
        ] {
            assert_eq!(
                Filters::parse(text).unwrap_err().message(),
                "invalid filter",
                "{text}"
            );
        }
        let unknown = Filters::parse(r#"{"foo":["x"]}"#).unwrap().only(&["label"]);
        assert_eq!(unknown.unwrap_err().message(), "invalid filter 'foo'");
    }
}
