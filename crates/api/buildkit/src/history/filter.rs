//! Which builds a client wants to hear of: `status==error`, `startedAt>24h`, `duration<=1m`.

use std::time::Duration;

use arca_types::Timestamp;
use regex::Regex;
use tonic::Status;

use crate::PbTimestamp;
use crate::api::BuildHistoryRecord;

/// All of these hold.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<Test>);

#[derive(Debug)]
enum Test {
    Text(Field, Match),
    Started(Order, Timestamp),
    Completed(Order, Timestamp),
    Took(Order, Duration),
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Ref,
    Status,
    Repository,
}

#[derive(Debug)]
enum Match {
    Is(String),
    IsNot(String),
    Like(Regex),
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Less,
    LessOrSame,
    More,
    MoreOrSame,
}

/// What stands between a name and a value; of two that begin alike the longer one is first.
const SEPARATORS: [&str; 8] = ["!=", "~=", "==", "<=", ">=", "=", "<", ">"];

impl Filter {
    /// Reads filters; durations count back from `now`.
    ///
    /// # Errors
    /// `InvalidArgument` in BuildKit's words.
    pub(super) fn parse(texts: &[String], now: Timestamp) -> Result<Self, Status> {
        let mut tests = Vec::new();
        for text in texts {
            let fields = arca_dockerfile::csv_fields(text).map_err(Status::invalid_argument)?;
            for field in fields {
                tests.push(test(&field, now).map_err(Status::invalid_argument)?);
            }
        }
        Ok(Self(tests))
    }

    /// Is this build wanted? `now` is the end of one that runs.
    pub(super) fn wants(&self, record: &BuildHistoryRecord, now: Timestamp) -> bool {
        let time = |at: Option<&PbTimestamp>| {
            at.map(|at| Timestamp::from_unix(at.seconds, u32::try_from(at.nanos).unwrap_or(0)))
        };
        let started = time(record.created_at.as_ref());
        let completed = time(record.completed_at.as_ref());
        self.0.iter().all(|test| match test {
            Test::Text(field, wanted) => wanted.holds(&value(*field, record)),
            Test::Started(order, than) => started.is_some_and(|at| order.holds(at, *than)),
            Test::Completed(order, than) => completed.is_some_and(|at| order.holds(at, *than)),
            Test::Took(order, than) => started
                .is_some_and(|start| order.holds(completed.unwrap_or(now).since(start), *than)),
        })
    }
}

impl Match {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::IsNot(unwanted) => value != unwanted,
            Self::Like(pattern) => pattern.is_match(value),
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: T, than: T) -> bool {
        match self {
            Self::Less => value < than,
            Self::LessOrSame => value <= than,
            Self::More => value > than,
            Self::MoreOrSame => value >= than,
        }
    }
}

fn test(text: &str, now: Timestamp) -> Result<Test, String> {
    let found = text.char_indices().find_map(|(at, _)| {
        let (name, rest) = text.split_at_checked(at)?;
        let separator = SEPARATORS.iter().find(|one| rest.starts_with(**one))?;
        Some((name, *separator, rest.strip_prefix(separator)?))
    });
    let (name, separator, value) = found.ok_or_else(|| format!("invalid filter {text:?}"))?;
    let ordered = || {
        order(separator)
            .ok_or_else(|| format!("invalid separator for {text:?}, expected <=, <, >= or >"))
    };
    let matched = |field| Ok(Test::Text(field, matching(text, separator, value)?));
    match name {
        "ref" => matched(Field::Ref),
        "status" => matched(Field::Status),
        "repository" => matched(Field::Repository),
        "startedAt" => Ok(Test::Started(ordered()?, moment(value, now)?)),
        "completedAt" => Ok(Test::Completed(ordered()?, moment(value, now)?)),
        "duration" => {
            let took = arca_dockerfile::parse_duration(value)?;
            let took = u64::try_from(took).unwrap_or(0);
            Ok(Test::Took(ordered()?, Duration::from_nanos(took)))
        }
        _ => Err(format!("unsupported filter {text:?}")),
    }
}

fn order(separator: &str) -> Option<Order> {
    Some(match separator {
        "<" => Order::Less,
        "<=" => Order::LessOrSame,
        ">" => Order::More,
        ">=" => Order::MoreOrSame,
        _ => return None,
    })
}

fn matching(text: &str, separator: &str, value: &str) -> Result<Match, String> {
    let value = value.trim_matches('"');
    match separator {
        "=" | "==" => Ok(Match::Is(value.to_owned())),
        "!=" => Ok(Match::IsNot(value.to_owned())),
        "~=" => Regex::new(value)
            .map(Match::Like)
            .map_err(|error| format!("invalid filter {text:?}: {error}")),
        _ => Err(format!("invalid separator for {text:?}, expected = or !=")),
    }
}

/// A time, or how long ago it was.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = arca_dockerfile::parse_duration(text) {
        let at = now.unix_nanoseconds().saturating_sub(ago);
        let nanoseconds = u32::try_from(at.rem_euclid(1_000_000_000)).unwrap_or(0);
        return Ok(Timestamp::from_unix(
            at.div_euclid(1_000_000_000),
            nanoseconds,
        ));
    }
    text.parse()
        .map_err(|_not_a_time| format!("invalid time {text}"))
}

fn value(field: Field, record: &BuildHistoryRecord) -> String {
    match field {
        Field::Ref => record.r#ref.clone(),
        Field::Status => status(record).to_owned(),
        Field::Repository => {
            let told = record.frontend_attrs.get("vcs:source");
            let context = record.frontend_attrs.get("context");
            let context = context.filter(|context| arca_dockerfile::git_url(context).is_ok());
            told.or(context).cloned().unwrap_or_default()
        }
    }
}

fn status(record: &BuildHistoryRecord) -> &'static str {
    match (&record.completed_at, &record.error) {
        (None, _) => "running",
        (Some(_), None) => "completed",
        (Some(_), Some(error)) if error.message.contains("context canceled") => "canceled",
        (Some(_), Some(_)) => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000, 0);

    fn parse(texts: &[&str]) -> Result<Filter, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Filter::parse(&texts, NOW).map_err(|status| status.message().to_owned())
    }

    fn record(started: i64, took: Option<i64>, error: Option<&str>) -> BuildHistoryRecord {
        let at = |seconds| PbTimestamp { seconds, nanos: 0 };
        BuildHistoryRecord {
            r#ref: "abc".to_owned(),
            frontend_attrs: [("vcs:source".to_owned(), "https://host/repo.git".to_owned())].into(),
            created_at: Some(at(started)),
            completed_at: took.map(|took| at(started + took)),
            error: error.map(|text| crate::error::told(&Status::unknown(text))),
            ..BuildHistoryRecord::default()
        }
    }

    #[test]
    fn builds_are_chosen_by_all_that_is_said() {
        let hour = 3600;
        let done = record(1_000_000 - 2 * hour, Some(90), None);
        let failed = record(1_000_000 - 60, Some(5), Some("exit code: 1"));
        let canceled = record(1_000_000 - 60, Some(5), Some("Canceled: context canceled"));
        let running = record(1_000_000 - 30, None, None);
        let all = [&done, &failed, &canceled, &running];
        for (filters, wanted) in [
            (&["status==completed"][..], [true, false, false, false]),
            (&["status=error"], [false, true, false, false]),
            (&["status==canceled"], [false, false, true, false]),
            (&["status==running"], [false, false, false, true]),
            (&["status!=completed"], [false, true, true, true]),
            (&["startedAt>1h"], [false, true, true, true]),
            (&["startedAt<1h"], [true, false, false, false]),
            (
                &["startedAt<1970-01-12T12:46:40Z"],
                [true, false, false, false],
            ),
            (&["completedAt>1h"], [false, true, true, false]),
            (&["duration<=5s"], [false, true, true, false]),
            (&["duration>10s"], [true, false, false, true]),
            (
                &["status==error", "duration<1m"],
                [false, true, false, false],
            ),
            (&["status!=error,duration<1m"], [false, false, true, true]),
            (&["ref==abc"], [true; 4]),
            (&["ref==ab"], [false; 4]),
            (&["repository~=host/.*git"], [true; 4]),
            (&[], [true; 4]),
        ] {
            let filter = parse(filters).unwrap();
            let found = all.map(|record| filter.wants(record, NOW));
            assert_eq!(found, wanted, "{filters:?}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_in_buildkits_words() {
        for (text, error) in [
            ("nonsense", "invalid filter \"nonsense\""),
            ("foo=bar", "unsupported filter \"foo=bar\""),
            ("startedAt>junk", "invalid time junk"),
            (
                "status>x",
                "invalid separator for \"status>x\", expected = or !=",
            ),
            (
                "duration=1m",
                "invalid separator for \"duration=1m\", expected <=, <, >= or >",
            ),
        ] {
            assert_eq!(parse(&[text]).unwrap_err(), error);
        }
        assert!(parse(&["repository~=("]).is_err());
    }
}
