//! `HEALTHCHECK`.

use super::flags::{FlagKind, Flags};
use super::source::{Arguments, Statement};
use crate::duration::parse_duration;
use crate::error::Error;
use crate::instruction::Healthcheck;

/// Checks a `HEALTHCHECK`.
pub(super) fn healthcheck(statement: &Statement) -> Result<Healthcheck, Error> {
    let Arguments::Typed(kind, command) = &statement.arguments else {
        return Err(Error::AtLeastOneArgument("HEALTHCHECK"));
    };
    let (command, shell) = match command.as_ref() {
        Arguments::Json(items) => (items.as_slice(), false),
        Arguments::Words(words) => (words.as_slice(), true),
        _ => (&[][..], true),
    };
    let kind = kind.to_uppercase();
    if kind.is_empty() {
        return Err(Error::AtLeastOneArgument("HEALTHCHECK"));
    }
    if kind == "NONE" {
        let test = vec![kind];
        return if command.is_empty() {
            Ok(Healthcheck {
                test,
                ..Healthcheck::default()
            })
        } else {
            Err(Error::HealthcheckNone)
        };
    }
    let allowed = [
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ];
    let flags = Flags::parse(
        &statement.flags,
        &allowed.map(|name| (name, FlagKind::Text)),
    )?;
    if kind != "CMD" {
        return Err(Error::HealthcheckType(kind));
    }
    if command.is_empty() {
        return Err(Error::HealthcheckCommand);
    }
    let kind = if shell { "CMD-SHELL".to_owned() } else { kind };
    Ok(Healthcheck {
        test: std::iter::once(kind)
            .chain(command.iter().cloned())
            .collect(),
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(flags.text("retries").unwrap_or_default())?,
    })
}

fn interval(flags: &Flags, name: &'static str) -> Result<i64, Error> {
    let text = flags.text(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    match parse_duration(text).map_err(Error::Duration)? {
        short if short < 1_000_000 && short != 0 => Err(Error::Interval(name)),
        duration => Ok(duration),
    }
}

fn retries(text: &str) -> Result<i32, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|ch| ch.is_ascii_digit()) {
        return Err(Error::Number(text.to_owned(), "invalid syntax"));
    }
    let number: Option<i32> = text.parse().ok();
    let number = number.ok_or_else(|| Error::Number(text.to_owned(), "value out of range"))?;
    if number < 0 {
        Err(Error::NegativeRetries(number.into()))
    } else {
        Ok(number)
    }
}
