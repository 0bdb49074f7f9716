//! `docs/API_COVERAGE.md`: the operations of the API definition against the server's route tables.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};

const DEFINITION: &str = "docs/api/docker-engine-v1.51.yaml";
const PAGE: &str = "docs/API_COVERAGE.md";
const TESTS: &str = "docs/api/tests.txt";
/// The test program that drives every operation.
const EACH: &str = "api_conformance";

/// An operation of the definition.
#[derive(Debug, PartialEq, Eq)]
struct Operation {
    method: String,
    path: String,
    id: String,
    tag: String,
}

/// Writes the page.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    std::fs::write(root.join(PAGE), page(root)?).context(PAGE)
}

/// Fails when the page is not what [`write`] would write.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let present = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    if present != page(root)? {
        bail!("{PAGE} is out of date: run cargo xtask coverage");
    }
    Ok(())
}

fn page(root: &Path) -> anyhow::Result<String> {
    let definition = std::fs::read_to_string(root.join(DEFINITION)).context(DEFINITION)?;
    let operations = operations(&definition);
    let mut support = BTreeMap::new();
    let server = root.join("crates/api/server/src");
    for entry in std::fs::read_dir(&server).context("crates/api/server/src")? {
        let table = entry?.path().join("mod.rs");
        if let Ok(text) = std::fs::read_to_string(&table) {
            support.extend(routes(&text));
        }
    }
    let tests = tests(root, &operations)?;
    let mut by_tag: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &operations {
        by_tag.entry(&operation.tag).or_default().push(operation);
    }
    let served = operations
        .iter()
        .filter(|o| support.get(&o.id).is_some_and(|s| s != "refused (501)"));
    let mut page = format!(
        "# API coverage\n\nMade by `cargo xtask coverage` from the definition of API 1.51 and the server's route tables; \
         not edited by hand.\n\n{} of {} operations are served. The tests are programs of `tests/acceptance/tests` that show an \
         operation at work ({TESTS}); {EACH} drives each operation, too. What differs from dockerd is in \
         [LIMITATIONS.md](LIMITATIONS.md), what departs from the definition in [CONFORMANCE.md](CONFORMANCE.md).\n",
        served.count(),
        operations.len()
    );
    for (tag, operations) in by_tag {
        write!(
            page,
            "\n## {tag}\n\n| operation | method and path | support | tests |\n|---|---|---|---|\n"
        )?;
        for operation in operations {
            let state = support
                .get(&operation.id)
                .map_or("not served (404)", String::as_str);
            let tests = tests.get(&operation.id).map_or(EACH, String::as_str);
            writeln!(
                page,
                "| {} | `{} {}` | {state} | {tests} |",
                operation.id, operation.method, operation.path
            )?;
        }
    }
    Ok(page)
}

/// The test programs of operations, by the list that is kept by hand.
fn tests(root: &Path, operations: &[Operation]) -> anyhow::Result<BTreeMap<String, String>> {
    let list = std::fs::read_to_string(root.join(TESTS)).context(TESTS)?;
    let mut found = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (id, programs) = line
            .split_once(": ")
            .with_context(|| format!("{TESTS}: {line}"))?;
        if !operations.iter().any(|operation| operation.id == id) {
            bail!("{TESTS}: no operation {id}");
        }
        for program in programs.split(' ') {
            let path = format!("tests/acceptance/tests/{program}.rs");
            if !root.join(&path).exists() {
                bail!("{TESTS}: {id}: no {path}");
            }
        }
        found.insert(id.to_owned(), programs.replace(' ', ", "));
    }
    Ok(found)
}

/// Reads the paths of the definition by their indentation, which its style guide fixes.
fn operations(definition: &str) -> Vec<Operation> {
    let mut found: Vec<Operation> = Vec::new();
    let (mut path, mut method, mut in_paths, mut in_tags) = ("", "", false, false);
    let mut id = "";
    for line in definition.lines() {
        if !line.starts_with([' ', '#']) && !line.is_empty() {
            in_paths = line == "paths:";
        }
        if !in_paths {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let text = line.trim();
        match indent {
            2 => path = text.trim_end_matches(':').trim_matches('"'),
            4 => method = text.trim_end_matches(':'),
            6 => {
                in_tags = text == "tags:" || text.starts_with("tags: [");
                if let Some(value) = text.strip_prefix("operationId:") {
                    id = value.trim().trim_matches('"');
                }
                if let Some(tags) = text.strip_prefix("tags: [") {
                    let tag = tags.trim_end_matches(']').trim_matches('"').to_owned();
                    found.push(operation(method, path, id, tag));
                }
            }
            8 if in_tags && text.starts_with("- ") => {
                let tag = text.trim_start_matches("- ").trim_matches('"').to_owned();
                found.push(operation(method, path, id, tag));
            }
            _ => {}
        }
    }
    found
}

fn operation(method: &str, path: &str, id: &str, tag: String) -> Operation {
    Operation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        id: id.to_owned(),
        tag,
    }
}

/// Reads a `routes!` table: `GET "/path" "OperationId" handler, Support;`.
fn routes(text: &str) -> Vec<(String, String)> {
    let Some((_, table)) = text.split_once("routes! {") else {
        return Vec::new();
    };
    let table = table.split("\n}").next().unwrap_or_default();
    let mut found = Vec::new();
    for statement in table.split(";\n") {
        let mut quoted = statement.split('"');
        let Some(id) = quoted.nth(3) else { continue };
        let rest: String = quoted.collect::<Vec<_>>().join("\"");
        let support = if let Some((_, why)) = rest.split_once("Partial(") {
            format!(
                "partial: {}",
                why.trim_end().trim_end_matches(')').trim_matches('"')
            )
        } else if rest.contains("NoSwarm") {
            "answers as outside a swarm".to_owned()
        } else if rest.contains("NoPlugins") {
            "answers as without managed plugins".to_owned()
        } else if rest.contains("Refused") {
            "refused (501)".to_owned()
        } else {
            "full".to_owned()
        };
        if !id.is_empty() {
            found.push((id.to_owned(), support));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_read() {
        let text = "definitions:\n  X:\n    get:\npaths:\n  /a/{id}:\n    get:\n      summary: \"x\"\n      operationId: \"AGet\"\n      responses:\n        200:\n          description: \"y\"\n      tags: [\"A\"]\n    post:\n      operationId: \"APost\"\n      tags:\n        - \"B\"\n";
        let found = operations(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0],
            operation("get", "/a/{id}", "AGet", "A".to_owned())
        );
        assert_eq!(found[1].tag, "B");
    }

    #[test]
    fn a_table_of_routes_is_read() {
        let text = "routes! {\n    GET \"/a\" \"AGet\" get::get, Support::Full;\n    POST \"/a\" \"APost\" post, Partial(\"no b\");\n    GET \"/n\" \"N\" x, NoSwarm;\n}\n";
        let found = routes(text);
        assert_eq!(found[0], ("AGet".to_owned(), "full".to_owned()));
        assert_eq!(found[1].1, "partial: no b");
        assert_eq!(found[2].1, "answers as outside a swarm");
    }
}
