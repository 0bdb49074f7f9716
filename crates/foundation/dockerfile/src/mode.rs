//! Permissions as `--chmod` takes them: octal, or symbolic as in chmod(1) with an empty mask.

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

/// A change of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// These bits and no others.
    Octal(u32),
    /// Changes to what is there.
    Symbolic(Vec<Clause>),
}

/// One operation of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The bits of those whose permissions change.
    who: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Permissions {
    /// Fixed bits, and whether `X` is among them.
    Bits(u32, bool),
    /// What one class has, as a shift: user 6, group 3, others 0.
    Of(u32),
}

/// A mode that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ModeError {
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    NotOctal(String),
    #[error("invalid syntax")]
    Syntax,
}

/// Reads a mode.
///
/// # Errors
/// It is neither octal within 07777 nor symbolic.
pub fn mode(text: &str) -> Result<Mode, ModeError> {
    if text.starts_with(|ch: char| ch.is_ascii_digit()) {
        let bits = u32::from_str_radix(text, 8)
            .ok()
            .filter(|bits| *bits <= 0o7777);
        return bits
            .map(Mode::Octal)
            .ok_or_else(|| ModeError::NotOctal(text.to_owned()));
    }
    let mut clauses = Vec::new();
    for part in text.split(',') {
        clause(part, &mut clauses)?;
    }
    Ok(Mode::Symbolic(clauses))
}

/// `who`, then one or more operators with their permissions.
fn clause(text: &str, clauses: &mut Vec<Clause>) -> Result<(), ModeError> {
    let mut chars = text.chars().peekable();
    let mut who = 0;
    while let Some(class) = chars.next_if(|ch| matches!(ch, 'a' | 'u' | 'g' | 'o')) {
        who |= match class {
            'u' => SET_USER | 0o700,
            'g' => SET_GROUP | 0o070,
            'o' => 0o007,
            _ => SET_USER | SET_GROUP | 0o777,
        };
    }
    let who = if who == 0 {
        SET_USER | SET_GROUP | 0o777
    } else {
        who
    };
    let mut any = false;
    while let Some(operator) = chars.next() {
        let operator = match operator {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Set,
            _ => return Err(ModeError::Syntax),
        };
        let (mut bits, mut conditional, mut copies) = (0, false, Vec::new());
        while let Some(ch) = chars.next_if(|ch| !matches!(ch, '+' | '-' | '=')) {
            match ch {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= EXECUTE,
                'X' if operator == Operator::Remove => bits |= EXECUTE,
                'X' => conditional = true,
                's' => bits |= SET_USER | SET_GROUP,
                't' => bits |= STICKY,
                'u' => copies.push(6),
                'g' => copies.push(3),
                'o' => copies.push(0),
                _ => return Err(ModeError::Syntax),
            }
        }
        // The sticky bit is nobody's: it changes with whatever class is named, but others alone.
        let sticky = if who & !0o007 == 0 { 0 } else { bits & STICKY };
        let who = who | sticky;
        if bits != 0 || conditional || copies.is_empty() {
            clauses.push(Clause {
                who,
                operator,
                permissions: Permissions::Bits(bits, conditional),
            });
        }
        for shift in copies {
            clauses.push(Clause {
                who,
                operator,
                permissions: Permissions::Of(shift),
            });
        }
        any = true;
    }
    if any { Ok(()) } else { Err(ModeError::Syntax) }
}

impl Mode {
    /// The permissions of a file after the change.
    #[must_use]
    pub fn apply(&self, before: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => clauses.iter().fold(before & 0o7777, |mode, clause| {
                let bits = match clause.permissions {
                    Permissions::Bits(bits, true) if directory || before & EXECUTE != 0 => {
                        bits | EXECUTE
                    }
                    Permissions::Bits(bits, _) => bits,
                    Permissions::Of(shift) => ((mode >> shift) & 0o007) * 0o111,
                } & clause.who;
                match clause.operator {
                    Operator::Add => mode | bits,
                    Operator::Remove => mode & !bits,
                    Operator::Set => (mode & !(clause.who & !STICKY)) | bits,
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModeError, mode};

    #[test]
    fn modes_change_permissions_as_chmod_does() {
        for (text, before, directory, after) in [
            ("755", 0o600, false, 0o755),
            ("07777", 0, false, 0o7777),
            ("u+x", 0o644, false, 0o744),
            ("go-r", 0o644, false, 0o600),
            ("a=r", 0o755, false, 0o444),
            ("u=rwX,go=rX", 0o644, false, 0o644),
            ("u=rwX,go=rX", 0o744, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("+t", 0o755, true, 0o1755),
            ("u+s", 0o755, false, 0o4755),
            ("o+s", 0o755, false, 0o755),
            ("go=", 0o777, false, 0o700),
            ("u+x-w", 0o644, false, 0o544),
        ] {
            let changed = mode(text).expect(text).apply(before, directory);
            assert_eq!(
                format!("{changed:o}"),
                format!("{after:o}"),
                "{text} on {before:o}"
            );
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        assert_eq!(mode("8"), Err(ModeError::NotOctal("8".into())));
        assert_eq!(mode("10000"), Err(ModeError::NotOctal("10000".into())));
        for text in ["", "u", "x", "u+y", "u+x,", "+rwx,q"] {
            assert_eq!(mode(text), Err(ModeError::Syntax), "{text}");
        }
    }
}
