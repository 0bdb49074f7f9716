//! Any text as an ignore file: both ways of asking about a path agree.
#![no_main]

use arca_dockerfile::{ParentMatches, PatternMatcher, ignore_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let patterns = ignore_file(text);
    let Ok(matcher) = PatternMatcher::new(patterns.iter().map(String::as_str)) else { return };
    let path = arca_dockerfile::clean_path(path);
    if path.starts_with(['/', '.']) {
        return;
    }
    let mut parent = ParentMatches::default();
    let mut below = false;
    for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
        (below, parent) = matcher.matches_below(&path[..at], &parent);
    }
    assert_eq!(below, matcher.matches(&path), "{patterns:?} {path}");
});
