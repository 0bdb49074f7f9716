//! The functions of tag templates: Go's own that make sense, and dockerd's (`templates.NewParse`).

use crate::template::Value;

const NAMES: [&str; 22] = [
    "json", "split", "join", "title", "lower", "upper", "pad", "truncate", "print", "println",
    "printf", "len", "index", "eq", "ne", "and", "or", "not", "urlquery", "lt", "gt", "slice",
];

pub(crate) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function; an error is why it cannot be.
pub(crate) fn call(name: &str, operands: &[Value]) -> Result<Value, String> {
    if operands.contains(&Value::Container) {
        return Err("the container is no value".to_owned());
    }
    match (name, operands) {
        ("json", [value]) => Ok(Value::Text(json(value).to_string())),
        ("title", [Value::Text(text)]) => Ok(Value::Text(title(text))),
        ("lower", [Value::Text(text)]) => Ok(Value::Text(text.to_lowercase())),
        ("upper", [Value::Text(text)]) => Ok(Value::Text(text.to_uppercase())),
        ("split", [Value::Text(text), Value::Text(by)]) => Ok(Value::List(
            text.split(by.as_str()).map(Value::text).collect(),
        )),
        ("join", [Value::List(list), Value::Text(by)]) => {
            let texts: Vec<String> = list.iter().map(Value::to_string).collect();
            Ok(Value::Text(texts.join(by)))
        }
        (
            "pad",
            [
                Value::Text(text),
                Value::Number(before),
                Value::Number(after),
            ],
        ) => Ok(Value::Text(pad(text, *before, *after))),
        ("truncate", [Value::Text(text), Value::Number(length)]) => {
            let length = usize::try_from(*length).unwrap_or_default();
            Ok(Value::Text(text.chars().take(length).collect()))
        }
        ("slice", [Value::Text(text), from, rest @ ..]) => slice(text, from, rest),
        ("print", values) => Ok(Value::Text(values.iter().map(Value::to_string).collect())),
        ("println", values) => {
            let texts: Vec<String> = values.iter().map(Value::to_string).collect();
            Ok(Value::Text(texts.join(" ") + "\n"))
        }
        ("printf", [Value::Text(format), values @ ..]) => Ok(Value::Text(printf(format, values))),
        ("urlquery", values) => {
            let text: String = values.iter().map(Value::to_string).collect();
            let mut out = Vec::new();
            crate::render::escape(&text, &mut out);
            Ok(Value::Text(String::from_utf8_lossy(&out).into_owned()))
        }
        ("len", [value]) => len(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        _ => logic(name, operands),
    }
}

fn logic(name: &str, operands: &[Value]) -> Result<Value, String> {
    match (name, operands) {
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(Value::Truth(others.iter().any(|other| other == first)))
        }
        ("ne", [a, b]) => Ok(Value::Truth(a != b)),
        ("lt", [Value::Number(a), Value::Number(b)]) => Ok(Value::Truth(a < b)),
        ("gt", [Value::Number(a), Value::Number(b)]) => Ok(Value::Truth(a > b)),
        ("not", [value]) => Ok(Value::Truth(!value.is_true())),
        ("and", [values @ .., last]) => {
            let first = values.iter().find(|value| !value.is_true());
            Ok(first.unwrap_or(last).clone())
        }
        ("or", [values @ .., last]) => {
            let first = values.iter().find(|value| value.is_true());
            Ok(first.unwrap_or(last).clone())
        }
        _ => Err("wrong number or type of arguments".to_owned()),
    }
}

fn title(text: &str) -> String {
    let mut begins = true;
    let mut out = String::new();
    for character in text.chars() {
        if begins {
            out.extend(character.to_uppercase());
        } else {
            out.push(character);
        }
        begins = !(character.is_alphanumeric() || matches!(character, '_' | '\''));
    }
    out
}

fn pad(text: &str, before: i64, after: i64) -> String {
    if text.is_empty() {
        return String::new();
    }
    // A tag is a line: nobody needs more.
    let spaces = |count: i64| " ".repeat(usize::try_from(count).unwrap_or(0).min(4096));
    spaces(before) + text + &spaces(after)
}

fn slice(text: &str, from: &Value, rest: &[Value]) -> Result<Value, String> {
    let at = |value: &Value| match value {
        Value::Number(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    let end = match rest {
        [] => Some(text.len()),
        [end] => at(end),
        _ => None,
    };
    let piece = at(from)
        .zip(end)
        .and_then(|(from, end)| text.get(from..end));
    let piece = piece.ok_or_else(|| "index out of range".to_owned())?;
    Ok(Value::text(piece))
}

fn len(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        Value::Number(_) | Value::Truth(_) | Value::Container => {
            return Err("len of type int".to_owned());
        }
    };
    Ok(Value::Number(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let Some((key, rest)) = keys.split_first() else {
        return Ok(value.clone());
    };
    let member = match (value, key) {
        (Value::Map(map), Value::Text(key)) => {
            map.get(key).cloned().unwrap_or_else(|| Value::text(""))
        }
        (Value::List(list), Value::Number(number)) => usize::try_from(*number)
            .ok()
            .and_then(|number| list.get(number))
            .cloned()
            .ok_or_else(|| format!("index out of range: {number}"))?,
        _ => return Err("can't index item".to_owned()),
    };
    index(&member, rest)
}

/// Go's `fmt.Sprintf`, as far as texts and numbers need it.
fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let Some(verb) = after.chars().next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        rest = after.get(verb.len_utf8()..).unwrap_or_default();
        if verb == '%' {
            out.push('%');
            continue;
        }
        match (verb, values.next()) {
            (_, None) => out.push_str(&format!("%!{verb}(MISSING)")),
            ('q', Some(Value::Text(text))) => out.push_str(&format!("{text:?}")),
            ('d', Some(Value::Text(text))) => out.push_str(&format!("%!d(string={text})")),
            ('s' | 'v' | 'd', Some(value)) => out.push_str(&value.to_string()),
            (_, Some(value)) => out.push_str(&format!("%!{verb}({value})")),
        }
    }
    out.push_str(rest);
    out
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Number(number) => (*number).into(),
        Value::Truth(truth) => (*truth).into(),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(k, v)| (k.clone(), json(v))).collect(),
        Value::Container => serde_json::Value::Null,
    }
}
