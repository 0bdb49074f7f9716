//! The rules that show from the text of the file alone.

use std::collections::BTreeSet;

use super::{Linter, Rule};
use crate::instruction::Stage;
use crate::lines::Lines;
use crate::parse::source::Statement;
use crate::quote::quoted;

/// Casing within a `FROM`.
pub(crate) fn from(statement: &Statement, words: &[String], linter: &mut Linter) {
    let [_, keyword, rest @ ..] = words else {
        return;
    };
    let lines = [statement.lines];
    if let [name] = rest
        && *name != name.to_lowercase()
    {
        let text = format!("Stage name '{name}' should be lowercase");
        linter.report(Rule::StageNameCasing, &lines, text);
    }
    let written = &statement.keyword;
    let matching = match casing(written) {
        Some(Casing::Lower) => *keyword == keyword.to_lowercase(),
        Some(Casing::Upper) => *keyword == keyword.to_uppercase(),
        None => true,
    };
    if !matching && !rest.is_empty() {
        let text = format!("'{keyword}' and '{written}' keywords' casing do not match");
        linter.report(Rule::FromAsCasing, &lines, text);
    }
}

/// `MAINTAINER` at all.
pub(crate) fn maintainer(statement: &Statement, linter: &mut Linter) {
    let text = "Maintainer instruction is deprecated in favor of using label";
    linter.report(Rule::MaintainerDeprecated, &[statement.lines], text);
}

/// The last comment above a definition begins with the name of what is defined.
pub(crate) fn description(
    keyword: &str,
    names: &[&str],
    statement: &Statement,
    linter: &mut Linter,
) {
    let (Some(comment), Some(first)) = (statement.comments.last(), names.first()) else {
        return;
    };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let name = if names.len() > 1 { "<arg_key>" } else { first };
    let text = format!("Comment for {keyword} should follow the format: `# {name} <description>`");
    linter.report(Rule::InvalidDefinitionDescription, &[statement.lines], text);
}

/// Names of stages, and one casing for all keywords.
pub(crate) fn check(stages: &[Stage], linter: &mut Linter) {
    let mut names = BTreeSet::new();
    for stage in stages.iter().filter(|stage| !stage.name.is_empty()) {
        let name = stage.name.as_str();
        if matches!(name, "context" | "scratch") {
            let text = format!(
                "Stage name should not use the same name as reserved stage {}",
                quoted(name)
            );
            linter.report(Rule::ReservedStageName, &[stage.lines], text);
        }
        if !names.insert(name) {
            let text = format!(
                "Duplicate stage name {}, stage names should be unique",
                quoted(name)
            );
            linter.report(Rule::DuplicateStageName, &[stage.lines], text);
        }
    }
    keyword_casing(stages, linter);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Casing {
    Lower,
    Upper,
}

fn casing(word: &str) -> Option<Casing> {
    if word == word.to_lowercase() {
        Some(Casing::Lower)
    } else if word == word.to_uppercase() {
        Some(Casing::Upper)
    } else {
        None
    }
}

fn keyword_casing(stages: &[Stage], linter: &mut Linter) {
    let keywords: Vec<(&str, Lines)> = stages
        .iter()
        .flat_map(|stage| {
            let own = std::iter::once((stage.keyword.as_str(), stage.lines));
            own.chain(
                stage
                    .instructions
                    .iter()
                    .map(|one| (one.keyword.as_str(), one.lines)),
            )
        })
        .collect();
    let count = |wanted| {
        keywords
            .iter()
            .filter(|(keyword, _)| casing(keyword) == Some(wanted))
            .count()
    };
    let (majority, name) = if count(Casing::Lower) > count(Casing::Upper) {
        (Casing::Lower, "lowercase")
    } else {
        (Casing::Upper, "uppercase")
    };
    for (keyword, lines) in &keywords {
        if casing(keyword) != Some(majority) {
            let text = format!(
                "Command '{keyword}' should match the case of the command majority ({name})"
            );
            linter.report(Rule::ConsistentInstructionCasing, &[*lines], text);
        }
    }
}
