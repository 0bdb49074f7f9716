//! Rules of the source text and the manifests: ARCHITECTURE.md, section 3.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::workspace::Package;

/// A file has at most so many lines without its tests.
const LIMIT: usize = 400;

/// Returns every breach of a rule, one line each.
pub(crate) fn check(root: &Path, packages: &[Package]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for package in packages {
        manifest(root, package, &mut found)?;
        for path in rust_files(package.directory())? {
            let shown = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            let text = std::fs::read_to_string(&path).with_context(|| shown.clone())?;
            file(&shown, &text, &mut found);
        }
    }
    Ok(found)
}

fn manifest(root: &Path, package: &Package, found: &mut Vec<String>) -> anyhow::Result<()> {
    let path = &package.manifest_path;
    let shown = path.strip_prefix(root).unwrap_or(path).display();
    let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
    if !text.replace(' ', "").contains("[lints]\nworkspace=true") {
        found.push(format!(
            "{shown}: the lints of the workspace are not inherited"
        ));
    }
    if package
        .description
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        found.push(format!("{shown}: no description"));
    }
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies")
            && line.contains('=')
            && !line.contains("workspace")
        {
            found.push(format!(
                "{shown}: {line}: dependencies are declared in the workspace"
            ));
        }
    }
    Ok(())
}

fn rust_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let entries = std::fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn file(shown: &str, text: &str, found: &mut Vec<String>) {
    let is_test = shown.contains("/tests/") || shown.ends_with("/tests.rs");
    let code = without_tests(text);
    let lines = code.lines().count();
    if lines > LIMIT && !is_test {
        found.push(format!(
            "{shown}: {lines} lines without tests, {LIMIT} are allowed"
        ));
    }
    let documented = text
        .lines()
        .find(|line| !line.starts_with("#!") && !line.trim().is_empty());
    if !documented.is_some_and(|line| line.starts_with("//!")) {
        found.push(format!("{shown}: no module documentation (//!)"));
    }
    let own = shown.starts_with("xtask/");
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut breach = |why: &str| found.push(format!("{shown}:{}: {why}", number + 1));
        if !own && (code.contains("#[allow(") || code.contains("#![allow(")) {
            breach("#[allow]: use #[expect(.., reason)]");
        }
        if !own
            && ["todo!(", "unimplemented!(", "dbg!("]
                .iter()
                .any(|word| code.contains(word))
        {
            breach("unfinished code");
        }
        if !own && is_unsafe(code) && !shown.starts_with("crates/foundation/sys/") {
            breach("unsafe code belongs into arca-sys");
        }
    }
}

/// The text up to the module of unit tests, which ends the file.
fn without_tests(text: &str) -> &str {
    let begin = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\n#["]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    begin.map_or(text, |begin| text.get(..begin).unwrap_or(text))
}

fn is_unsafe(code: &str) -> bool {
    [
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
        "unsafe extern",
        "#[unsafe(",
    ]
    .iter()
    .any(|word| code.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(name: &str, text: &str) -> usize {
        let mut found = Vec::new();
        file(name, text, &mut found);
        found.len()
    }

    #[test]
    fn rules_are_applied() {
        assert_eq!(breaches("crates/x/src/a.rs", "//! Docs.\nfn a() {}\n"), 0);
        assert_eq!(breaches("crates/x/src/a.rs", "fn a() {}\n"), 1);
        assert_eq!(
            breaches(
                "crates/x/src/a.rs",
                "//! Docs.\n#[allow(dead_code)]\nfn a() {}\n"
            ),
            1
        );
        assert_eq!(
            breaches(
                "crates/x/src/a.rs",
                "//! Docs.\nfn a() { unsafe { b() } }\n"
            ),
            1
        );
        assert_eq!(
            breaches(
                "crates/foundation/sys/src/a.rs",
                "//! Docs.\nfn a() { unsafe { b() } }\n"
            ),
            0
        );
        assert_eq!(
            breaches("crates/x/src/a.rs", "//! Docs.\nfn a() { todo!() }\n"),
            1
        );
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let long = "fn a() {}\n".repeat(500);
        assert_eq!(breaches("a.rs", &format!("//! Docs.\n{long}")), 1);
        assert_eq!(
            breaches(
                "a.rs",
                &format!("//! Docs.\n\n#[cfg(test)]\nmod tests {{\n{long}}}\n")
            ),
            0
        );
    }
}
