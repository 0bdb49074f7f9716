//! Rules that show from the text.

use super::{LintConfig, Linter};
use crate::Dockerfile;

fn warnings(config: &str, text: &str) -> Vec<String> {
    let mut linter = Linter::new(LintConfig::parse(config).expect("config"));
    Dockerfile::parse(text, &mut linter).expect("parses");
    linter
        .warnings()
        .iter()
        .map(super::Warning::short)
        .collect()
}

#[test]
fn what_shows_from_the_text_is_reported_with_its_line() {
    let text = "FROM a as Base\nfrom b AS base\nMAINTAINER me\nRUN a \\\n\n  b\nRun x\nFROM c AS scratch\n";

    assert_eq!(
        warnings("", text),
        [
            "NoEmptyContinuation: Empty continuation line (line 6)",
            "StageNameCasing: Stage name 'Base' should be lowercase (line 1)",
            "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)",
            "FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 2)",
            "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 3)",
            "DuplicateStageName: Duplicate stage name \"base\", stage names should be unique (line 2)",
            "ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" (line 8)",
            "ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase) (line 2)",
            "ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (uppercase) (line 7)",
        ]
    );
}

#[test]
fn rules_are_skipped_and_asked_for_by_name() {
    let text = "# other words\nARG A=1\n# base is it\nFROM a as base\n";

    assert_eq!(warnings("skip=FromAsCasing", text), [""; 0]);
    assert_eq!(
        warnings("skip=all;experimental=InvalidDefinitionDescription", text),
        [
            "InvalidDefinitionDescription: Comment for ARG should follow the format: `# A <description>` (line 2)"
        ]
    );
}

#[test]
fn broken_rules_fail_the_build_on_demand() {
    let mut linter = Linter::new(LintConfig::parse("error=true").expect("config"));
    assert_eq!(linter.failure(), None);
    Dockerfile::parse("FROM a as A\n", &mut linter).expect("parses");

    let failure = linter.failure();

    assert_eq!(
        failure.as_deref(),
        Some("lint violation found for rules: FromAsCasing, StageNameCasing")
    );
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let error = |text| LintConfig::parse(text).map_err(|error| error.to_string());

    assert_eq!(error("x"), Err("invalid check option \"x\"".into()));
    assert_eq!(error("x=1"), Err("invalid check option \"x\"".into()));
    assert!(error("error=maybe").is_err());
}
