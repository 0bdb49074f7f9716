//! `ContainerTop`: the host's `ps`, without the processes of others.

use std::time::Duration;

use tokio::process::Command;

use crate::Error;
use crate::requests::Top;
use crate::service::Containers;
use crate::state::State;

/// How long `ps` may take.
const DEADLINE: Duration = Duration::from_secs(10);

impl Containers {
    /// Lists the processes of a container by the host's `ps` (`ContainerTop`); without arguments by
    /// `ps -ef`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`], [`Error::Restarting`]; [`Error::Invalid`] for
    /// arguments after which the column of process IDs could not be found; [`Error::Failed`] with what
    /// `ps` says.
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<Top, Error> {
        let ps_args = if ps_args.is_empty() { "-ef" } else { ps_args };
        check_args(ps_args)?;
        let handle = self.service().index.find(id)?;
        let container = handle.snapshot();
        match container.state {
            State::Restarting => return Err(Error::Restarting(container.id.to_string())),
            state if state.process().is_none() => {
                return Err(Error::NotRunning(container.id.to_string()));
            }
            _ => {}
        }
        let pids = self
            .service()
            .runtime
            .pids(&container.id)
            .await
            .map_err(Error::Runtime)?;
        let output = ps(ps_args).await?;
        let top = parse(&output, &pids)?;
        let event = crate::actor::event(&container, "top");
        self.service().events.publish(event).await;
        Ok(top)
    }
}

/// Columns of process IDs with titles of their own would not be found.
fn check_args(args: &str) -> Result<(), Error> {
    let spaceless: Vec<&str> = args.split_whitespace().collect();
    for word in spaceless.iter().flat_map(|word| word.split(',')) {
        if let Some((field, title)) = word.split_once('=')
            && field
                .trim_start_matches('-')
                .trim_start_matches('o')
                .eq_ignore_ascii_case("pid")
            && title != "PID"
        {
            let text = format!("specifying \"{word}\" is not allowed");
            return Err(Error::Invalid(text));
        }
    }
    Ok(())
}

async fn ps(args: &str) -> Result<String, Error> {
    let run = Command::new("ps")
        .args(args.split_whitespace())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, run)
        .await
        .map_err(|_elapsed| Error::Failed("error running ps: it takes too long".to_owned()))?
        .map_err(Error::file("run", "ps"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.trim().lines().next().unwrap_or_default();
    Err(Error::Failed(format!("ps: {first}")))
}

/// Takes the table apart; the last column may contain blanks.
fn parse(output: &str, pids: &[i32]) -> Result<Top, Error> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::Failed("Couldn't find PID field in ps output".to_owned()))?;
    let mut processes = Vec::new();
    let mut previous = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(pid) = fields.get(column) else {
            continue;
        };
        // A dash is the line of a thread of the process before.
        previous = match pid.parse::<i32>() {
            Ok(pid) => pids.contains(&pid),
            Err(_) if *pid == "-" => previous,
            Err(_) => {
                let text = format!("Unexpected pid '{pid}': not a number");
                return Err(Error::Failed(text));
            }
        };
        if previous {
            processes.push(row(&fields, titles.len()));
        }
    }
    Ok(Top { titles, processes })
}

fn row(fields: &[&str], columns: usize) -> Vec<String> {
    let last = columns.saturating_sub(1);
    let (own, rest) = fields.split_at_checked(last).unwrap_or((fields, &[]));
    let mut row: Vec<String> = own.iter().map(|field| (*field).to_owned()).collect();
    row.push(rest.join(" "));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_processes_are_shown_and_the_last_column_keeps_blanks() {
        let output =
            "UID          PID CMD\nroot           1 /sbin/init\nroot          7 sleep 600\n";
        let top = parse(output, &[7]).unwrap();
        assert_eq!(top.titles, ["UID", "PID", "CMD"]);
        assert_eq!(top.processes, [["root", "7", "sleep 600"]]);
    }

    #[test]
    fn a_table_without_process_ids_is_an_error() {
        let error = parse("CMD\nsleep\n", &[7]).unwrap_err().to_string();
        assert_eq!(error, "Couldn't find PID field in ps output");
    }

    #[test]
    fn the_title_of_process_ids_may_not_be_changed() {
        assert!(check_args("-o pid=Foo").is_err());
        assert!(check_args("-opid=Foo,cmd").is_err());
        assert!(check_args("-o pid=PID").is_ok());
        assert!(check_args("aux").is_ok());
    }
}
