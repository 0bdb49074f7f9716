//! Splits the text of an instruction: keyword, flags, words, `name=value` pairs, JSON arrays.

use crate::error::Error;

/// A `name=value`, or `name value` in the old form of `ENV` and `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What comes first.
    pub name: String,
    /// What follows.
    pub value: String,
    /// Whether they stand apart by a blank: the old form.
    pub legacy: bool,
}

/// An instruction's text in three parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) keyword: String,
    pub(super) flags: Vec<String>,
    pub(super) rest: String,
}

/// The blanks that separate words (not line feeds: a line has none).
pub(super) fn is_blank(ch: char) -> bool {
    matches!(ch, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits off the keyword and the flags.
pub(super) fn split(line: &str, escape: char) -> Split {
    let line = line.trim();
    let (keyword, rest) = match line.split_once(is_blank) {
        Some((keyword, rest)) => (keyword, rest.trim_start_matches(is_blank)),
        None => (line, ""),
    };
    let (flags, rest) = flags(rest, escape);
    Split {
        keyword: keyword.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
    }
}

/// The words at the start that begin with `--`, quotes and escapes taken away, and what follows them.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (flag, after) = flag(rest, escape);
        rest = after;
        if flag == "--" {
            return (flags, rest);
        }
        flags.push(flag);
    }
}

fn flag(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, ch)) = chars.next() {
        match (ch, quote) {
            (ch, None) if ch.is_whitespace() => {
                return (word, text.get(at..).unwrap_or_default());
            }
            ('\'' | '"', None) => quote = Some(ch),
            (ch, Some(open)) if ch == open => quote = None,
            (ch, _) if ch == escape => word.extend(chars.next().map(|(_, next)| next)),
            (ch, _) => word.push(ch),
        }
    }
    (word, "")
}

/// Words between blanks, with their quotes and escapes; a blank in quotes or after an escape is part of
/// its word.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        match (ch, quote) {
            (ch, None) if ch.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (ch, open) if ch == escape && open != Some('\'') => {
                // An escape at the end of the text is dropped.
                if let Some(next) = chars.next() {
                    word.push(ch);
                    word.push(next);
                }
            }
            (ch, None) => {
                if matches!(ch, '\'' | '"') {
                    quote = Some(ch);
                }
                word.push(ch);
            }
            (ch, Some(open)) => {
                if ch == open {
                    quote = None;
                }
                word.push(ch);
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Words between blanks, quotes meaning nothing.
pub(super) fn blank_separated(text: &str) -> Vec<String> {
    text.split(is_blank)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `name=value …`, or `name value` when the first word has no `=`.
pub(super) fn pairs(text: &str, keyword: &'static str, escape: char) -> Result<Vec<Pair>, Error> {
    let words = words(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let (name, value) = text
            .split_once(is_blank)
            .ok_or(Error::TwoArguments(keyword))?;
        let value = value.trim_start_matches(is_blank).to_owned();
        return Ok(vec![Pair {
            name: name.to_owned(),
            value,
            legacy: true,
        }]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) => Ok(Pair {
            name: name.to_owned(),
            value: value.to_owned(),
            legacy: false,
        }),
        None => Err(Error::NoEquals(word)),
    };
    words.into_iter().map(pair).collect()
}

/// The strings of a JSON array; `None` when `text` is no JSON array.
pub(super) fn json(text: &str) -> Result<Option<Vec<String>>, Error> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let string = |item| match item {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(Error::NotStrings),
    };
    items
        .into_iter()
        .map(string)
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::{blank_separated, json, pairs, split, words};
    use crate::error::Error;

    #[test]
    fn flags_end_with_the_first_other_word() {
        let done = split("  COPY  --from=a --chown=\"x y\":z\\ w -- --not /x ", '\\');

        assert_eq!(done.keyword, "COPY");
        assert_eq!(done.flags, ["--from=a", "--chown=x y:z w"]);
        assert_eq!(done.rest, "--not /x");
        assert_eq!(split("RUN -x", '\\').rest, "-x");
    }

    #[test]
    fn words_keep_their_quotes_and_escapes() {
        assert_eq!(
            words("a='b c' d\\ e=\"f \\\" g\" h\\", '\\'),
            ["a='b c'", "d\\ e=\"f \\\" g\"", "h"]
        );
        assert_eq!(words("''", '\\'), ["''"]);
        assert_eq!(blank_separated("'a  b'"), ["'a", "b'"]);
    }

    #[test]
    fn pairs_come_in_two_forms() {
        let names = |text: &str| {
            pairs(text, "ENV", '\\').map(|all| {
                all.into_iter()
                    .map(|p| (p.name, p.value, p.legacy))
                    .collect::<Vec<_>>()
            })
        };

        assert_eq!(
            names("a=1 b='2 3'"),
            Ok(vec![
                ("a".into(), "1".into(), false),
                ("b".into(), "'2 3'".into(), false)
            ])
        );
        assert_eq!(
            names("a  b c=d"),
            Ok(vec![("a".into(), "b c=d".into(), true)])
        );
        assert_eq!(names("a"), Err(Error::TwoArguments("ENV")));
        assert_eq!(names("a=1 b"), Err(Error::NoEquals("b".into())));
    }

    #[test]
    fn a_json_array_must_hold_strings() {
        assert_eq!(
            json(r#" ["a", "b\n"] "#),
            Ok(Some(vec!["a".into(), "b\n".into()]))
        );
        assert_eq!(json("[]"), Ok(Some(Vec::new())));
        assert_eq!(json("[a"), Ok(None));
        assert_eq!(json("[\"a\"] && x"), Ok(None));
        assert_eq!(json("[1]"), Err(Error::NotStrings));
    }
}
