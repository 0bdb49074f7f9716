//! The shell patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*`, `?`,
//! and `\` to take those literally. There are no brackets.

use regex::Regex;

use super::ExpandError;

/// Whether `*` takes as much as it can, or as little.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Shortest,
    Longest,
}

/// `value` without the prefix that `pattern` matches.
pub(super) fn without_prefix(
    value: &str,
    pattern: &str,
    greed: Greed,
) -> Result<String, ExpandError> {
    let regex = compile(pattern, greed, true)?;
    let end = regex.find(value).map_or(0, |found| found.end());
    Ok(value.get(end..).unwrap_or_default().to_owned())
}

/// `value` without the suffix that `pattern` matches. Both are read backwards: the shortest suffix is
/// then the shortest prefix.
pub(super) fn without_suffix(
    value: &str,
    pattern: &str,
    greed: Greed,
) -> Result<String, ExpandError> {
    let backwards: String = value.chars().rev().collect();
    let kept = without_prefix(&backwards, &reversed(pattern), greed)?;
    Ok(kept.chars().rev().collect())
}

/// `value` with the first match of `pattern`, or all of them, replaced by `text`.
pub(super) fn replaced(
    value: &str,
    pattern: &str,
    text: &str,
    all: bool,
) -> Result<String, ExpandError> {
    let regex = compile(pattern, Greed::Longest, false)?;
    let limit = usize::from(!all);
    Ok(regex
        .replacen(value, limit, regex::NoExpand(text))
        .into_owned())
}

fn compile(pattern: &str, greed: Greed, anchored: bool) -> Result<Regex, ExpandError> {
    let mut out = String::from(if anchored { "^" } else { "" });
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '*' if greed == Greed::Longest => out.push_str(".*"),
            '*' => out.push_str(".*?"),
            '?' => out.push('.'),
            // `\}` and `\/` are how those two are written inside `${}`.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(next @ ('*' | '?' | '\\')) => {
                    out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])))
                }
                next => {
                    return Err(ExpandError::Escape(
                        pattern.to_owned(),
                        next.unwrap_or('\u{fffd}'),
                    ));
                }
            },
            ch => out.push_str(&regex::escape(ch.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&out)
        .ok()
        .ok_or_else(|| invalid_pattern(pattern))
}

fn invalid_pattern(pattern: &str) -> ExpandError {
    ExpandError::Pattern(pattern.to_owned())
}

/// `pattern` backwards, with each escape still before what it escapes.
fn reversed(pattern: &str) -> String {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(ch) = chars.next() {
        match (ch, chars.clone().next()) {
            ('\\', Some(next)) => {
                chars.next();
                tokens.push((Some('\\'), next));
            }
            _ => tokens.push((None, ch)),
        }
    }
    let mut out = String::with_capacity(pattern.len());
    for (escape, ch) in tokens.into_iter().rev() {
        out.extend(escape);
        out.push(ch);
    }
    out
}
