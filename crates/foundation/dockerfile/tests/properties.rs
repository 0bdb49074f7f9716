//! What holds for every text.

use arca_dockerfile::{
    Dockerfile, Env, Lexer, LintConfig, Linter, NoVariables, PatternMatcher, clean_path, git_url,
    ignore_file, mode, parse_duration, syntax,
};
use proptest::prelude::*;

/// Text out of the pieces that matter to the reader of a Dockerfile.
fn dockerfile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM ",
        "from x",
        "FROM a AS b",
        "RUN ",
        "COPY ",
        "ADD ",
        "--from=b ",
        "--mount=type=cache,target=/c ",
        "ENV a=b",
        "ENV a b",
        "ARG x",
        "ONBUILD ",
        "HEALTHCHECK ",
        "CMD ",
        "[\"a\", \"b\"]",
        "<<EOF",
        "<<-'E' ",
        "EOF",
        "E",
        "\\",
        "\\\n",
        "`",
        "#",
        "# escape=`\n",
        "\n",
        "\n\n",
        " ",
        "\t",
        "'",
        "\"",
        "$x",
        "${x:-y}",
        "é",
        "SHELL ",
        "EXPOSE 80",
        "\r\n",
        "\u{feff}",
        "=",
        "x",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn reading_never_fails_but_by_an_error(text in dockerfile()) {
        let mut linter = Linter::new(LintConfig::default());
        let lines = u32::try_from(text.lines().count()).expect("few");
        match Dockerfile::parse(&text, &mut linter) {
            Ok(file) => {
                for one in file.stages.iter().flat_map(|stage| &stage.instructions).chain(&file.arguments) {
                    prop_assert!(1 <= one.lines.start && one.lines.start <= one.lines.end && one.lines.end <= lines);
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_can_be_read(text in any::<String>()) {
        let mut linter = Linter::silent();
        let read = Dockerfile::parse(&text, &mut linter);
        prop_assert!(read.is_ok() || read.is_err());
        drop(std::hint::black_box(syntax(&text)));
        drop(std::hint::black_box(mode(&text)));
        drop(std::hint::black_box(parse_duration(&text)));
        drop(std::hint::black_box(git_url(&text)));
    }

    #[test]
    fn expansion_without_dollar_quote_escape_or_angle_changes_nothing(text in "[^$'\"\\\\<]{0,40}") {
        let done = Lexer::new('\\').expand(&text, &NoVariables).expect("nothing to fail");
        prop_assert_eq!(&done.text, &text);
        let words: Vec<&str> = text.split_whitespace().collect();
        prop_assert_eq!(done.words, words);
    }

    /// The mark of a here-document is one word with its name, whatever blanks are between them.
    #[test]
    fn two_angles_keep_the_blanks_after_them(
        before in "[a-z]{1,4}",
        angles in "<{1,5}",
        blanks in "[ \t\r]{1,3}",
        name in "[a-z]{0,4}",
    ) {
        let text = format!("{before} {angles}{blanks}{name}");
        let done = Lexer::new('\\').expand(&text, &NoVariables).expect("nothing to fail");
        prop_assert_eq!(&done.text, &text);
        let words = if angles.len() % 2 == 0 {
            vec![before, format!("{angles}{blanks}{name}")]
        } else {
            let mut words = vec![before, angles];
            words.extend((!name.is_empty()).then_some(name));
            words
        };
        prop_assert_eq!(done.words, words);
    }

    #[test]
    fn a_value_survives_quoting(value in "[^']{0,30}", name in "[a-zA-Z_][a-zA-Z0-9_]{0,8}") {
        let mut env = Env::new();
        env.set(&name, &value);
        let lexer = Lexer::new('\\');
        prop_assert_eq!(lexer.expand(&format!("'{value}'"), &env).expect("quoted").text, value.clone());
        prop_assert_eq!(lexer.expand(&format!("${{{name}}}"), &env).expect("name").text, value.clone());
        prop_assert_eq!(lexer.expand(&format!("\"${name}\""), &env).expect("name").text, value);
    }

    #[test]
    fn modifiers_agree_with_their_meaning(value in "[ab.]{0,12}", cut in "[ab.]{1,3}") {
        let mut env = Env::new();
        env.set("v", &value);
        let expand = |text: String| Lexer::new('\\').expand(&text, &env).expect("expands").text;
        prop_assert_eq!(expand(format!("${{v#{cut}}}")), value.strip_prefix(&cut).unwrap_or(&value));
        prop_assert_eq!(expand(format!("${{v%{cut}}}")), value.strip_suffix(&cut).unwrap_or(&value));
        prop_assert_eq!(expand(format!("${{v/{cut}/x}}")), value.replacen(&cut, "x", 1));
        prop_assert_eq!(expand(format!("${{v//{cut}/x}}")), value.replace(&cut, "x"));
        prop_assert_eq!(expand("${v##*.}".into()), value.rsplit('.').next().unwrap_or_default());
        prop_assert_eq!(expand("${v%%.*}".into()), value.split('.').next().unwrap_or_default());
    }

    #[test]
    fn clean_paths_stay_clean(path in "[a./]{0,16}") {
        let clean = clean_path(&path);
        prop_assert_eq!(clean_path(&clean), clean.clone());
        prop_assert!(!clean.contains("//"));
    }

    #[test]
    fn ignore_files_never_fail_but_by_an_error(text in any::<String>(), path in "[a-c./]{1,12}") {
        let patterns = ignore_file(&text);
        if let Ok(matcher) = PatternMatcher::new(patterns.iter().map(String::as_str)) {
            std::hint::black_box(matcher.matches(&path));
        }
    }

    #[test]
    fn a_path_is_matched_by_itself_and_by_its_parents(path in "[a-z]{1,3}(/[a-z]{1,3}){0,3}") {
        let top = path.split('/').next().unwrap_or_default();
        for pattern in [path.as_str(), top, "**", &format!("{top}*")] {
            prop_assert!(PatternMatcher::new([pattern]).expect("a pattern").matches(&path));
            let excepted = PatternMatcher::new([pattern, &format!("!{path}")]).expect("patterns");
            prop_assert!(!excepted.matches(&path));
        }
    }
}
