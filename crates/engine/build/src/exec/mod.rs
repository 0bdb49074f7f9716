//! Processes: mounts, secrets, limits, and what becomes of what was written.

pub(crate) mod emulation;
mod mounts;
pub(crate) mod secrets;
mod spec;
pub(crate) mod ssh;
mod stubs;

use arca_containers::{StepEnd, StepOutput, StepRequest};
use tokio::sync::mpsc;

use crate::graph::{Exec, NetworkMode, SecurityMode};
use crate::solve::{Listeners, Step};
use crate::{Entitlement, Error, Tree};
use mounts::Mounts;

/// Runs a process; returns the outputs.
pub(crate) async fn run(
    step: &Step,
    exec: &Exec,
    listeners: &Listeners,
) -> Result<Vec<Tree>, Error> {
    check(step, exec)?;
    let mounts = Mounts::prepare(step, exec).await?;
    let spec = spec::of(step, exec, &mounts).await?;
    let stubs = mounts.stubs(step).await?;
    let (output, pieces) = mpsc::channel(16);
    let request = StepRequest {
        id: mounts.root().id().clone(),
        spec,
        mounts: mounts.list(),
        output,
        cancel: step.cancel.child_token(),
    };
    let containers = step.job.0.service.backends.containers.clone();
    let (ended, ()) = tokio::join!(containers.run_step(request), tell(pieces, listeners));
    let ended = match ended {
        Ok(ended) => ended,
        Err(_) if step.cancel.is_cancelled() => return Err(Error::Cancelled),
        Err(error) => return Err(not_started(exec, error, listeners)),
    };
    outcome(exec, ended)?;
    stubs.remove(step).await?;
    mounts.outputs(exec.outputs()).await
}

fn check(step: &Step, exec: &Exec) -> Result<(), Error> {
    if exec.network == NetworkMode::Host && !step.job.is_entitled(Entitlement::NetworkHost) {
        let text = "network.host is not allowed";
        return Err(Error::Forbidden(text.to_owned()));
    }
    if exec.security == SecurityMode::Insecure
        && !step.job.is_entitled(Entitlement::SecurityInsecure)
    {
        let text = "security.insecure is not allowed";
        return Err(Error::Forbidden(text.to_owned()));
    }
    if exec.outputs() > exec.mounts.len() {
        return Err(Error::Invalid("invalid output of a mount".to_owned()));
    }
    if exec.args.is_empty() {
        return Err(Error::Invalid("arguments are required".to_owned()));
    }
    Ok(())
}

async fn tell(mut pieces: mpsc::Receiver<StepOutput>, listeners: &Listeners) {
    while let Some(piece) = pieces.recv().await {
        listeners.log(piece.stream, &piece.data, listeners.now());
    }
}

/// The program could not be started: what it would have said, and the code that a shell gives.
fn not_started(exec: &Exec, error: arca_containers::Error, listeners: &Listeners) -> Error {
    let text = arca_types::chain(&error);
    match error.exit_code() {
        code @ (126 | 127) => {
            let line = format!("{text}\n");
            listeners.log(2, line.as_bytes(), listeners.now());
            Error::Exit {
                command: exec.args.join(" "),
                code,
            }
        }
        _ => Error::Containers(Box::new(error)),
    }
}

fn outcome(exec: &Exec, ended: StepEnd) -> Result<(), Error> {
    if ended.cancelled {
        return Err(Error::Cancelled);
    }
    let expected = if exec.valid_exit_codes.is_empty() {
        ended.code == 0
    } else {
        exec.valid_exit_codes.contains(&ended.code)
    };
    if expected {
        return Ok(());
    }
    let exit = Error::Exit {
        command: exec.args.join(" "),
        code: ended.code,
    };
    if ended.oom_killed {
        let text = format!("{exit}: cannot allocate memory");
        return Err(Error::Failed(text));
    }
    Err(exit)
}
