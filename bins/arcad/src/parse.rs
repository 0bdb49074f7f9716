//! Values of options: from the text of a flag, from the JSON of the file, and back into the text that
//! dockerd's messages show.

use std::net::IpAddr;

use arca_types::ULIMITS;
use serde_json::{Map, Value, json};

use crate::options::Kind;

/// Reads the text of a flag into the JSON that the file would hold.
///
/// # Errors
/// What is wrong with the text, in dockerd's words.
pub(crate) fn flag(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => boolean(text),
        Kind::Int => text
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_error| format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
        Kind::Text => Ok(text.into()),
        Kind::Ip => match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.to_string().into()),
            Err(_) => Err(format!("failed to parse IP: {text:?}")),
        },
        Kind::Size => size(text).map(Value::from),
        Kind::List => Ok(json!([text])),
        Kind::Ips => text
            .split(',')
            .map(|part| match part.trim().parse::<IpAddr>() {
                Ok(address) => Ok(Value::from(address.to_string())),
                Err(_) => Err(format!(
                    "invalid string being converted to IP address: {part}"
                )),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        Kind::Hosts => host(text).map(|host| json!([host])),
        Kind::Labels => label(text).map(|()| json!([text])),
        Kind::Mirrors => mirror(text).map(|()| json!([text])),
        Kind::Map | Kind::Object => {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            Ok(json!({ key: value }))
        }
        Kind::Ulimits => ulimit(text),
        Kind::Pools => pool(text),
        Kind::Runtimes => match text.split_once('=') {
            Some((name, path)) if !name.trim().is_empty() && !path.trim().is_empty() => {
                Ok(json!({ name.trim().to_lowercase(): { "path": path.trim() } }))
            }
            _ => Err(format!("invalid runtime argument: {text}")),
        },
    }
}

fn boolean(text: &str) -> Result<Value, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true.into()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false.into()),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// Bytes with an optional binary unit: `64m`, `64MiB`, `1.5g`.
///
/// # Errors
/// `invalid size: '…'`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    arca_types::parse_size(text).ok_or_else(|| format!("invalid size: '{text}'"))
}

/// Checks a listen address and completes it: `unix://`, `tcp://`, `fd://`.
///
/// # Errors
/// `invalid bind address (…): …`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = |why: String| format!("invalid bind address ({text}): {why}");
    match text.split_once("://") {
        Some(("unix", path)) => match path {
            "" => Ok("unix:///var/run/arca.sock".to_owned()),
            _ => Ok(text.to_owned()),
        },
        Some(("fd", _)) => Ok(text.to_owned()),
        Some(("tcp", address)) => {
            let address = if address.is_empty() {
                "localhost:2375"
            } else {
                address
            };
            let address = address.trim_end_matches('/');
            let complete = match address.rsplit_once(':') {
                Some((_, port)) if !port.contains(']') => {
                    port.parse::<u16>()
                        .map_err(|_error| wrong(format!("invalid port {port:?} in {address:?}")))?;
                    address.to_owned()
                }
                _ => format!("{address}:2375"),
            };
            Ok(format!("tcp://{complete}"))
        }
        Some((other, _)) => Err(wrong(format!("unsupported proto '{other}'"))),
        None if text.starts_with('/') => Ok(format!("unix://{text}")),
        None => host(&format!("tcp://{text}")),
    }
}

/// A duration of one unit: `90s`, `5m`, `24h`, `7d`. `None` when it is none.
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    Some(std::time::Duration::from_secs(total))
}

/// Checks a label: `key=value`, both not empty of a key.
///
/// # Errors
/// `bad attribute format: …`.
pub(crate) fn label(text: &str) -> Result<(), String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(()),
        _ => Err(format!("bad attribute format: {text}")),
    }
}

/// Checks the URL of a registry mirror.
///
/// # Errors
/// `invalid mirror: …`.
pub(crate) fn mirror(text: &str) -> Result<(), String> {
    let wrong = |why: String| Err(format!("invalid mirror: {why}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong(format!(
            "no scheme specified for {text:?}: must use either 'https://' or 'http://'"
        ));
    };
    if scheme != "http" && scheme != "https" {
        return wrong(format!(
            "unsupported scheme {scheme:?} in {text:?}: must use either 'https://' or 'http://'"
        ));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some((user, host)) = authority.rsplit_once('@') {
        let user = user.split(':').next().unwrap_or_default();
        return wrong(format!(
            "username/password not allowed in URI \"{scheme}://{user}:xxxxx@{host}\""
        ));
    }
    if rest.contains(['?', '#']) {
        return wrong(format!("query or fragment at end of the URI {text:?}"));
    }
    Ok(())
}

fn ulimit(text: &str) -> Result<Value, String> {
    let wrong = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let soft = soft.parse::<i64>().map_err(|_error| wrong())?;
    let hard = hard.parse::<i64>().map_err(|_error| wrong())?;
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(json!({ name: { "Name": name, "Soft": soft, "Hard": hard } }))
}

/// How dockerd prints an ulimit: `name=soft:hard`.
pub(crate) fn ulimit_text(text: &str) -> String {
    match text.split_once('=') {
        Some((_, limits)) if limits.contains(':') => text.to_owned(),
        Some((name, limit)) => format!("{name}={limit}:{limit}"),
        None => text.to_owned(),
    }
}

fn pool(text: &str) -> Result<Value, String> {
    let mut pool = Map::new();
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "base" => {
                if value.split_once('/').is_none_or(|(address, bits)| {
                    address.parse::<IpAddr>().is_err() || bits.parse::<u8>().is_err()
                }) {
                    return Err(format!("invalid base prefix {value:?}"));
                }
                pool.insert("base".to_owned(), value.into());
            }
            "size" => {
                let size = value
                    .parse::<i64>()
                    .map_err(|_error| format!("invalid size value: {value} (must be integer)"))?;
                pool.insert("size".to_owned(), size.into());
            }
            other => return Err(format!("unexpected key '{other}' in '{field}'")),
        }
    }
    Ok(json!([Value::Object(pool)]))
}

/// Checks the JSON type of a key of the file, and brings it into the shape the settings read.
///
/// # Errors
/// Go's words for a value of the wrong type.
pub(crate) fn file(kind: Kind, key: &str, value: &Value) -> Result<Value, String> {
    let wrong = |value: &Value, name: &str, wanted: &str| {
        format!(
            "json: cannot unmarshal {} into Go struct field Config.{name} of type {wanted}",
            json_type(value)
        )
    };
    let strings = |value: &Value| match value {
        Value::Array(items) => match items.iter().find(|item| !item.is_string()) {
            Some(item) => Err(wrong(item, key, "string")),
            None => Ok(()),
        },
        other => Err(wrong(other, key, "[]string")),
    };
    match (kind, value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text | Kind::Ip, Value::String(_))
        | (Kind::Object | Kind::Ulimits | Kind::Runtimes, Value::Object(_))
        | (Kind::Pools, Value::Array(_)) => {}
        (Kind::Int | Kind::Size, Value::Number(number)) if number.is_i64() => {}
        (Kind::Size, Value::String(text)) => return size(text).map(Value::from),
        (Kind::Bool, other) => return Err(wrong(other, key, "bool")),
        (Kind::Int | Kind::Size, other) => return Err(wrong(other, key, "int")),
        (Kind::Text | Kind::Ip, other) => return Err(wrong(other, key, "string")),
        (Kind::Pools, other) => return Err(wrong(other, key, "[]*ipamutils.NetworkToSplit")),
        (Kind::List | Kind::Ips | Kind::Hosts | Kind::Labels | Kind::Mirrors, value) => {
            strings(value)?;
        }
        (Kind::Map, Value::Object(map)) => {
            let wanted = if key == "features" { "bool" } else { "string" };
            let fits = |v: &Value| {
                if wanted == "bool" {
                    v.is_boolean()
                } else {
                    v.is_string()
                }
            };
            if let Some((name, item)) = map.iter().find(|(_, item)| !fits(item)) {
                return Err(wrong(item, &format!("{key}.{name}"), wanted));
            }
        }
        (Kind::Map | Kind::Object | Kind::Ulimits | Kind::Runtimes, other) => {
            return Err(wrong(other, key, "map[string]string"));
        }
    }
    Ok(value.clone())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Prints a value as Go's `%v` does: `[a b]`, `map[k:v]`.
pub(crate) fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", go(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_completed() {
        assert_eq!(host("/run/a.sock").as_deref(), Ok("unix:///run/a.sock"));
        assert_eq!(
            host("tcp://127.0.0.1").as_deref(),
            Ok("tcp://127.0.0.1:2375")
        );
        assert_eq!(host("127.0.0.1:99").as_deref(), Ok("tcp://127.0.0.1:99"));
        assert_eq!(host("tcp://[::1]:99").as_deref(), Ok("tcp://[::1]:99"));
        assert_eq!(host("tcp://[::1]").as_deref(), Ok("tcp://[::1]:2375"));
        assert_eq!(host("fd://").as_deref(), Ok("fd://"));
        assert!(host("tcp://127.0.0.1:99999").is_err());
    }

    #[test]
    fn durations_have_one_unit() {
        assert_eq!(duration("5m").map(|d| d.as_secs()), Some(300));
        assert_eq!(duration("7d").map(|d| d.as_secs()), Some(604_800));
        assert_eq!(duration("0s").map(|d| d.as_secs()), Some(0));
        for text in ["", "5", "m", "-1s", "1h30m", "5µ"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_pool_needs_known_keys() {
        assert_eq!(
            flag(Kind::Pools, "base=10.0.0.0/8,size=24"),
            Ok(json!([{"base": "10.0.0.0/8", "size": 24}]))
        );
        assert_eq!(
            flag(Kind::Pools, "foo=1,size=2"),
            Err("unexpected key 'foo' in 'foo=1'".to_owned())
        );
    }

    #[test]
    fn values_are_shown_as_go_shows_them() {
        assert_eq!(go(&json!(["a", "b"])), "[a b]");
        assert_eq!(
            go(&json!({"nofile": {"Hard": 1, "Name": "nofile"}})),
            "map[nofile:map[Hard:1 Name:nofile]]"
        );
    }
}
