//! Signals by name and number (signal(7)).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no signal of Linux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(String);

/// A signal of Linux, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Signal(u8);

const NAMES: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// `SIGHUP`.
    pub const HUP: Self = Self(1);
    /// `SIGINT`.
    pub const INT: Self = Self(2);
    /// `SIGKILL`.
    pub const KILL: Self = Self(9);
    /// `SIGTERM`.
    pub const TERM: Self = Self(15);
    /// `SIGCONT`.
    pub const CONT: Self = Self(18);

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    /// Parses `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN`, `RTMIN+3`, `SIGRTMAX-2`.
    fn from_str(text: &str) -> Result<Self, SignalError> {
        let unknown = || SignalError(text.to_owned());
        if let Ok(number) = text.parse::<u8>() {
            return Self::try_from(number).map_err(|_error| unknown());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match name {
            "" => None,
            "CLD" => Some(17),
            "POLL" => Some(29),
            "IOT" => Some(6),
            "RTMIN" => Some(RTMIN),
            "RTMAX" => Some(RTMAX),
            _ => real_time(name).or_else(|| {
                (1_u8..)
                    .zip(NAMES.iter().skip(1))
                    .find(|(_, n)| **n == name)
                    .map(|p| p.0)
            }),
        };
        number.map(Self).ok_or_else(unknown)
    }
}

/// Parses `RTMIN+n` (1 to 15) and `RTMAX-n` (1 to 14).
fn real_time(name: &str) -> Option<u8> {
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        let offset: u8 = offset.parse().ok()?;
        return (1..=15).contains(&offset).then(|| RTMIN + offset);
    }
    let offset: u8 = name.strip_prefix("RTMAX-")?.parse().ok()?;
    (1..=14).contains(&offset).then(|| RTMAX - offset)
}

impl TryFrom<u8> for Signal {
    type Error = SignalError;

    fn try_from(number: u8) -> Result<Self, SignalError> {
        if (1..=RTMAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(SignalError(number.to_string()))
        }
    }
}

impl From<Signal> for u8 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 <= RTMIN + 15 => write!(f, "SIGRTMIN+{}", self.0.saturating_sub(RTMIN)),
            None => write!(f, "SIGRTMAX-{}", RTMAX - self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_understood() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGWINCH", 28),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-2", 62),
            ("64", 64),
        ] {
            assert_eq!(
                text.parse::<Signal>().map(Signal::number),
                Ok(number),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0", "65", "SIG", "BOOM", "RTMIN+16", "-9"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
