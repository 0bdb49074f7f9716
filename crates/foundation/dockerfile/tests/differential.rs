//! The same files read by another parser: where both can read a file, they find the same instructions.

use std::ops::Range;

use arca_dockerfile::{Dockerfile, Kind, Linter};
use parse_dockerfile::Instruction as Theirs;
use proptest::prelude::*;

/// Keyword and first lines of each instruction, as ours has them.
fn ours(text: &str) -> Option<Vec<(String, usize)>> {
    let file = Dockerfile::parse(text, &mut Linter::silent()).ok()?;
    let mut found: Vec<(String, usize)> = Vec::new();
    let arguments = file.arguments.iter();
    found.extend(arguments.map(|one| (one.keyword.to_uppercase(), one.lines.start as usize)));
    for stage in &file.stages {
        found.push(("FROM".to_owned(), stage.lines.start as usize));
        let instructions = stage.instructions.iter();
        found
            .extend(instructions.map(|one| (one.keyword.to_uppercase(), one.lines.start as usize)));
    }
    Some(found)
}

fn theirs(text: &str) -> Option<Vec<(String, usize)>> {
    let file = parse_dockerfile::parse(text).ok()?;
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    Some(
        file.instructions
            .iter()
            .map(|one| {
                let span = keyword_span(one);
                (text[span.clone()].to_uppercase(), line(span.start))
            })
            .collect(),
    )
}

fn keyword_span(one: &Theirs<'_>) -> Range<usize> {
    match one {
        Theirs::Add(one) => one.add.span.clone(),
        Theirs::Arg(one) => one.arg.span.clone(),
        Theirs::Cmd(one) => one.cmd.span.clone(),
        Theirs::Copy(one) => one.copy.span.clone(),
        Theirs::Entrypoint(one) => one.entrypoint.span.clone(),
        Theirs::Env(one) => one.env.span.clone(),
        Theirs::Expose(one) => one.expose.span.clone(),
        Theirs::From(one) => one.from.span.clone(),
        Theirs::Healthcheck(one) => one.healthcheck.span.clone(),
        Theirs::Label(one) => one.label.span.clone(),
        Theirs::Onbuild(one) => one.onbuild.span.clone(),
        Theirs::Run(one) => one.run.span.clone(),
        Theirs::Shell(one) => one.shell.span.clone(),
        Theirs::Stopsignal(one) => one.stopsignal.span.clone(),
        Theirs::User(one) => one.user.span.clone(),
        Theirs::Volume(one) => one.volume.span.clone(),
        Theirs::Workdir(one) => one.workdir.span.clone(),
        other => unreachable!("an instruction that is not made here: {other:?}"),
    }
}

/// An instruction of each kind that both are known to read alike.
fn instruction() -> impl Strategy<Value = String> {
    let word = "[a-z][a-z0-9]{0,6}";
    prop_oneof![
        word.prop_map(|w| format!("RUN echo {w}")),
        (word, word).prop_map(|(a, b)| format!("RUN echo {a} && \\\n  echo {b}")),
        (word, word).prop_map(|(a, b)| format!("RUN echo {a} && \\\n# {b}\n  echo {b}")),
        (word, word).prop_map(|(a, b)| format!("RUN [\"{a}\", \"{b}\"]")),
        (word, word).prop_map(|(a, b)| format!("COPY {a} /{b}")),
        (word, word).prop_map(|(a, b)| format!("COPY --chown={a} {a} {b} /{b}/")),
        (word, word).prop_map(|(a, b)| format!("ADD [\"{a}\", \"/{b}\"]")),
        (word, word).prop_map(|(a, b)| format!("ENV {a}={b} \\\n {b}='{a} {b}'")),
        (word, word).prop_map(|(a, b)| format!("label {a}=\"{b}\"")),
        word.prop_map(|w| format!("WORKDIR /{w}")),
        word.prop_map(|w| format!("USER {w}")),
        word.prop_map(|w| format!("ARG {w}")),
        word.prop_map(|w| format!("CMD {w}")),
        word.prop_map(|w| format!("ENTRYPOINT [\"{w}\"]")),
        word.prop_map(|w| format!("VOLUME /{w}")),
        Just("EXPOSE 80/tcp 443".to_owned()),
        word.prop_map(|w| format!("HEALTHCHECK --interval=5s CMD {w}")),
        word.prop_map(|w| format!("ONBUILD RUN {w}")),
        Just("STOPSIGNAL SIGTERM".to_owned()),
        word.prop_map(|w| format!("SHELL [\"/bin/{w}\", \"-c\"]")),
        word.prop_map(|w| format!("RUN <<EOF\necho {w}\nEOF")),
        word.prop_map(|w| format!("FROM {w} AS stage")),
        word.prop_map(|w| format!("# {w}")),
        Just(String::new()),
    ]
}

proptest! {
    #[test]
    fn both_find_the_same_instructions(
        before in prop::collection::vec("ARG [a-z]{1,4}=1", 0..2),
        after in prop::collection::vec(instruction(), 0..12),
    ) {
        // No two stages have one name: that is a warning for us, and an error for them.
        let after = after.into_iter().enumerate().map(|(number, line)| {
            if line.starts_with("FROM ") { format!("{line}{number}") } else { line }
        });
        let lines: Vec<String> =
            before.into_iter().chain(["FROM base".to_owned()]).chain(after).collect();
        let text = format!("{}\n", lines.join("\n"));
        prop_assert_eq!(ours(&text), theirs(&text), "{}", text);
    }
}

#[test]
fn both_read_the_same_arguments() {
    let text = "FROM --platform=linux/amd64 alpine AS base\nCOPY --from=x --chmod=755 a b /c/\nENTRYPOINT [\"a\", \"b c\"]\n";
    let file = Dockerfile::parse(text, &mut Linter::silent()).expect("ours reads it");
    let other = parse_dockerfile::parse(text).expect("theirs reads it");

    let stage = file.stages.first().expect("a stage");
    let [
        Theirs::From(from),
        Theirs::Copy(copy),
        Theirs::Entrypoint(_),
    ] = &other.instructions[..]
    else {
        panic!("three instructions")
    };
    assert_eq!(from.image.value, stage.base);
    let Kind::Copy(ours) = &stage.instructions[0].kind else {
        panic!("a COPY")
    };
    assert_eq!(copy.options.len(), 2);
    assert_eq!(
        (ours.from.as_str(), ours.transfer.sources.len()),
        ("x", copy.src.len())
    );
}
