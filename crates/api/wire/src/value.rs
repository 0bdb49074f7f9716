//! Small values that occur all over the API.

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Go's `struct{}`: always the empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A command: read from a string or a list of strings, written as a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StrSlice(pub Vec<String>);

impl From<Vec<String>> for StrSlice {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

/// Go's words for what is neither a word nor a list of words.
fn unreadable<E: Error>(what: &str) -> E {
    E::custom(format_args!(
        "json: cannot unmarshal {what} into Go value of type string"
    ))
}

impl<'de> Deserialize<'de> for StrSlice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = StrSlice;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("[]string")
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<StrSlice, E> {
                Err(unreadable("bool"))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<StrSlice, E> {
                Err(unreadable("number"))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<StrSlice, E> {
                Err(unreadable("number"))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<StrSlice, E> {
                Err(unreadable("number"))
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<StrSlice, A::Error> {
                Err(unreadable("object"))
            }

            fn visit_str<E>(self, word: &str) -> Result<StrSlice, E> {
                Ok(StrSlice(vec![word.to_owned()]))
            }

            fn visit_unit<E>(self) -> Result<StrSlice, E> {
                Ok(StrSlice::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StrSlice, A::Error> {
                let mut words = Vec::with_capacity(seq.size_hint().unwrap_or_default());
                // A list that is none of words is then tried as a word, and that is what the error is of.
                while let Some(word) = seq
                    .next_element()
                    .map_err(|_error: A::Error| unreadable("array"))?
                {
                    words.push(word);
                }
                Ok(StrSlice(words))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// Whether Go's `omitempty` leaves the value out.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
