//! Text as clients expect to read it: quoted as Go's `%q` does.

use std::fmt::Write as _;

/// `text` in double quotes, with Go's escapes for quotes, backslashes and what does not print.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for ch in text.chars() {
        match ch {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ch if prints(ch) => out.push(ch),
            ch => escape(&mut out, ch),
        }
    }
    out.push('"');
    out
}

/// `code` as Go's `%q` prints a number: the character of that code, in single quotes.
#[must_use]
pub fn quoted_character(code: u32) -> String {
    match char::from_u32(code) {
        Some('\'') => "'\\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        ch => {
            let text = quoted(&ch.unwrap_or('\u{fffd}').to_string());
            format!("'{}'", text.get(1..text.len() - 1).unwrap_or_default())
        }
    }
}

/// A list of strings as Go's `%q` prints a slice: `["a" "b"]`.
#[must_use]
pub fn quoted_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(" "))
}

fn prints(ch: char) -> bool {
    ch == ' ' || !(ch.is_control() || ch.is_whitespace() || ch == '\u{feff}' || ch == '\u{ad}')
}

fn escape(out: &mut String, ch: char) {
    let code = u32::from(ch);
    // Writing to a `String` cannot fail.
    let written = match code {
        0..0x80 => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "a string takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::{quoted, quoted_character, quoted_list};

    #[test]
    fn numbers_print_as_characters() {
        for (code, wanted) in [
            (4, "'\\x04'"),
            (10, "'\\n'"),
            (39, "'\\''"),
            (34, "'\"'"),
            (65, "'A'"),
        ] {
            assert_eq!(quoted_character(code), wanted);
        }
    }

    #[test]
    fn what_does_not_print_is_escaped_as_go_does() {
        assert_eq!(
            quoted("a\"b\\c\n\u{1}\u{a0}é"),
            "\"a\\\"b\\\\c\\n\\x01\\u00a0é\""
        );
        assert_eq!(quoted_list(&["a".into(), "b c".into()]), "[\"a\" \"b c\"]");
    }
}
