//! Here-documents: `<<EOF`, `<<-EOF`, `<<'EOF'`, `3<<EOF`.

use crate::expand::{ExpandError, Lexer, NoVariables};

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, and the name of the file it becomes.
    pub name: String,
    /// The file descriptor before the `<<`; 0 without one.
    pub descriptor: u32,
    /// Whether variables in it are expanded: not when its word is quoted.
    pub expand: bool,
    /// Whether tabs at the start of lines are dropped (`<<-`).
    pub chomp: bool,
    /// The lines, as written.
    pub content: String,
}

impl Heredoc {
    /// The lines, without leading tabs when those are to be dropped.
    #[must_use]
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }

    /// Whether `line` (as read, with its line ending) ends the document.
    pub(crate) fn is_ended_by(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if self.chomp {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }
}

/// The document that `word` opens, without content; `None` when it opens none.
///
/// # Errors
/// The word after `<<` has an unmatched quote or a wrong substitution.
pub fn heredoc(word: &str) -> Result<Option<Heredoc>, ExpandError> {
    let digits = word.len()
        - word
            .trim_start_matches(|ch: char| ch.is_ascii_digit())
            .len();
    let (descriptor, rest) = word.split_at(digits);
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let plain = Lexer {
        keep_unset: true,
        ..Lexer::new('\\')
    };
    let words = plain.expand(rest, &NoVariables)?.words;
    let raw = Lexer {
        keep_quotes: true,
        ..plain
    }
    .expand(rest, &NoVariables)?
    .words;
    let ([name], [quoted]) = (words.as_slice(), raw.as_slice()) else {
        return Ok(None);
    };
    let quotes = |word: &str| word.chars().filter(|ch| matches!(ch, '\'' | '"')).count();
    Ok(Some(Heredoc {
        name: name.clone(),
        descriptor: descriptor.parse().unwrap_or(0),
        expand: quotes(name) == quotes(quoted),
        chomp,
        content: String::new(),
    }))
}

/// The documents that the words of `line` open, in order.
pub(crate) fn opened_by(line: &str) -> Result<Vec<Heredoc>, ExpandError> {
    let lexer = Lexer {
        keep_quotes: true,
        keep_escapes: true,
        keep_unset: true,
        ..Lexer::new('\\')
    };
    // A line that a shell could not read either opens no document: the shell will say so.
    let words = lexer
        .expand(line, &NoVariables)
        .map(|done| done.words)
        .unwrap_or_default();
    let mut found = Vec::new();
    for word in &words {
        found.extend(heredoc(word)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{heredoc, opened_by};

    #[test]
    fn the_word_says_name_descriptor_expansion_and_chomp() {
        let found = |word: &str| {
            heredoc(word)
                .expect(word)
                .map(|doc| (doc.name, doc.descriptor, doc.expand, doc.chomp))
        };

        assert_eq!(found("<<EOF"), Some(("EOF".into(), 0, true, false)));
        assert_eq!(found("3<<-'A b'"), Some(("A b".into(), 3, false, true)));
        assert_eq!(found("<<E\"O\"F"), Some(("EOF".into(), 0, false, false)));
        assert_eq!(found("<< EOF"), Some(("EOF".into(), 0, true, false)));
        assert_eq!(found("<<"), None);
        assert_eq!(found("<<<EOF"), None);
        assert_eq!(found("<EOF"), None);
        assert_eq!(found("x<<EOF"), None);
    }

    #[test]
    fn a_line_may_open_several_but_none_inside_quotes() {
        let names: Vec<_> = opened_by("RUN cat <<A >x && cat 3<<'B' '<<C' \\<<D")
            .expect("reads")
            .into_iter()
            .map(|d| d.name)
            .collect();

        assert_eq!(names, ["A", "B"]);
        assert_eq!(opened_by("RUN echo 'it <<EOF").expect("reads"), []);
    }

    #[test]
    fn leading_tabs_are_dropped_on_demand() {
        let mut doc = heredoc("<<-E").expect("reads").expect("is one");
        doc.content = "\t\ta\n \tb\n\n\tc\n".into();

        assert_eq!(doc.text(), "a\n \tb\n\nc\n");
        assert!(doc.is_ended_by("\tE\r\n"));
    }
}
