//! Repositories by SSH: the client's agent signs; keys and settings of this host's users are not read.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Error;
use crate::exec::secrets::SecretDir;
use crate::exec::ssh::{Agent, forward};
use crate::graph::{GitSource, SshMount};
use crate::solve::{Step, blocking};

/// What git runs, by a shell. The file is named by a variable, so that no path is ever taken apart.
const COMMAND: &str = "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o ForwardAgent=no \
     -o ConnectTimeout=30 -o GlobalKnownHostsFile=/dev/null -o \"UserKnownHostsFile=\\\"$ARCA_KNOWN_HOSTS\\\"\"";

/// How one source is reached, as long as this lives.
#[derive(Debug)]
pub(super) struct Ssh {
    socket: PathBuf,
    known_hosts: PathBuf,
    /// Are the host's keys given? Else the first one that it shows is taken.
    strict: bool,
    _agent: Agent,
    _directory: SecretDir,
}

/// Is this repository reached by SSH?
pub(crate) fn is_ssh(remote: &str) -> bool {
    // user@host:path
    remote.starts_with("ssh://") || !remote.contains("://")
}

impl Ssh {
    /// Forwards the agent that a source wants; `None` when it wants none. Files are written into `work`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the client has no such agent; [`Error::Unsupported`] for a source that has
    /// to be reached by SSH and says none.
    pub(super) async fn new(
        step: &Step,
        source: &GitSource,
        work: &Path,
    ) -> Result<Option<Self>, Error> {
        let Some(id) = &source.mount_ssh_sock else {
            if is_ssh(&source.remote) {
                let text = "git repositories by SSH need an SSH agent of a build client";
                return Err(Error::Unsupported(text.to_owned()));
            }
            return Ok(None);
        };
        let mount = SshMount {
            id: id.clone(),
            uid: 0,
            gid: 0,
            mode: 0o600,
            optional: false,
        };
        let directory = step.job.0.service.secrets.directory()?;
        let unset = || Error::NotFound(format!("unset ssh forward key {id}"));
        let forwarded = forward(step, &mount, (&directory, "agent")).await?;
        let (agent, socket) = forwarded.ok_or_else(unset)?;
        let known_hosts = work.join("known_hosts");
        let (path, given) = (known_hosts.clone(), source.known_ssh_hosts.clone());
        blocking(move || std::fs::write(&path, given).map_err(Error::file("write", &path))).await?;
        Ok(Some(Self {
            socket,
            known_hosts,
            strict: !source.known_ssh_hosts.is_empty(),
            _agent: agent,
            _directory: directory,
        }))
    }

    /// Lets a call of git use it.
    pub(super) fn apply(&self, command: &mut Command) {
        let checking = if self.strict { "yes" } else { "accept-new" };
        let text = format!("{COMMAND} -o StrictHostKeyChecking={checking}");
        command
            .env("SSH_AUTH_SOCK", &self.socket)
            .env("ARCA_KNOWN_HOSTS", &self.known_hosts)
            .env("GIT_SSH_COMMAND", text)
            .env("GIT_SSH_VARIANT", "ssh");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_by_ssh_are_told_by_their_names() {
        for remote in ["ssh://git@host/r", "ssh://host:22/r.git", "git@host:r.git"] {
            assert!(is_ssh(remote), "{remote}");
        }
        for remote in ["https://git@host/r", "http://host/ssh://", "git://host/r"] {
            assert!(!is_ssh(remote), "{remote}");
        }
    }

    #[test]
    fn ssh_takes_the_command_and_the_file_whatever_its_name() {
        let asked = format!("{COMMAND} -o StrictHostKeyChecking=accept-new -G host");
        let shell = std::process::Command::new("sh")
            .args(["-c", &asked])
            .env("ARCA_KNOWN_HOSTS", "/a b/known_hosts")
            .output()
            .unwrap();
        if shell.status.code() == Some(127) {
            // There is no ssh here.
            return;
        }
        let settings = String::from_utf8(shell.stdout).unwrap();
        for setting in [
            "userknownhostsfile /a b/known_hosts",
            "stricthostkeychecking accept-new",
            "identityfile none",
            "batchmode yes",
        ] {
            assert!(settings.contains(setting), "{settings}");
        }
    }
}
