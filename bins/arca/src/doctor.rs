//! `arca doctor`: every check in turn, then the repair when it is asked for.

use anyhow::Context;

use crate::finding::{Finding, Level};
use crate::{Options, api, deep, host, repair, state};

/// Runs the checks and prints them. Returns whether nothing is wrong.
///
/// # Errors
/// The state cannot be looked at, or the repair failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let daemon = api::Daemon::find(&options.socket);
    let mut findings = host::check(&options.data_root);
    findings.push(daemon.finding());
    if let api::Daemon::Answers(api) = &daemon {
        findings.extend(
            api.warnings()
                .context("cannot ask what the daemon warns of")?,
        );
    }
    let (recorded, actual) = look(&daemon, options)?;
    let mut faults = state::compare(&recorded, &actual);
    if daemon.is_alive() && !faults.is_empty() {
        // A container may have started or ended between the two looks.
        let (recorded, actual) = look(&daemon, options)?;
        let still = state::compare(&recorded, &actual);
        faults.retain(|fault| still.contains(fault));
    }
    if faults.is_empty() {
        let run = recorded.containers.values().filter(|runs| **runs).count();
        let text = format!(
            "{} containers, {run} of them run",
            recorded.containers.len()
        );
        findings.push(Finding::ok("state", text));
    }
    findings.extend(faults.iter().map(state::Fault::finding));
    if options.deep {
        let api::Daemon::Answers(api) = &daemon else {
            anyhow::bail!("--deep needs a running daemon: it is the daemon that reads its store");
        };
        findings.extend(deep::check(api, options.repair).context("cannot check the store")?);
    }
    print(&findings, options.json)?;
    if options.repair && !faults.is_empty() {
        anyhow::ensure!(
            !daemon.is_alive(),
            "the daemon is running: it repairs its state itself when it starts; restart it, or stop it and call again"
        );
        for done in repair::repair(&faults, options)? {
            println!("repaired: {done}");
        }
        let left = state::compare(&recorded, &state::Actual::look(options));
        return Ok(left.is_empty());
    }
    Ok(findings.iter().all(|finding| finding.level < Level::Error))
}

/// What is recorded, and what there is.
fn look(
    daemon: &api::Daemon,
    options: &Options,
) -> anyhow::Result<(state::Recorded, state::Actual)> {
    let recorded = match daemon {
        api::Daemon::Answers(api) => state::Recorded {
            containers: api.containers().context("cannot list the containers")?,
            netns: None,
        },
        _ => state::recorded(&options.data_root).context("cannot read the records")?,
    };
    Ok((recorded, state::Actual::look(options)))
}

fn print(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(findings)?);
        return Ok(());
    }
    for finding in findings {
        println!("{finding}");
    }
    Ok(())
}
