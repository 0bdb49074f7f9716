//! Parser directives: `# name=value` comments before anything else in the file.

/// A parser directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`.
    pub name: String,
    /// What follows the `=`, without blanks around it.
    pub value: String,
    /// The line it is on, from 1.
    pub line: u32,
}

/// Reads directives from the first lines of a file, until something else comes.
#[derive(Debug)]
pub(crate) struct Directives {
    prefix: &'static str,
    line: u32,
    seen: Vec<String>,
    done: bool,
}

impl Directives {
    pub(crate) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            line: 0,
            seen: Vec::new(),
            done: false,
        }
    }

    /// What the next line says; `Err` holds the name of a directive that was given before.
    pub(crate) fn next(&mut self, line: &str) -> Result<Option<Directive>, String> {
        self.line += 1;
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = line.strip_prefix(self.prefix).and_then(name_and_value) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(name);
        }
        self.seen.push(name.clone());
        Ok(Some(Directive {
            name,
            value,
            line: self.line,
        }))
    }
}

fn name_and_value(text: &str) -> Option<(String, String)> {
    let (name, value) = text.trim_start().split_once('=')?;
    let name = name.trim_end().to_ascii_lowercase();
    let value = value.trim();
    let known = matches!(name.as_str(), "syntax" | "escape" | "check");
    (known && !value.is_empty()).then(|| (name, value.to_owned()))
}

/// The directive `name` of a Dockerfile, if it has one.
#[must_use]
pub fn directive(name: &str, text: &str) -> Option<Directive> {
    let (text, skipped) = body(text);
    find(name, text, "#", skipped)
}

/// The front end that a file asks for: `# syntax=`, or `// syntax=`, or a JSON object's `syntax`. A
/// first line of `#!` is skipped.
#[must_use]
pub fn syntax(text: &str) -> Option<Directive> {
    let (text, skipped) = body(text);
    find("syntax", text, "#", skipped)
        .or_else(|| find("syntax", text, "//", skipped))
        .or_else(|| {
            let json: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(text).ok()?;
            let value = json.get("syntax")?.as_str()?.to_owned();
            Some(Directive {
                name: "syntax".to_owned(),
                value,
                line: skipped,
            })
        })
}

/// The text without byte order mark and `#!` line, and how many lines that took.
fn body(text: &str) -> (&str, u32) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => (rest, 1),
        _ => (text, 0),
    }
}

fn find(name: &str, text: &str, prefix: &'static str, skipped: u32) -> Option<Directive> {
    let mut directives = Directives::new(prefix);
    directives.line = skipped;
    for line in text.lines() {
        match directives.next(line) {
            Ok(Some(found)) if found.name == name => return Some(found),
            Ok(_) if directives.done => return None,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{directive, syntax};

    #[test]
    fn directives_end_with_the_first_other_line() {
        let text = "#syntax = docker/dockerfile:1\n# ESCAPE=`\nFROM x\n# check=skip=all\n";

        assert_eq!(
            syntax(text).map(|d| (d.value, d.line)),
            Some(("docker/dockerfile:1".into(), 1))
        );
        assert_eq!(
            directive("escape", text).map(|d| (d.value, d.line)),
            Some(("`".into(), 2))
        );
        assert_eq!(directive("check", text), None);
        assert_eq!(directive("escape", "# a comment\n# escape=`\n"), None);
    }

    #[test]
    fn a_front_end_may_be_asked_for_in_other_forms() {
        assert_eq!(
            syntax("#!/bin/x\n// syntax=a/b\n").map(|d| (d.value, d.line)),
            Some(("a/b".into(), 2))
        );
        assert_eq!(
            syntax("{\"syntax\": \"a/b\"}").map(|d| d.value),
            Some("a/b".into())
        );
        assert_eq!(syntax("FROM x"), None);
    }
}
