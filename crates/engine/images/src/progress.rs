//! What long operations tell while they run: the lines of dockerd's JSON stream, as values.

use arca_registry::Descriptor;
use tokio::sync::mpsc;

/// Where progress is sent to: bounded, so a slow client slows the operation down. A receiver that is gone
/// does not fail the operation; whoever runs it decides whether to drop it.
pub type ProgressSink = mpsc::Sender<Progress>;

/// How far a step has come, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// Bytes done.
    pub current: u64,
    /// Bytes in all; 0 when that is not known.
    pub total: u64,
}

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// `{"status": …}`, with `id` when there is one.
    Status {
        /// What it is about: a tag, a layer.
        id: Option<String>,
        /// The text.
        status: String,
    },
    /// `{"status": …, "progressDetail": {…}, "progress": …, "id": …}`: one step of one layer.
    Step {
        /// The short digest of the layer.
        id: String,
        /// The step.
        status: String,
        /// How far it has come; `{}` on the wire when there is none.
        detail: Option<Detail>,
    },
    /// `{"stream": …}`.
    Stream(String),
    /// `{"progressDetail": {}, "aux": {"Tag": …}}`: what a tag stands for in the registry now.
    Pushed {
        /// The tag.
        tag: String,
        /// Its manifest or index.
        target: Descriptor,
    },
    /// `{"progressDetail": {}, "aux": {"manifestPushedInsteadOfIndex": true, …}}`: not all images of an
    /// index are here, so one of them was pushed.
    PushedOneOfIndex {
        /// The index.
        index: Descriptor,
        /// The manifest that was pushed.
        manifest: Descriptor,
    },
}

impl Progress {
    /// A line about the whole operation.
    pub(crate) fn status(status: impl Into<String>) -> Self {
        Self::Status {
            id: None,
            status: status.into(),
        }
    }

    /// A line about one layer.
    pub(crate) fn step(id: &str, status: impl Into<String>, detail: Option<Detail>) -> Self {
        Self::Step {
            id: id.to_owned(),
            status: status.into(),
            detail,
        }
    }
}

/// Sends a line; whether anybody still listens is not this operation's business.
pub(crate) async fn tell(sink: &ProgressSink, progress: Progress) {
    if sink.send(progress).await.is_err() {
        tracing::trace!("nobody listens to the progress any more");
    }
}

/// Writes the field `progress` of a step as dockerd does: a bar of 50 characters and the amounts
/// (`pkg/jsonmessage` of moby, for a terminal of unknown width).
#[must_use]
pub fn bar(detail: Detail) -> String {
    let current = human(detail.current);
    if detail.current == 0 && detail.total == 0 {
        return String::new();
    }
    if detail.total == 0 {
        return format!("{current:>8}");
    }
    let percentage = (detail.current.saturating_mul(100) / detail.total / 2).min(50);
    let done = usize::try_from(percentage).unwrap_or(50);
    let rest = " ".repeat(50 - done);
    let amounts = if detail.current > detail.total {
        format!("{current:>8}")
    } else {
        format!("{current:>8}/{}", human(detail.total))
    };
    format!("[{}>{rest}] {amounts}", "=".repeat(done))
}

/// Writes an amount with four significant digits and a decimal unit (`go-units`, `HumanSize`).
fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{}{}", four_digits(amount), UNITS.get(unit).unwrap_or(&"B"))
}

/// Go's `%.4g` for numbers of at least 1 and below 1000 (and whole ones below).
fn four_digits(amount: f64) -> String {
    let decimals = match amount {
        amount if amount >= 999.95 => 0,
        amount if amount >= 99.995 => 1,
        amount if amount >= 9.9995 => 2,
        _ => 3,
    };
    let text = format!("{amount:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_look_like_those_of_dockerd() {
        for (current, total, wanted) in [
            (
                167,
                167,
                "[==================================================>]     167B/167B",
            ),
            (
                36445,
                3_073_791,
                "[>                                                  ]  36.45kB/3.074MB",
            ),
            (
                32768,
                3_073_791,
                "[>                                                  ]  32.77kB/3.074MB",
            ),
            (
                3_073_791,
                3_073_791,
                "[==================================================>]  3.074MB/3.074MB",
            ),
            (5, 0, "      5B"),
            (0, 0, ""),
        ] {
            assert_eq!(bar(Detail { current, total }), wanted);
        }
    }

    #[test]
    fn amounts_have_four_digits() {
        for (bytes, wanted) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (45_189_523, "45.19MB"),
            (100_000, "100kB"),
            (123_456, "123.5kB"),
        ] {
            assert_eq!(human(bytes), wanted);
        }
    }
}
