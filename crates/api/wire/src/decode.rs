//! Reading requests as Go's `encoding/json` reads them.
//!
//! Keys match without regard to case, the last of several wins, `null` is the zero value of whatever is
//! expected, unknown keys are skipped. The errors are in Go's words, since clients and tests show them.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde_json::{Map, Value};

/// Why a body could not be read; the text follows `invalid JSON: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The innermost field first while the error travels up.
    path: Vec<String>,
    /// The outermost struct, if it has a name of Go's: `container.ExecOptions`.
    root: Option<&'static str>,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Syntax(String),
    Type { got: String, want: String },
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Problem::Syntax(text) | Problem::Other(text) => f.write_str(text),
            Problem::Type { got, want } if self.path.is_empty() => {
                write!(
                    f,
                    "json: cannot unmarshal {got} into Go value of type {want}"
                )
            }
            Problem::Type { got, want } => {
                write!(f, "json: cannot unmarshal {got} into Go struct field ")?;
                let root = self.root.and_then(|name| name.rsplit('.').next());
                f.write_str(root.unwrap_or_default())?;
                for name in self.path.iter().rev() {
                    write!(f, ".{name}")?;
                }
                write!(f, " of type {want}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self::new(Problem::Other(text.to_string()))
    }
}

impl Error {
    fn mismatch(got: &Value, want: impl Into<String>) -> Self {
        let got = match got {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Self::new(Problem::Type {
            got: got.to_owned(),
            want: want.into(),
        })
    }

    fn new(problem: Problem) -> Self {
        Self {
            path: Vec::new(),
            root: None,
            problem,
        }
    }

    /// The same of a struct that has no name where it is told.
    pub(crate) fn anonymous(mut self) -> Self {
        self.root = None;
        self
    }

    fn of(mut self, name: &'static str) -> Self {
        self.root = name.contains('.').then_some(name);
        self
    }

    /// As [`Error::of`], for what only gives another name to a struct.
    fn renamed(mut self, name: &'static str) -> Self {
        if !name.contains('.') {
            return self;
        }
        if let (Problem::Type { want, .. }, true) = (&mut self.problem, self.path.is_empty()) {
            name.clone_into(want);
        }
        self.of(name)
    }

    fn inside(mut self, field: &str) -> Self {
        self.path.push(field.to_owned());
        self
    }
}

/// Parses one JSON text; [`decode`] and [`from_value`] read types from it.
///
/// # Errors
/// Malformed JSON, or more than one value (`unexpected content after JSON`).
pub fn parse(body: &[u8]) -> Result<Value, Error> {
    let mut texts = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let syntax = |text: String| Error::new(Problem::Syntax(text));
    match texts.next() {
        None => Err(syntax("EOF".to_owned())),
        Some(Err(error)) if error.is_eof() => Err(syntax("unexpected EOF".to_owned())),
        Some(Err(error)) => Err(syntax(
            crate::syntax::stumble(body).unwrap_or_else(|| error.to_string()),
        )),
        Some(Ok(value)) => Ok(value),
    }
}

/// Whether anything but blanks follows the first JSON value of `body`.
pub fn has_trailing_content(body: &[u8]) -> bool {
    let mut texts = serde_json::Deserializer::from_slice(body).into_iter::<de::IgnoredAny>();
    let first = texts.next();
    matches!(first, Some(Ok(_)))
        && body
            .get(texts.byte_offset()..)
            .is_some_and(|rest| !rest.trim_ascii().is_empty())
}

/// Reads a `T` from a JSON text.
///
/// # Errors
/// As [`parse`], and a value of another type than the field has.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    from_value(parse(body)?)
}

/// Reads a `T` from a parsed text.
///
/// # Errors
/// A value of another type than the field has.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Decoder(value))
}

/// A deserializer over a value with Go's leniency.
struct Decoder(Value);

impl IntoDeserializer<'_, Error> for Decoder {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ident $get:ident $go:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match &self.0 {
                Value::Null => visitor.$visit($type::default()),
                Value::Number(number) => match number.$get().and_then(|n| $type::try_from(n).ok()) {
                    Some(number) => visitor.$visit(number),
                    None => Err(Error::new(Problem::Type {
                        got: format!("number {number}"),
                        want: $go.to_owned(),
                    })),
                },
                other => Err(Error::mismatch(other, $go)),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder {
    type Error = Error;

    numbers! {
        deserialize_i8 visit_i8 i8 as_i64 "int8";
        deserialize_i16 visit_i16 i16 as_i64 "int16";
        deserialize_i32 visit_i32 i32 as_i64 "int";
        deserialize_i64 visit_i64 i64 as_i64 "int64";
        deserialize_u8 visit_u8 u8 as_u64 "uint8";
        deserialize_u16 visit_u16 u16 as_u64 "uint16";
        deserialize_u32 visit_u32 u32 as_u64 "uint";
        deserialize_u64 visit_u64 u64 as_u64 "uint64";
        deserialize_f64 visit_f64 f64 as_f64 "float64";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
            Value::Number(number) => de::Deserializer::deserialize_any(number, visitor)
                .map_err(<Error as de::Error>::custom),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(flag) => visitor.visit_bool(flag),
            other => Err(Error::mismatch(&other, "bool")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_string(String::new()),
            Value::String(text) => visitor.visit_string(text),
            other => Err(Error::mismatch(&other, "string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Self>())),
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Decoder)))
            }
            other => Err(Error::mismatch(&other, "[]string")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        // a Go array: missing elements are zero, further ones are dropped
        let mut items = match self.0 {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            other => return Err(Error::mismatch(&other, format!("[{len}]uint"))),
        };
        items.resize(len, Value::Null);
        visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Decoder)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => {
                visitor.visit_map(MapDeserializer::new(std::iter::empty::<(String, Self)>()))
            }
            Value::Object(entries) => {
                let entries = entries
                    .into_iter()
                    .map(|(key, value)| (key, Decoder(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
            other => Err(Error::mismatch(&other, "map[string]string")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let done = match self.0 {
            Value::Null => visitor.visit_map(Fields::of(Map::new(), fields)),
            Value::Object(entries) => visitor.visit_map(Fields::of(entries, fields)),
            other => Err(Error::mismatch(&other, name)),
        };
        done.map_err(|error| error.of(name))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let done = visitor.visit_newtype_struct(self);
        done.map_err(|error| error.renamed(name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit_struct tuple_struct enum i128 u128
    }
}

/// The entries of an object that are fields of the struct being read.
struct Fields {
    entries: std::vec::IntoIter<(&'static str, Value)>,
    current: Option<(&'static str, Value)>,
}

impl Fields {
    fn of(entries: Map<String, Value>, fields: &'static [&'static str]) -> Self {
        let mut known: Vec<(&'static str, Value)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let exact = fields.iter().find(|field| **field == key);
            let field = exact.or_else(|| fields.iter().find(|f| f.eq_ignore_ascii_case(&key)));
            // `null` leaves the field as it is: at its default
            let (Some(field), false) = (field, value.is_null()) else {
                continue;
            };
            match known.iter_mut().find(|(name, _)| name == field) {
                Some(entry) => entry.1 = value,
                None => known.push((field, value)),
            }
        }
        Self {
            entries: known.into_iter(),
            current: None,
        }
    }
}

impl<'de> de::MapAccess<'de> for Fields {
    type Error = Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.current = self.entries.next();
        match &self.current {
            Some((name, _)) => seed.deserialize((*name).into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self.current.take().unwrap_or(("", Value::Null));
        seed.deserialize(Decoder(value))
            .map_err(|error| error.inside(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Config, CreateRequest, HostConfig, UpdateConfig};

    #[test]
    fn keys_match_without_regard_to_case_and_the_last_one_wins() {
        let config: Config = decode(br#"{"IMAGE":"a","imAge":"b","tty":true}"#).unwrap();
        assert_eq!((config.image.as_str(), config.tty), ("b", true));
    }

    #[test]
    fn null_is_the_zero_value_everywhere() {
        let host: HostConfig = decode(
            br#"{"Binds":["a",null],"Memory":null,"Ulimits":[null],"LogConfig":null,"ConsoleSize":[1],
                "PortBindings":{"80/tcp":null},"Init":null}"#,
        )
        .unwrap();
        assert_eq!(host.binds, Some(vec!["a".to_owned(), String::new()]));
        assert_eq!(
            (host.memory, host.init, host.console_size),
            (0, None, [1, 0])
        );
        assert_eq!(host.ulimits.unwrap().len(), 1);
        assert_eq!(host.port_bindings.unwrap().get("80/tcp"), Some(&None));
    }

    #[test]
    fn unknown_keys_are_skipped_and_commands_may_be_one_word() {
        let config: Config =
            decode(br#"{"Nonsense":{"a":[1]},"Cmd":"ls","Entrypoint":["a"]}"#).unwrap();
        assert_eq!(config.cmd.unwrap().0, ["ls"]);
        assert_eq!(config.entrypoint.unwrap().0, ["a"]);
    }

    #[test]
    fn errors_are_in_the_words_of_go() {
        let text = |body: &str| {
            decode::<CreateRequest>(body.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            text(r#"{"Image":5}"#),
            "json: cannot unmarshal number into Go struct field .Image of type string"
        );
        assert_eq!(
            text(r#"{"HostConfig":{"Memory":"5"}}"#),
            "json: cannot unmarshal string into Go struct field .HostConfig.Memory of type int64"
        );
        let error = decode::<UpdateConfig>(br#"{"Memory":"5"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "json: cannot unmarshal string into Go struct field UpdateConfig.Memory of type int64"
        );
        let error = decode::<UpdateConfig>(b"[]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "json: cannot unmarshal array into Go value of type container.UpdateConfig"
        );
        assert_eq!(text("{"), "unexpected EOF");
        assert_eq!(text(""), "EOF");
        assert!(text("{x}").starts_with("invalid character 'x'"));
    }

    #[test]
    fn content_behind_the_value_is_seen() {
        assert!(has_trailing_content(b"{}{}"));
        assert!(has_trailing_content(br#"{"a":1} x"#));
        assert!(!has_trailing_content(b"{} \n"));
    }
}
