//! Expansion against what a shell does.

use super::{Env, Lexer, NoVariables};

fn env() -> Env {
    Env::from_texts([
        "PWD=/home",
        "SHELL=bash",
        "NULL=",
        "FOO=foo.bar.tar.gz",
        "STR=a/b/c",
        "BS=x*y",
    ])
}

fn word(text: &str) -> Result<String, String> {
    Lexer::new('\\')
        .expand(text, &env())
        .map(|done| done.text)
        .map_err(|e| e.to_string())
}

#[test]
fn every_modifier_does_what_a_shell_does() {
    let table = [
        ("$PWD/x", "/home/x"),
        ("${PWD}x", "/homex"),
        ("$PWDx", ""),
        ("${NOPE:-def}", "def"),
        ("${NULL:-def}", "def"),
        ("${NULL-def}", ""),
        ("${NOPE-$SHELL}", "bash"),
        ("${NOPE:-${ALSO:-in}}", "in"),
        ("${SHELL:+set}", "set"),
        ("${NULL:+set}", ""),
        ("${NULL+set}", "set"),
        ("${NOPE+set}", ""),
        ("${SHELL?x}", "bash"),
        ("${FOO#*.}", "bar.tar.gz"),
        ("${FOO##*.}", "gz"),
        ("${FOO%.*}", "foo.bar.tar"),
        ("${FOO%%.*}", "foo"),
        ("${FOO#f?o}", ".bar.tar.gz"),
        ("${BS#x\\*}", "y"),
        ("${STR/\\//_}", "a_b/c"),
        ("${STR//\\//_}", "a_b_c"),
        ("${FOO/bar/}", "foo..tar.gz"),
        ("${FOO/.*./-}", "foo-gz"),
        ("'$PWD'", "$PWD"),
        ("\"$PWD\"", "/home"),
        ("\"\\$PWD \\\\ \\x \\\"\"", "$PWD \\ \\x \""),
        ("\\$PWD", "$PWD"),
        ("a\\ b", "a b"),
        ("$", "$"),
        ("$1x", "x"),
        ("$?", ""),
        ("x\\", "x"),
    ];
    for (text, wanted) in table {
        assert_eq!(word(text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn mistakes_are_told_in_buildkits_words() {
    let table = [
        ("${", "missing '}'"),
        ("${}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${PWD", "unsupported modifier"),
        ("${PWD:-x", "missing '}'"),
        ("${PWD:#x}", "unsupported modifier (:#) in substitution"),
        ("${PWD^^}", "unsupported modifier (^) in substitution"),
        ("${NOPE?}", "NOPE: is not allowed to be unset"),
        ("${NULL:?}", "NULL: is not allowed to be empty"),
        ("${NOPE:?say it}", "NOPE: say it"),
        ("${STR/a}", "missing '/' in ${}"),
        (
            "${FOO#\\x}",
            "invalid pattern (\\x) in substitution: invalid escape '\\x'",
        ),
        ("'a", "looking for matching single-quote"),
        ("\"a", "looking for matching double-quote"),
    ];
    for (text, wanted) in table {
        let error = word(text).expect_err(text);
        assert!(error.starts_with("failed to process \""), "{error}");
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn words_are_split_after_expansion_but_not_inside_quotes() {
    let env = Env::from_texts(["LIST=1 2", "E="]);
    let words = |text: &str| Lexer::new('\\').expand(text, &env).expect(text).words;

    assert_eq!(
        words("$LIST  '3 4' \"$LIST\" 5\\ 6 $E"),
        ["1", "2", "3 4", "1 2", "5 6"]
    );
    assert_eq!(words("a$LIST"), ["a1", "2"]);
    assert_eq!(words("x${U:-y}z"), ["xyz"]);
}

#[test]
fn names_that_are_used_and_names_that_are_not_set_are_told() {
    let done = Lexer::new('\\')
        .expand("$PWD ${A:-$B} '$C'", &env())
        .expect("expands");

    assert_eq!(done.used.into_iter().collect::<Vec<_>>(), ["PWD"]);
    assert_eq!(done.unset.into_iter().collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn what_is_not_set_may_be_kept_as_written() {
    let lexer = Lexer {
        keep_unset: true,
        keep_quotes: true,
        ..Lexer::new('\\')
    };
    let text = "echo \"$A\" ${B} ${C:-x} ${D/a/b} '$E' $F";

    assert_eq!(
        lexer.expand(text, &NoVariables).expect("expands").text,
        text
    );
}

#[test]
fn the_escape_character_may_be_a_backtick() {
    let done = Lexer::new('`')
        .expand("`$PWD c:\\x", &env())
        .expect("expands");

    assert_eq!(done.text, "$PWD c:\\x");
}

#[test]
fn a_text_that_would_fill_the_memory_is_refused() {
    let mut env = Env::new();
    env.set("a", "x".repeat(1 << 20));
    let error = Lexer::new('\\')
        .expand("$a$a$a$a$a", &env)
        .expect_err("too long");
    assert!(
        error
            .to_string()
            .ends_with("the expanded text is longer than 4 MiB")
    );

    let deep = format!("{}{}", "${a:-".repeat(100_000), "}".repeat(100_000));
    assert!(Lexer::new('\\').expand(&deep, &NoVariables).is_err());
}
