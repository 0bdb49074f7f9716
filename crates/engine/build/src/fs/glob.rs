//! Patterns of paths as Go's `filepath.Match` reads them, and what they find.

use std::os::fd::BorrowedFd;

use arca_archive::Walk;
use rustix::fs::{Mode, OFlags};

use super::path;
use crate::Error;

/// Finds what `pattern` names below `root`, in order; a pattern without wildcards names itself, whether
/// or not it is there.
pub(crate) fn find(
    root: BorrowedFd<'_>,
    pattern: &[u8],
    follow: bool,
) -> Result<Vec<Vec<u8>>, Error> {
    let (directory, wild) = split(pattern);
    if wild.is_empty() {
        return Ok(vec![directory]);
    }
    let named = |error| Error::errno("read", path::shown(&directory))(error);
    let base = path::resolve(root, &directory, follow).map_err(named)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let start = match path::open_dir(root, &base) {
        Ok(start) => rustix::fs::openat(&start, c".", flags | OFlags::CLOEXEC, Mode::empty()),
        Err(error) => Err(error),
    };
    let start = match start {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(Vec::new()),
        start => start.map_err(named)?,
    };
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut walk = Walk::below(start).map_err(Error::Archive)?;
    let mut taken: Option<Vec<u8>> = None;
    while let Some(node) = walk.next_node().map_err(Error::Archive)? {
        let below = taken.as_ref().is_some_and(|taken| {
            let rest = node.path.strip_prefix(taken.as_slice());
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        });
        if below || !matches(&wild, &node.path) {
            continue;
        }
        found.push(path::join(&directory, &node.path));
        taken = node.directory.is_some().then_some(node.path);
    }
    Ok(found)
}

/// Splits before the first part with a wildcard.
fn split(pattern: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut plain: Vec<&[u8]> = Vec::new();
    let mut wild: Vec<&[u8]> = Vec::new();
    for part in pattern
        .split(|byte| *byte == b'/')
        .filter(|p| !p.is_empty())
    {
        if wild.is_empty() && !part.iter().any(|byte| b"*?[\\".contains(byte)) {
            plain.push(part);
        } else {
            wild.push(part);
        }
    }
    let ends = pattern.ends_with(b"/") && wild.is_empty() && !plain.is_empty();
    let mut plain = plain.join(&b'/');
    if ends {
        plain.push(b'/');
    }
    (plain, wild.join(&b'/'))
}

/// Go's `filepath.Match`: `*` and `?` never match a slash. A malformed pattern matches nothing.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => {
            let end = name
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(name.len());
            (0..=end).any(|at| matches(rest, name.get(at..).unwrap_or_default()))
        }
        Some((b'?', rest)) => match first(name) {
            Some((ch, length)) if ch != '/' => {
                matches(rest, name.get(length..).unwrap_or_default())
            }
            _ => false,
        },
        Some((b'[', rest)) => class(rest, name),
        Some((b'\\', rest)) => match (rest.split_first(), name.split_first()) {
            (Some((wanted, rest)), Some((got, name))) => wanted == got && matches(rest, name),
            _ => false,
        },
        Some((wanted, rest)) => match name.split_first() {
            Some((got, name)) => wanted == got && matches(rest, name),
            None => false,
        },
    }
}

/// The first character and its length; a byte that is none stands for itself.
fn first(text: &[u8]) -> Option<(char, usize)> {
    let head = text.get(..text.len().min(4))?;
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
    };
    match valid.chars().next() {
        Some(ch) => Some((ch, ch.len_utf8())),
        None => text.first().map(|byte| (char::from(*byte), 1)),
    }
}

/// A class, after its bracket.
fn class(mut pattern: &[u8], name: &[u8]) -> bool {
    let Some((ch, length)) = first(name).filter(|(ch, _)| *ch != '/') else {
        return false;
    };
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = pattern.get(1..).unwrap_or_default();
    }
    let mut found = false;
    let mut ranges = 0;
    loop {
        if pattern.first() == Some(&b']') && ranges > 0 {
            let rest = pattern.get(1..).unwrap_or_default();
            return found != negated && matches(rest, name.get(length..).unwrap_or_default());
        }
        let Some(low) = member(&mut pattern) else {
            return false;
        };
        let mut high = low;
        if pattern.first() == Some(&b'-') {
            pattern = pattern.get(1..).unwrap_or_default();
            let Some(end) = member(&mut pattern) else {
                return false;
            };
            high = end;
        }
        found |= low <= ch && ch <= high;
        ranges += 1;
    }
}

/// One character of a class, perhaps escaped.
fn member(pattern: &mut &[u8]) -> Option<char> {
    if matches!(pattern.first(), None | Some(b'-' | b']')) {
        return None;
    }
    if pattern.first() == Some(&b'\\') {
        *pattern = pattern.get(1..)?;
    }
    let (ch, length) = first(pattern)?;
    *pattern = pattern.get(length..)?;
    Some(ch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn patterns_match_as_in_go() {
        let cases = [
            ("*", "abc", true),
            ("*", "a/c", false),
            ("a*/b", "abc/b", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("[-]", "-", false),
            ("[\\-x]", "-", true),
            ("[", "a", false),
            ("a[", "a", false),
            ("*x", "xxx", true),
        ];
        for (pattern, name, expected) in cases {
            let matched = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(matched, expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_finds_entries_and_not_what_is_below_them() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["src/a/x.c", "src/b/y.c", "src/z.c"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let root = arca_archive::open_root(dir.path()).unwrap();
        let find = |pattern: &str| -> Vec<String> {
            let found = find(root.as_fd(), pattern.as_bytes(), true).unwrap();
            found
                .into_iter()
                .map(|path| String::from_utf8(path).unwrap())
                .collect()
        };
        assert_eq!(find("src/*"), ["src/a", "src/b", "src/z.c"]);
        assert_eq!(find("/src/*/*.c"), ["src/a/x.c", "src/b/y.c"]);
        assert_eq!(find("src/none"), ["src/none"]);
        assert_eq!(find("none/*"), Vec::<String>::new());
    }
}
