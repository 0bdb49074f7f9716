//! Who may depend on whom: ARCHITECTURE.md, section 1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;

use crate::workspace::Package;

/// The layers from the bottom up, by the directory of a package.
const LAYERS: &[(&str, &str)] = &[
    ("crates/foundation/", "foundation"),
    ("crates/backend/", "backend"),
    ("crates/engine/", "engine"),
    ("crates/api/", "api"),
    ("bins/", "bins"),
    ("tests/", "tests"),
    ("xtask", "tests"),
];

/// The height of a layer; tests stand above everything.
fn height(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|(_, name)| *name == layer)
        .unwrap_or(LAYERS.len())
}

/// Returns every edge that the guide does not allow, one line each.
pub(crate) fn check(root: &Path, packages: &[Package]) -> anyhow::Result<Vec<String>> {
    let guide = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    let ranks =
        engine_ranks(&guide).context("ARCHITECTURE.md has no line of the engine's edges")?;
    let mut found = Vec::new();
    for package in packages {
        let Some(from) = layer(root, package) else {
            found.push(format!("{}: its directory is no layer", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.path.is_none() || dependency.kind.as_deref() == Some("dev") {
                continue;
            }
            let Some(target) = packages
                .iter()
                .find(|target| target.name == dependency.name)
            else {
                continue;
            };
            let Some(to) = layer(root, target) else {
                continue;
            };
            if let Some(why) = refusal((package, from), (target, to), &ranks) {
                found.push(format!("{} -> {}: {why}", package.name, target.name));
            }
        }
    }
    if reaches(packages, "arcad", "arca-executor") {
        found.push("arcad -> arca-executor: arcad must not link what forks".to_owned());
    }
    Ok(found)
}

fn layer(root: &Path, package: &Package) -> Option<&'static str> {
    let relative = package.directory().strip_prefix(root).ok()?.to_str()?;
    LAYERS
        .iter()
        .find(|(prefix, _)| relative.starts_with(prefix))
        .map(|(_, name)| *name)
}

fn refusal(
    (package, from): (&Package, &str),
    (target, to): (&Package, &str),
    ranks: &BTreeMap<String, usize>,
) -> Option<String> {
    if height(to) > height(from) {
        return Some(format!("an edge from {from} up to {to}"));
    }
    if from != to {
        return None;
    }
    match from {
        "backend" => Some("backends do not depend on each other".to_owned()),
        "bins" => Some("programs do not depend on each other".to_owned()),
        "engine" => {
            let rank = |package: &Package| {
                package
                    .name
                    .strip_prefix("arca-")
                    .and_then(|name| ranks.get(name))
                    .copied()
            };
            match (rank(package), rank(target)) {
                (Some(one), Some(other)) if other < one => None,
                _ => Some("this edge inside the engine has no line in ARCHITECTURE.md".to_owned()),
            }
        }
        _ => None,
    }
}

/// Reads "`events` < `volumes`, `networks` < `containers`" into the height of each name.
fn engine_ranks(guide: &str) -> Option<BTreeMap<String, usize>> {
    let line = guide
        .lines()
        .find(|line| line.trim_start().starts_with("`events` <"))?;
    let mut ranks = BTreeMap::new();
    for (rank, group) in line.trim().trim_end_matches('.').split(" < ").enumerate() {
        for name in group.split(", ") {
            ranks.insert(name.trim_matches('`').to_owned(), rank);
        }
    }
    Some(ranks)
}

/// Whether `from` depends on `to` at any distance.
fn reaches(packages: &[Package], from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut left = vec![from];
    while let Some(name) = left.pop() {
        if name == to {
            return true;
        }
        if !seen.insert(name) {
            continue;
        }
        let package = packages.iter().find(|package| package.name == name);
        for dependency in package.iter().flat_map(|package| &package.dependencies) {
            if dependency.path.is_some() && dependency.kind.as_deref() != Some("dev") {
                left.push(&dependency.name);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_guide_is_read() {
        let ranks =
            engine_ranks("x\n   `events` < `volumes`, `images` < `containers` < `engine`.\n")
                .unwrap();
        assert_eq!(ranks["events"], 0);
        assert_eq!((ranks["volumes"], ranks["images"]), (1, 1));
        assert_eq!(ranks["engine"], 3);
    }

    #[test]
    fn layers_are_ordered() {
        assert!(height("foundation") < height("backend"));
        assert!(height("api") < height("bins"));
    }
}
