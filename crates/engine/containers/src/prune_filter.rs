//! Filters of `ContainerPrune`.

use std::time::Duration;

use arca_types::Timestamp;

use crate::Error;
use crate::container::Container;
use crate::filters::labels_fit;
use crate::requests::Filters;
use crate::state::State;

/// The filters of a prune, understood.
#[derive(Debug, Default)]
pub(crate) struct PruneFilter {
    until: Option<Timestamp>,
    labels: Vec<String>,
    without: Vec<String>,
}

impl PruneFilter {
    /// Understands the filters of `ContainerPrune`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter or a value that is not known.
    pub(crate) fn new(filters: &Filters, now: Timestamp) -> Result<Self, Error> {
        let mut filter = Self::default();
        for (name, values) in filters {
            match name.as_str() {
                "label" => filter.labels.clone_from(values),
                "label!" => filter.without.clone_from(values),
                "until" => match values.as_slice() {
                    [] => {}
                    [until] => filter.until = Some(moment(until, now)?),
                    _ => {
                        let text = "more than one until filter specified";
                        return Err(Error::Invalid(text.to_owned()));
                    }
                },
                _ => return Err(Error::Invalid(format!("invalid filter '{name}'"))),
            }
        }
        Ok(filter)
    }

    /// Whether a container is to be removed: it does not run, and passes.
    pub(crate) fn passes(&self, container: &Container) -> bool {
        let idle = matches!(
            container.state,
            State::Created | State::Exited | State::Dead
        );
        let labels = &container.spec.labels;
        idle && self.until.is_none_or(|until| container.created < until)
            && labels_fit(labels, &self.labels)
            && (self.without.is_empty() || !labels_fit(labels, &self.without))
    }
}

/// A time: RFC 3339, seconds since 1970, or a duration back from now (`24h`).
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    // A date, or a date and a time without seconds or without zone, which is UTC here.
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    if let Ok(time) = full.parse() {
        return Ok(time);
    }
    if let Some(ahead) = text.strip_prefix('-').and_then(duration) {
        return Ok(now.after(ahead));
    }
    if let Some(back) = duration(text) {
        let since_1970 = now.since(Timestamp::from_unix(0, 0));
        return Ok(Timestamp::from_unix(0, 0).after(since_1970.saturating_sub(back)));
    }
    let invalid = || {
        Error::Invalid(format!(
            "failed to parse value as time or duration: \"{text}\""
        ))
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = seconds.parse::<i64>().map_err(|_error| invalid())?;
    let nanos = format!("{fraction:0<9}")
        .parse::<u32>()
        .map_err(|_error| invalid())?;
    Ok(Timestamp::from_unix(seconds, nanos))
}

/// Parses `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_back_from_now() {
        let now = Timestamp::from_unix(10_000, 0);
        assert_eq!(moment("1h30m", now).unwrap(), Timestamp::from_unix(4600, 0));
        assert_eq!(
            moment("12.5", now).unwrap(),
            Timestamp::from_unix(12, 500_000_000)
        );
        assert!(moment("x", now).is_err());
        assert_eq!(moment("-1h", now).unwrap(), Timestamp::from_unix(13_600, 0));
        let day = Timestamp::from_unix(86_400, 0);
        assert_eq!(moment("1970-01-02", now).unwrap(), day);
        assert_eq!(moment("1970-01-02T00:00:00", now).unwrap(), day);
    }
}
