//! Names: `vendor.com/class=device`.

/// Whether `text` is the full name of a device.
#[must_use]
pub fn is_qualified(text: &str) -> bool {
    text.split_once('=')
        .is_some_and(|(kind, device)| is_kind(kind) && is_device(device))
}

/// Whether `text` is `vendor/class`.
pub(crate) fn is_kind(text: &str) -> bool {
    text.split_once('/').is_some_and(|(vendor, class)| {
        is_word(vendor, "_-.") && is_word(class, "_-") && starts_with_letter(vendor, class)
    })
}

fn starts_with_letter(vendor: &str, class: &str) -> bool {
    [vendor, class]
        .iter()
        .all(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Whether `text` names a device of a kind.
pub(crate) fn is_device(text: &str) -> bool {
    is_word(text, "_-.:")
}

/// Letters, digits and `others`, with a letter or digit at both ends.
fn is_word(text: &str, others: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || others.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_three_parts() {
        for good in ["vendor.com/class=name", "a/b=0", "nvidia.com/gpu=GPU-1:2.x"] {
            assert!(is_qualified(good), "{good}");
        }
        for bad in [
            "",
            "/dev/null",
            "a/b",
            "a=b",
            "a/b=",
            "1/b=c",
            "a/b.c=d",
            "a/b=-",
            "a/b=c d",
        ] {
            assert!(!is_qualified(bad), "{bad}");
        }
    }
}
