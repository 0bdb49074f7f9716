//! "Did you mean": the option nearest to what was written.

/// The option within two edits of `value`, if there is one and `value` is not itself an option.
///
/// Options are tried in order; of equally near ones the first is taken.
#[must_use]
pub fn nearest<'a>(value: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut limit = 3;
    for option in options {
        if option == value {
            return None;
        }
        let distance = distance(value, option);
        if distance < limit {
            limit = distance;
            best = Some(option);
        }
    }
    best
}

/// Like [`nearest`], blind to case; the answer is written in the case of `value` when `value` is all
/// lower or all upper case.
#[must_use]
pub fn nearest_ignoring_case<'a>(
    value: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let options: Vec<String> = options.into_iter().map(str::to_lowercase).collect();
    let lower = value.to_lowercase();
    let found = nearest(&lower, options.iter().map(String::as_str))?;
    let shouted = value != lower && value == value.to_uppercase();
    Some(if shouted {
        found.to_uppercase()
    } else {
        found.to_owned()
    })
}

/// ` (did you mean X?)`, or nothing.
#[must_use]
pub fn hint(found: Option<&str>) -> String {
    found.map_or_else(String::new, |found| format!(" (did you mean {found}?)"))
}

/// Levenshtein distance in characters. Words that differ much in length are far apart at once, so that
/// hostile input costs nothing.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 16 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            let changed = corner + usize::from(x != *y);
            corner = above;
            left = changed.min(above + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest, nearest_ignoring_case};

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
    }

    #[test]
    fn the_nearest_option_is_given_in_the_case_of_the_question() {
        assert_eq!(
            nearest_ignoring_case("CPOY", ["copy", "cmd"]),
            Some("COPY".into())
        );
        assert_eq!(
            nearest_ignoring_case("cpoy", ["COPY", "CMD"]),
            Some("copy".into())
        );
        assert_eq!(nearest("from", ["from", "form"]), None);
        assert_eq!(nearest("abcdef", ["xyz"]), None);
    }
}
