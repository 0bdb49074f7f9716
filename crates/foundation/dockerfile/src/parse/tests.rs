//! Whole files, and what is wrong with them.

use crate::{Dockerfile, Instruction, Kind, Lines, Linter, RunNetwork};

fn parse(text: &str) -> Result<Dockerfile, String> {
    Dockerfile::parse(text, &mut Linter::silent()).map_err(|error| error.to_string())
}

/// The instructions of the first stage of `FROM x` and `text`.
fn kinds(text: &str) -> Vec<Kind> {
    let file = parse(&format!("FROM x\n{text}\n")).expect(text);
    file.stages
        .into_iter()
        .flat_map(|stage| stage.instructions)
        .map(|one| one.kind)
        .collect()
}

#[test]
fn instructions_keep_their_text_lines_and_comments() {
    let file = parse(
        "# syntax=docker/dockerfile:1\n\nARG V=1\n# base is where it begins\nFROM --platform=$P img:$V AS Base\n# one\n#\n# two\nRUN a \\\n  # inside\n  b && \\\nc\n",
    )
    .expect("parses");

    assert_eq!(file.arguments.len(), 1);
    let stage = &file.stages[0];
    assert_eq!(
        (
            stage.name.as_str(),
            stage.base.as_str(),
            stage.platform.as_str()
        ),
        ("base", "img:$V", "$P")
    );
    assert_eq!(stage.description, "is where it begins");
    let run = &stage.instructions[0];
    assert_eq!(run.text, "RUN a   b && c");
    assert_eq!(run.lines, Lines::new(9, 12));
    assert_eq!(run.comments, ["two"]);
}

#[test]
fn heredocs_belong_to_their_instruction() {
    let file = parse(
        "FROM x\nRUN <<A cat - <<-\"B\"\none\nA\n\ttwo\n\tB\nCOPY <<a <<'b' /d/\n$x\na\n$y\nb\n",
    )
    .expect("parses");
    let stage = &file.stages[0];

    let Kind::Run(run) = &stage.instructions[0].kind else {
        panic!("a RUN")
    };
    let docs: Vec<_> = run
        .command
        .heredocs
        .iter()
        .map(|doc| (doc.name.as_str(), doc.text()))
        .collect();
    assert_eq!(docs, [("A", "one\n".into()), ("B", "two\n".into())]);
    assert_eq!(stage.instructions[0].lines, Lines::new(2, 6));
    let Kind::Copy(copy) = &stage.instructions[1].kind else {
        panic!("a COPY")
    };
    let docs: Vec<_> = copy
        .transfer
        .documents
        .iter()
        .map(|doc| (doc.name.as_str(), doc.text.as_str(), doc.expand))
        .collect();
    assert_eq!(docs, [("a", "$x\n", true), ("b", "$y\n", false)]);
    assert_eq!(copy.transfer.destination, "/d/");
}

#[test]
fn a_json_command_takes_no_heredoc() {
    let kinds = kinds("RUN [\"a\", \"<<EOF\"]\nCMD echo <<EOF");

    assert_eq!(kinds.len(), 2);
}

#[test]
fn an_onbuild_keeps_its_heredoc() {
    let kinds = kinds("ONBUILD  RUN <<EOF\nhi\nEOF");

    assert_eq!(kinds, [Kind::Onbuild("RUN <<EOF\nhi\nEOF".into())]);
    let trigger = Instruction::trigger("RUN <<EOF\nhi\nEOF", Lines::one(7)).expect("a trigger");
    assert_eq!(trigger.lines, Lines::one(7));
    assert!(Instruction::trigger("RUN a\nRUN b", Lines::one(1)).is_err());
}

#[test]
fn the_escape_character_is_a_matter_of_the_file() {
    let file = parse("# escape=`\nFROM x\nRUN dir c:\\ `\n  y\n").expect("parses");

    assert_eq!(file.escape, '`');
    assert_eq!(file.stages[0].instructions[0].text, "RUN dir c:\\   y");
}

#[test]
fn flags_are_read_where_they_are_allowed() {
    let kinds = kinds(
        "COPY --from=a --chown=1:2 --chmod=755 --link --parents --exclude=*.o --exclude=b src dst\nADD --checksum=sha256:x --keep-git-dir=false --unpack u v\nRUN --network=none --mount=type=cache,target=/c true\nHEALTHCHECK --interval=5s --retries=3 CMD [\"x\"]",
    );

    let Kind::Copy(copy) = &kinds[0] else {
        panic!("a COPY")
    };
    assert_eq!(copy.transfer.exclude, ["*.o", "b"]);
    assert!(copy.transfer.link && copy.parents);
    let Kind::Add(add) = &kinds[1] else {
        panic!("an ADD")
    };
    assert_eq!((add.keep_git_dir, add.unpack), (Some(false), Some(true)));
    let Kind::Run(run) = &kinds[2] else {
        panic!("a RUN")
    };
    assert_eq!((run.network, run.mounts.len()), (RunNetwork::None, 1));
    let Kind::Healthcheck(check) = &kinds[3] else {
        panic!("a HEALTHCHECK")
    };
    assert_eq!((check.interval, check.retries), (5_000_000_000, 3));
    assert_eq!(check.test, ["CMD", "x"]);
}

const MISTAKES: &[(&str, &str)] = &[
    ("", "file with no instructions"),
    ("# only\n", "file with no instructions"),
    ("RUN a\n", "no build stage in current context"),
    (
        "FROM x\nXYZZY a\n",
        "dockerfile parse error on line 2: unknown instruction: XYZZY",
    ),
    (
        "FROM x\ncpoy a b\n",
        "dockerfile parse error on line 2: unknown instruction: cpoy (did you mean copy?)",
    ),
    (
        "FORM x\n",
        "dockerfile parse error on line 1: unknown instruction: FORM (did you mean FROM?)",
    ),
    (
        "FROM\n",
        "dockerfile parse error on line 1: FROM requires either one or three arguments",
    ),
    (
        "FROM x AS 1\n",
        "dockerfile parse error on line 1: invalid name for build stage: \"1\", name can't start with a number or contain symbols",
    ),
    (
        "FROM --plat=x y\n",
        "dockerfile parse error on line 1: unknown flag: --plat",
    ),
    (
        "FROM x\nCOPY --form=a b c\n",
        "dockerfile parse error on line 2: unknown flag: --form (did you mean from?)",
    ),
    (
        "FROM x\nCOPY a\n",
        "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    ),
    (
        "FROM x\nCOPY a <<EOF\nEOF\n",
        "dockerfile parse error on line 2: COPY cannot accept a heredoc as a destination",
    ),
    ("FROM x\nRUN <<EOF\n", "unterminated heredoc"),
    ("FROM x\nENV a\n", "ENV must have two arguments"),
    (
        "FROM x\nENV a=1 b\n",
        "Syntax error - can't find = in \"b\". Must be of the form: name=value",
    ),
    (
        "FROM x\nENV =b\n",
        "dockerfile parse error on line 2: ENV names can not be blank",
    ),
    (
        "FROM x\nENV\n",
        "dockerfile parse error on line 2: ENV requires at least one argument",
    ),
    (
        "FROM x\nARG =b\n",
        "dockerfile parse error on line 2: ARG names can not be blank",
    ),
    (
        "FROM x\nCMD [1]\n",
        "when using JSON array syntax, arrays must be comprised of strings only",
    ),
    (
        "FROM x\nSHELL a\n",
        "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form",
    ),
    (
        "FROM x\nSHELL []\n",
        "dockerfile parse error on line 2: SHELL requires at least one argument",
    ),
    (
        "FROM x\nUSER\n",
        "dockerfile parse error on line 2: USER requires exactly one argument",
    ),
    (
        "FROM x\nVOLUME [\" \"]\n",
        "dockerfile parse error on line 2: VOLUME specified can not be an empty string",
    ),
    (
        "FROM x\nONBUILD ONBUILD RUN a\n",
        "dockerfile parse error on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    ),
    (
        "FROM x\nONBUILD from a\n",
        "dockerfile parse error on line 2: FROM isn't allowed as an ONBUILD trigger",
    ),
    (
        "FROM x\nHEALTHCHECK a\n",
        "dockerfile parse error on line 2: Unknown type \"A\" in HEALTHCHECK (try CMD)",
    ),
    (
        "FROM x\nHEALTHCHECK CMD\n",
        "dockerfile parse error on line 2: Missing command after HEALTHCHECK CMD",
    ),
    (
        "FROM x\nHEALTHCHECK --interval=1us CMD a\n",
        "dockerfile parse error on line 2: Interval \"interval\" cannot be less than 1ms",
    ),
    (
        "FROM x\nHEALTHCHECK --retries=-1 CMD a\n",
        "dockerfile parse error on line 2: --retries cannot be negative (-1)",
    ),
    (
        "FROM x\nHEALTHCHECK --retries=a CMD a\n",
        "dockerfile parse error on line 2: strconv.ParseInt: parsing \"a\": invalid syntax",
    ),
    (
        "FROM x\nRUN --network=bridge a\n",
        "dockerfile parse error on line 2: invalid network mode \"bridge\"",
    ),
    (
        "FROM x\nCOPY --link=maybe a b\n",
        "dockerfile parse error on line 2: expecting boolean value for flag --link, not: maybe",
    ),
    (
        "FROM x\nCOPY --chown a b\n",
        "dockerfile parse error on line 2: missing a value on flag: --chown",
    ),
    (
        "FROM x\nCOPY --chown=a --chown=b c d\n",
        "dockerfile parse error on line 2: duplicate flag specified: --chown",
    ),
    (
        "# escape=x\nFROM x\n",
        "invalid escape token 'x' does not match ` or \\",
    ),
    (
        "# escape=`\n# escape=`\nFROM x\n",
        "only one escape parser directive can be used",
    ),
];

#[test]
fn mistakes_are_told_in_buildkits_words() {
    for (text, wanted) in MISTAKES {
        assert_eq!(parse(text).map(|_| ()), Err((*wanted).to_owned()), "{text}");
    }
    let long = format!("FROM x\nRUN {}\n", "a".repeat(70_000));
    assert_eq!(
        parse(&long).map(|_| ()),
        Err("dockerfile line greater than max allowed size of 65535".into())
    );
}

#[test]
fn nested_onbuilds_do_not_exhaust_the_stack() {
    let text = format!("FROM x\n{}\n", "ONBUILD \\\n".repeat(100_000));

    assert!(parse(&text).is_err());
}
