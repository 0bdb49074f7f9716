//! `arca gc`: the daemon removes images that nobody uses, or tells which ones it would.

use std::path::PathBuf;

use anyhow::{Context, bail};
use arca_wire::store::GcReport;

use crate::api::Daemon;

/// What is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The daemon's socket.
    #[arg(long, default_value = "/var/run/arca.sock")]
    socket: PathBuf,
    /// Only tells which images would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Prints the daemon's answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Has the daemon collect. Returns whether less of the disk is used now than the low watermark.
///
/// # Errors
/// The daemon does not answer, or cannot do it.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let api = match Daemon::find(&options.socket) {
        Daemon::Answers(api) => api,
        Daemon::Silent(why) | Daemon::Absent(why) => bail!("the daemon is not running: {why}"),
    };
    let dry_run = u8::from(options.dry_run);
    let answer = api.post(&format!("/arca/images/gc?dry-run={dry_run}"))?;
    let report: GcReport = serde_json::from_str(&answer).context("the daemon's answer")?;
    if options.json {
        println!("{}", answer.trim());
    } else {
        print(&report);
    }
    Ok(report.enough)
}

fn print(report: &GcReport) {
    let verb = if report.dry_run {
        "would remove"
    } else {
        "removed"
    };
    for image in &report.images {
        let names = match image.repo_tags.as_slice() {
            [] => "<none>".to_owned(),
            names => names.join(", "),
        };
        let id = image.id.trim_start_matches("sha256:");
        println!(
            "{verb}  {}  {names}  last used {}  {} MiB",
            id.get(..12).unwrap_or(id),
            image.last_used,
            image.size >> 20
        );
    }
    let free = |available: u64| {
        let percent = available.saturating_mul(100) / report.total.max(1);
        format!("{} MiB ({percent} %)", available >> 20)
    };
    println!(
        "{} images; free before: {}, after: {}",
        report.images.len(),
        free(report.available_before),
        free(report.available_after)
    );
    if !report.enough {
        println!(
            "the low watermark is not reached: all other images are used, pinned, or used lately"
        );
    }
}
