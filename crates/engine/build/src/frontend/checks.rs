//! The lint rules that need values of variables, base images or ignore patterns.

use std::collections::{BTreeMap, BTreeSet};

use arca_dockerfile::{Dockerfile, Expanded, Lexer, Lines, Rule, Variables, hint, nearest, quoted};
use arca_types::{Platform, Reference};

use super::convert::{Converter, global_arguments};
use super::outline::ArgInfo;
use super::stage::State;

/// Base images are names even if no argument is given.
pub(super) fn base_images(converter: &mut Converter<'_>, file: &Dockerfile) {
    let mut env = converter.globals.clone();
    let (_, error) = global_arguments(&mut env, file, &converter.lexer, |_| None);
    if error.is_some() {
        // The build fails with that soon.
        return;
    }
    for stage in &file.stages {
        let Ok(base) = converter.lexer.expand(&stage.base, &env) else {
            return;
        };
        if base.text.parse::<Reference>().is_err() {
            let text = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.base
            );
            converter
                .linter
                .report(Rule::InvalidDefaultArgInFrom, &[stage.lines], text);
        }
    }
}

/// `FROM` uses arguments that are declared before it.
pub(super) fn undeclared(
    converter: &mut Converter<'_>,
    known: &BTreeMap<String, ArgInfo>,
    unset: &BTreeSet<String>,
    lines: Lines,
) {
    for name in unset.iter().filter(|name| !known.contains_key(*name)) {
        let names = known
            .keys()
            .map(String::as_str)
            .chain(converter.globals.names());
        let hint = hint(nearest(name, names));
        let text = format!("FROM argument '{name}' is not declared{hint}");
        converter
            .linter
            .report(Rule::UndefinedArgInFrom, &[lines], text);
    }
}

/// `FROM --platform` says something that would not go without saying.
pub(super) fn platform(
    converter: &mut Converter<'_>,
    stage: &arca_dockerfile::Stage,
    done: &Expanded,
    platform: &Platform,
) {
    let lines = [stage.lines];
    if done.unset.is_empty() && done.used.iter().eq(["TARGETPLATFORM"]) {
        if converter.globals.value("TARGETPLATFORM") == Some(done.text.as_str()) {
            let text = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                stage.platform
            );
            converter
                .linter
                .report(Rule::RedundantTargetPlatform, &lines, text);
        }
        return;
    }
    let named_so = stage.name.contains(&platform.os) || stage.name.contains(&platform.architecture);
    if done.unset.is_empty() && done.used.is_empty() && !named_so {
        let constant = quoted(&done.text);
        let text = format!("FROM --platform flag should not use constant value {constant}");
        converter
            .linter
            .report(Rule::FromPlatformFlagConstDisallowed, &lines, text);
    }
}

/// The base image is made for the platform that was asked for.
pub(super) fn base_platform(
    converter: &mut Converter<'_>,
    name: &str,
    expected: &Platform,
    actual: &Platform,
    lines: Lines,
) {
    if expected.os == actual.os && expected.architecture == actual.architecture {
        return;
    }
    let text = format!(
        "Base image {name} was pulled with platform {:?}, expected {:?} for current build",
        actual.to_string(),
        expected.to_string()
    );
    converter
        .linter
        .report(Rule::InvalidBaseImagePlatform, &[lines], text);
}

/// Variables are set before they are used.
pub(super) fn undefined(
    converter: &mut Converter<'_>,
    state: &State,
    unset: &BTreeSet<String>,
    lines: Lines,
) {
    for name in unset {
        let declared = state.arguments.iter().any(|(known, _)| known == name);
        if declared || super::dispatch::is_no_variable(name) {
            continue;
        }
        let meant = nearest(name, state.env.names()).map(|name| format!("${name}"));
        let hint = hint(meant.as_deref());
        let text = format!("Usage of undefined variable '${name}'{hint}");
        converter.linter.report(Rule::UndefinedVar, &[lines], text);
    }
}

/// No name of a variable sounds like a secret.
pub(super) fn secret_name(
    converter: &mut Converter<'_>,
    instruction: &str,
    name: &str,
    lines: Lines,
) {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
    if has(&SECRET) && !has(&["public"]) {
        let text = format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {})",
            quoted(name)
        );
        converter
            .linter
            .report(Rule::SecretsUsedInArgOrEnv, &[lines], text);
    }
}

/// An instruction of which the last one counts is there once.
pub(super) fn once(
    converter: &mut Converter<'_>,
    keyword: &str,
    before: &mut Option<Lines>,
    lines: Lines,
) {
    if let Some(before) = before.replace(lines) {
        let text = format!(
            "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
        );
        converter
            .linter
            .report(Rule::MultipleInstructionsDisallowed, &[before], text);
    }
}

/// What is copied is part of the context.
pub(super) fn copied(converter: &mut Converter<'_>, verb: &str, source: &str, lines: Lines) {
    if converter
        .ignored
        .as_ref()
        .is_some_and(|ignored| ignored.matches(source))
    {
        let text = format!(
            "Attempting to {verb} file {} that is excluded by .dockerignore",
            quoted(source)
        );
        converter
            .linter
            .report(Rule::CopyIgnoredFile, &[lines], text);
    }
}

/// The lexer for texts of which nothing but variables is replaced.
pub(super) fn document_lexer() -> Lexer {
    Lexer {
        ignore_quotes: true,
        ..Lexer::new('\\')
    }
}
