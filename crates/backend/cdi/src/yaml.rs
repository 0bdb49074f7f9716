//! Files in JSON or YAML, as one kind of value.

use serde_json::{Map, Number, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// How deep a value may be.
const DEPTH: usize = 16;

/// Reads a file of either format: JSON is not quite YAML.
pub(crate) fn parse(text: &str, json: bool) -> Result<Value, String> {
    if json {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.as_slice() {
        [one] => value(one, DEPTH),
        _ => Err("not one document".to_owned()),
    }
}

fn value(yaml: &Yaml, depth: usize) -> Result<Value, String> {
    let Some(below) = depth.checked_sub(1) else {
        return Err("nested too deeply".to_owned());
    };
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(truth) => Value::Bool(*truth),
        Yaml::Integer(number) => Value::Number((*number).into()),
        Yaml::Real(text) => {
            let number = text.parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or_else(|| format!("{text} is not a number"))?)
        }
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Array(all) => {
            let all = all.iter().map(|one| value(one, below));
            Value::Array(all.collect::<Result<_, _>>()?)
        }
        Yaml::Hash(all) => {
            let mut map = Map::new();
            for (key, one) in all {
                let key = key.as_str().ok_or("a key is not a text")?;
                map.insert(key.to_owned(), value(one, below)?);
            }
            Value::Object(map)
        }
        Yaml::Alias(_) | Yaml::BadValue => return Err("a value that is none".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let yaml = parse("kind: a/b\nmode: 0o660\nlist:\n- x\n- true\n", false).unwrap();
        let json = parse(r#"{"kind": "a/b", "mode": 432, "list": ["x", true]}"#, true).unwrap();
        assert_eq!(yaml, json);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in ["", "a: [", "--- 1\n--- 2\n"] {
            assert!(parse(bad, false).is_err(), "{bad}");
        }
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(parse(&deep, false).is_err());
    }
}
