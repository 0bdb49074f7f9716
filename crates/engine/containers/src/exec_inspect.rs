//! `ExecInspect` and `ExecResize`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arca_runtime::ConsoleSize;

use crate::Error;
use crate::exec_create::can_exec;
use crate::execs::Progress;
use crate::keys;
use crate::requests::ExecView;
use crate::service::Containers;

/// How long the news of an exit may take when the process is gone already.
const NEWS: Duration = Duration::from_secs(2);
/// How long a change of the size waits for the process.
const STARTS: Duration = Duration::from_secs(10);

impl Containers {
    /// A session as it is now (`ExecInspect`); also for some minutes after its end.
    ///
    /// # Errors
    /// [`Error::NoSuchExec`].
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecView, Error> {
        let exec = self.find_exec(id)?;
        self.get(exec.container.as_str())
            .map_err(|_gone| Error::NoSuchExec(id.to_owned()))?;
        // Whoever has read the last byte of the output wants to know the exit code, not that the news of
        // it is on its way.
        if let Progress::Running { pid, .. } = exec.progress()
            && !is_alive(pid)
            && tokio::time::timeout(NEWS, exec.ended()).await.is_err()
        {
            tracing::warn!(exec.id = id, "no news of the exit");
        }
        let (running, exit_code, pid) = match exec.progress() {
            Progress::New => (false, None, 0),
            Progress::Starting { .. } => (true, None, 0),
            Progress::Running { pid, .. } => (true, None, pid),
            Progress::Ended { code, pid, .. } => (false, Some(code), pid),
        };
        let request = Arc::clone(&exec.request);
        let (entrypoint, arguments) = match request.cmd.split_first() {
            Some((first, rest)) => (first.clone(), rest.to_vec()),
            None => (String::new(), Vec::new()),
        };
        Ok(ExecView {
            id: exec.id.clone(),
            container: exec.container.clone(),
            entrypoint,
            arguments,
            user: request.user.clone(),
            running,
            exit_code,
            pid,
            detach_keys: match request.detach_keys.as_deref() {
                Some(keys) => keys::parse(Some(keys))?,
                None => Vec::new(),
            },
            can_remove: false,
            request,
        })
    }

    /// Sets the size of a session's terminal, in characters (`ExecResize`).
    ///
    /// # Errors
    /// [`Error::NoSuchExec`]; [`Error::NotRunning`] and its like; [`Error::Failed`] when it is not started
    /// in time.
    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<(), Error> {
        let exec = self.find_exec(id)?;
        can_exec(
            &*self.get(exec.container.as_str())?,
            exec.container.as_str(),
        )?;
        // Whoever starts it may ask for the size at the same time.
        match tokio::time::timeout(STARTS, exec.runs()).await {
            Ok(true) if exec.request.tty => {}
            // A size means nothing to it, and does no harm.
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Error::NoSuchExec(id.to_owned())),
            Err(_elapsed) => {
                let text = "timeout waiting for exec session ready";
                return Err(Error::Failed(text.to_owned()));
            }
        }
        let size = ConsoleSize { width, height };
        let runtime = &self.service().runtime;
        runtime
            .resize(&exec.container, Some(&exec.id), size)
            .await
            .map_err(Error::Runtime)
    }
}

/// Whether a process exists and has not ended.
fn is_alive(pid: u32) -> bool {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read_to_string(Path::new(&path)) {
        // The state is the word behind the name, which is in parentheses.
        Ok(stat) => stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.trim_start().chars().next())
            .is_some_and(|state| !matches!(state, 'Z' | 'X')),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_not_alive() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
    }
}
