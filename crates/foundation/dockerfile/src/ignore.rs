//! Ignore files (`.dockerignore`) and the patterns in them: which paths of a context are left out.

use regex::Regex;

use crate::text::clean_path;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PatternError {
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation,
    #[error("syntax error in pattern")]
    Syntax,
}

/// The patterns of an ignore file, in order: comments and empty lines left out, slashes at the start
/// dropped, paths cleaned.
#[must_use]
pub fn ignore_file(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim);
    lines.filter(|line| !line.is_empty()).map(normal).collect()
}

fn normal(line: &str) -> String {
    let (mark, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if pattern.is_empty() {
        return mark.to_owned();
    }
    let clean = clean_path(pattern);
    let relative = clean.strip_prefix('/').filter(|rest| !rest.is_empty());
    format!("{mark}{}", relative.unwrap_or(&clean))
}

/// A list of patterns. The last one that matches a path, or a directory above it, decides.
#[derive(Debug, Clone, Default)]
pub struct PatternMatcher {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    matcher: Matcher,
    /// Begins with `!`: what it matches is left in after all.
    exception: bool,
    text: String,
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

/// Which patterns match a directory: given to those below it, so that nothing is matched twice.
#[derive(Debug, Clone, Default)]
pub struct ParentMatches(Vec<bool>);

impl PatternMatcher {
    /// Reads patterns.
    ///
    /// # Errors
    /// A lone `!`, or a bracket or escape that is not closed.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let patterns = patterns
            .into_iter()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        Ok(Self {
            patterns: patterns.map(Pattern::new).collect::<Result<_, _>>()?,
        })
    }

    /// Whether nothing is matched at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether some pattern takes paths out again (`!`).
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// The texts of the patterns that begin with `!`, without it.
    pub fn exceptions(&self) -> impl Iterator<Item = &str> {
        self.patterns
            .iter()
            .filter(|pattern| pattern.exception)
            .map(|pattern| pattern.text.as_str())
    }

    /// Whether `path` (relative, by slashes) or a directory above it is matched.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for pattern in &self.patterns {
            // A pattern that could not change the answer is not tried.
            if pattern.exception == matched && pattern.matches_path_or_parent(path) {
                matched = !pattern.exception;
            }
        }
        matched
    }

    /// Like [`matches`](Self::matches) while walking a tree: `parent` is what the directory of `path`
    /// gave, the default at the root of the tree.
    #[must_use]
    pub fn matches_below(&self, path: &str, parent: &ParentMatches) -> (bool, ParentMatches) {
        let mut matched = false;
        let mut own = vec![false; self.patterns.len()];
        for (at, (pattern, found)) in self.patterns.iter().zip(&mut own).enumerate() {
            *found = parent.0.get(at).copied().unwrap_or(false)
                || (pattern.exception == matched
                    && if parent.0.is_empty() {
                        pattern.matches_path_or_parent(path)
                    } else {
                        pattern.matches(path)
                    });
            if *found {
                matched = !pattern.exception;
            }
        }
        (matched, ParentMatches(own))
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, PatternError> {
        let clean = clean_path(text);
        let (exception, text) = match clean.strip_prefix('!') {
            Some("") => return Err(PatternError::LoneExclamation),
            Some(rest) => (true, rest),
            None => (false, clean.as_str()),
        };
        Ok(Self {
            matcher: compile(text)?,
            exception,
            text: text.to_owned(),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Exact(text) => path == text,
            Matcher::Prefix(text) => path.starts_with(text.as_str()),
            Matcher::Suffix(text) => {
                path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path)
            }
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    fn matches_path_or_parent(&self, path: &str) -> bool {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        self.matches(path)
            || parents
                .filter(|parent| !parent.is_empty())
                .any(|parent| self.matches(parent))
    }
}

fn compile(pattern: &str) -> Result<Matcher, PatternError> {
    check_brackets(pattern)?;
    let mut regex = String::from("^");
    let mut special = false;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(ch) = chars.next() {
        match ch {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                let last = chars.peek().is_none();
                if last && !special {
                    return Ok(Matcher::Prefix(without_stars(pattern)));
                }
                if first && !last && plain(chars.clone().collect::<String>().as_str()) {
                    let rest = pattern.get(2..).unwrap_or_default();
                    return Ok(Matcher::Suffix(rest.to_owned()));
                }
                regex.push_str(if last { ".*" } else { "(.*/)?" });
                special = true;
            }
            '*' => {
                regex.push_str("[^/]*");
                special = true;
            }
            '?' => {
                regex.push_str("[^/]");
                special = true;
            }
            '[' => {
                class(&mut regex, &mut chars);
                special = true;
            }
            '\\' => {
                let next = chars.next().unwrap_or('\\');
                regex.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
                special = true;
            }
            ch => regex.push_str(&regex::escape(ch.encode_utf8(&mut [0; 4]))),
        }
        first = false;
    }
    if !special {
        return Ok(Matcher::Exact(pattern.to_owned()));
    }
    regex.push('$');
    Regex::new(&regex)
        .ok()
        .map(Matcher::Regex)
        .ok_or(PatternError::Syntax)
}

/// `pattern` without the `**` at its end.
fn without_stars(pattern: &str) -> String {
    pattern
        .trim_end_matches('/')
        .strip_suffix("**")
        .unwrap_or(pattern)
        .to_owned()
}

/// Whether a pattern has nothing but literal characters.
fn plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '\\'])
}

/// A bracket expression, up to its `]`. It is known to be well formed.
fn class(regex: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    regex.push('[');
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut first = true;
    while let Some(ch) = chars.next() {
        match ch {
            ']' if !first => break,
            '-' => regex.push('-'),
            '\\' => regex.push_str(&escaped(chars.next().unwrap_or('\\'))),
            ch => regex.push_str(&escaped(ch)),
        }
        first = false;
    }
    regex.push(']');
}

/// A character inside brackets; several that are harmless elsewhere join into operators there.
fn escaped(ch: char) -> String {
    if ch.is_ascii_punctuation() {
        format!("\\{ch}")
    } else {
        ch.to_string()
    }
}

/// What Go's `filepath.Match` demands of a pattern: brackets that close and are not empty, ranges with
/// two ends, and nothing missing after an escape.
fn check_brackets(pattern: &str) -> Result<(), PatternError> {
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '\\' => {
                chars.next().ok_or(PatternError::Syntax)?;
            }
            '[' => {
                chars.next_if_eq(&'^');
                let mut ranges = 0;
                loop {
                    if ranges > 0 && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    class_member(&mut chars)?;
                    if chars.next_if_eq(&'-').is_some() {
                        class_member(&mut chars)?;
                    }
                    ranges += 1;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn class_member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), PatternError> {
    match chars.next() {
        None | Some('-' | ']') => Err(PatternError::Syntax),
        Some('\\') => chars.next().map(|_| ()).ok_or(PatternError::Syntax),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{ParentMatches, PatternError, PatternMatcher, ignore_file};

    fn matches(patterns: &[&str], path: &str) -> bool {
        let matcher = PatternMatcher::new(patterns.iter().copied()).expect("patterns");
        let whole = matcher.matches(path);
        let mut parent = ParentMatches::default();
        let mut below = false;
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (below, parent) = matcher.matches_below(&path[..at], &parent);
        }
        assert_eq!(
            whole, below,
            "{patterns:?} {path}: the two ways of asking agree"
        );
        whole
    }

    #[test]
    fn patterns_match_as_mobys_do() {
        for (pattern, path, wanted) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir", false),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**file", "dir/dir/file", true),
            ("**/file", "dir/file.txt", false),
            ("**file/*txt", "dir/file/dir/file.txt", false),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            (
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                true,
            ),
            ("abc.def", "abcdef", false),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("abc?def", "abc/def", false),
            ("a\\*b", "a*b", true),
            ("a\\\\", "a\\", true),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir2/foo/bar", true),
            ("abc/**", "abc/def/ghi", true),
            ("**/.foo", ".foo", true),
            ("**/.foo", "bar.foo", false),
            ("./bar.*", "bar.foo", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[\\]a]x", "]x", true),
            ("a[&&~~]", "a&", true),
            ("docs", "docs/a/b", true),
            ("é?", "éa", true),
        ] {
            assert_eq!(matches(&[pattern], path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_match_decides() {
        assert!(!matches(&["docs", "!docs/README.md"], "docs/README.md"));
        assert!(matches(&["docs", "!docs/README.md"], "docs/other"));
        assert!(matches(
            &["docs", "!docs/README.md", "docs/READ*"],
            "docs/README.md"
        ));
        assert!(!matches(&["*", "!LICENSE"], "LICENSE"));
        assert!(!matches(
            &["util/docker/web", "!util/docker/web/foo"],
            "util/docker/web/foo"
        ));
        assert!(!matches(&["**", "!util/docker/web"], "util/docker/web/foo"));
    }

    #[test]
    fn unusable_patterns_are_refused() {
        let error = |pattern| PatternMatcher::new([pattern]).err();

        assert_eq!(error("!"), Some(PatternError::LoneExclamation));
        assert_eq!(error("[]"), Some(PatternError::Syntax));
        assert_eq!(error("[a"), Some(PatternError::Syntax));
        assert_eq!(error("a\\"), Some(PatternError::Syntax));
        assert_eq!(error("[a-]"), Some(PatternError::Syntax));
        assert_eq!(error(" "), None);
    }

    #[test]
    fn a_file_gives_clean_patterns() {
        let text = "\u{feff}test1\n/test2\n/a/file/here\n\nlastfile\n# comment\n! /inverted/abs/path\n!\n! \n # not one\na/../b/\n/\n";

        assert_eq!(
            ignore_file(text),
            [
                "test1",
                "test2",
                "a/file/here",
                "lastfile",
                "!inverted/abs/path",
                "!",
                "!",
                "# not one",
                "b",
                "/"
            ]
        );
    }
}
