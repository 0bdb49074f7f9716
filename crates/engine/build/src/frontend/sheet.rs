//! The answers to `--call` as text.

use arca_dockerfile::{Dockerfile, Warning};

use super::convert::Converted;
use super::definition::{Definition, ranges};
use super::outline::Wanted;
use super::requests::line;

pub(super) const OUTLINE: &str = "List all parameters current build target supports";
pub(super) const TARGETS: &str = "List all targets current build supports";
pub(super) const DESCRIBE: &str = "List available subrequest types";

/// Columns as Go's tabwriter aligns them; the last one is not padded.
fn columns(rows: &[Vec<String>], gap: usize) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
            + gap
    };
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == row.len() {
                0
            } else {
                width(column)
            };
            out.push_str(&format!("{cell:width$}"));
        }
        out.push('\n');
    }
    out
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// The requests that can be made.
pub(super) fn requests() -> String {
    let rows = [
        row(&["NAME", "VERSION", "DESCRIPTION"]),
        row(&["outline", "1.0.0", OUTLINE]),
        row(&["targets", "1.0.0", TARGETS]),
        row(&["subrequests.describe", "1.0.0", DESCRIBE]),
    ];
    columns(&rows, 1)
}

/// The stages.
pub(super) fn targets(file: &Dockerfile) -> String {
    let last = file.stages.len().saturating_sub(1);
    let mut rows = vec![row(&["TARGET", "DESCRIPTION"])];
    for (number, stage) in file.stages.iter().enumerate() {
        let name = match (stage.name.as_str(), number == last) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        rows.push(vec![name, stage.description.clone()]);
    }
    columns(&rows, 1)
}

/// What a target can be given.
pub(super) fn outline(done: &Converted) -> String {
    let mut out = String::new();
    if !done.name.is_empty() || !done.description.is_empty() {
        let name = if done.name.is_empty() {
            "(default)"
        } else {
            &done.name
        };
        let mut rows = vec![row(&["TARGET:", name])];
        if !done.description.is_empty() {
            rows.push(row(&["DESCRIPTION:", &done.description]));
        }
        out.push_str(&columns(&rows, 1));
        out.push('\n');
    }
    let arguments = done.outline.arguments();
    if !arguments.is_empty() {
        let mut rows = vec![row(&["BUILD ARG", "VALUE", "DESCRIPTION"])];
        rows.extend(
            arguments
                .iter()
                .map(|(name, info)| row(&[name, &info.value, &info.description])),
        );
        out.push_str(&columns(&rows, 3));
        out.push('\n');
    }
    for (title, wanted) in [
        ("SECRET", done.outline.secrets()),
        ("SSH", done.outline.agents()),
    ] {
        out.push_str(&wanted_sheet(title, &wanted));
    }
    out
}

fn wanted_sheet(title: &str, wanted: &[(&str, Wanted)]) -> String {
    if wanted.is_empty() {
        return String::new();
    }
    let mut rows = vec![row(&[title, "REQUIRED"])];
    let required = |wanted: &Wanted| if wanted.required { "true" } else { "" };
    rows.extend(
        wanted
            .iter()
            .map(|(name, wanted)| row(&[name, required(wanted)])),
    );
    format!("{}\n", columns(&rows, 3))
}

/// The broken rules, each with the lines that it is about.
pub(super) fn warnings(warnings: &[Warning], definition: &Definition) -> String {
    let mut sorted: Vec<&Warning> = warnings.iter().collect();
    sorted.sort_by_key(|warning| warning.lines.first().map(|lines| lines.start));
    let mut out = String::new();
    for warning in sorted {
        let url = warning.rule.url();
        let url = if url.is_empty() {
            url
        } else {
            format!(" - {url}")
        };
        line(
            &mut out,
            format_args!("\nWARNING: {}{url}", warning.rule.name()),
        );
        line(&mut out, format_args!("{}", warning.text));
        excerpt(&mut out, warning, definition);
    }
    out
}

/// The lines of a warning and some around them.
fn excerpt(out: &mut String, warning: &Warning, definition: &Definition) {
    let ranges = ranges(&warning.lines);
    let (Some(first), Some(last)) = (
        ranges.iter().map(|r| r.start.0).min(),
        ranges.iter().map(|r| r.end.0).max(),
    ) else {
        return;
    };
    let lines: Vec<&str> = definition.text.split('\n').collect();
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    if first > count || first == 0 {
        return;
    }
    let (mut start, mut end) = (first, last.min(count));
    let pad = if start == end { 4 } else { 2 };
    let mut shown = 0;
    while shown < pad {
        if start > 1 {
            start -= 1;
            shown += 1;
        }
        if end < count {
            end += 1;
            shown += 1;
        }
        shown += 1;
    }
    let rule = "--------------------";
    line(
        out,
        format_args!("{}:{first}\n{rule}", definition.file.filename),
    );
    for number in start..=end {
        let inside = ranges
            .iter()
            .any(|range| range.start.0 <= number && number <= range.end.0);
        let mark = if inside { ">>>" } else { "   " };
        let text = lines.get(number as usize - 1).copied().unwrap_or_default();
        line(out, format_args!(" {number:3} | {mark} {text}"));
    }
    line(out, format_args!("{rule}"));
}
