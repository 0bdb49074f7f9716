//! A foreign runtime: a program with runc's command line, such as runc, crun, runsc or youki.
//!
//! The helper mounts the root filesystem in a mount namespace of its own and runs the program in it.
//! What the program keeps is in `<state root>/.runtime`; beside it is our own record.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use arca_shim_proto::RuntimeKind;
use arca_sys::process::{Namespace, unshare};
use oci_spec::runtime::{LinuxResources, Root};
use serde::Deserialize;

use crate::builtin::{self, Foreign, Maps, Place, Prepared, State, as_bind};
use crate::cgroup::{CgroupPaths, Layout};
use crate::error::{Context, ExecError, FailureKind};
use crate::request::{Container, ExecRequest, RunRequest, Started, Streams};

mod console;

/// The program, for one container.
#[derive(Debug)]
pub(crate) struct Binary<'a> {
    container: &'a Container,
    program: &'a Path,
    args: &'a [String],
}

impl<'a> Binary<'a> {
    /// Returns the program that made `container`; `None` when that is this crate itself.
    pub(crate) fn of(container: &'a Container) -> Option<Self> {
        match &container.runtime {
            RuntimeKind::BuiltIn => None,
            RuntimeKind::Binary { path, args } => Some(Self {
                container,
                program: path,
                args,
            }),
        }
    }

    /// Creates and starts the container.
    pub(crate) fn run(&self, request: &RunRequest) -> Result<Started, ExecError> {
        let failed = |error: ExecError| error.within("OCI runtime create failed");
        let place = Place::new(&self.container.state_root, &self.container.id).map_err(failed)?;
        place.create().map_err(failed)?;
        self.create_and_start(request, &place).map_err(|error| {
            drop(self.delete(true));
            drop(place.remove());
            failed(error)
        })
    }

    fn create_and_start(&self, request: &RunRequest, place: &Place) -> Result<Started, ExecError> {
        let layout = Layout::read()?;
        let cgroup = CgroupPaths::plan(&request.cgroup, &self.container.id, &layout)?;
        let mounts = request.spec.mounts().as_deref().unwrap_or_default();
        let maps = request.spec.linux().as_ref().and_then(Maps::of);
        if maps.is_some() {
            let name = self.program.display();
            return Err(ExecError::other(format!(
                "{name}: user namespaces need the built-in runtime"
            )));
        }
        let foreign = Foreign::open(mounts)?;
        let prepared = Prepared::open(mounts, false)?;
        let rootfs = self.mount_rootfs(request, place)?;
        let foreign = foreign.attach_below(&place.path(""))?;
        let prepared = prepared.attach_below(&place.path(""))?;
        self.write_bundle(request, rootfs, &foreign, prepared)?;
        let pid_file = place.path("pid");
        let mut args = vec!["create", "--bundle"];
        let (bundle, pid_path) = (text(&request.bundle)?, text(&pid_file)?);
        args.extend([bundle, "--pid-file", pid_path]);
        self.with_streams(place, request.cgroup.systemd, &args, &request.streams)?;
        let pid = read_pid(&pid_file)?;
        place.save(&State {
            id: self.container.id.clone(),
            pid,
            started: builtin::start_time(pid).unwrap_or_default(),
            bundle: request.bundle.clone(),
            cgroup,
            user_namespace: false,
            joins: Vec::new(),
            hooks: None,
            annotations: std::collections::BTreeMap::new(),
        })?;
        self.simple(&["start"])?;
        Ok(Started { pid })
    }

    /// Mounts the root where only this process and what it starts sees it.
    fn mount_rootfs(&self, request: &RunRequest, place: &Place) -> Result<PathBuf, ExecError> {
        let linux = request.spec.linux().as_ref();
        let linux = linux.ok_or_else(|| ExecError::other("the configuration lacks linux"))?;
        let target = place.path("rootfs");
        fs::create_dir(&target).context(|| format!("mkdir {}", target.display()))?;
        let root = builtin::detached_root(&request.rootfs, None)?;
        unshare(Namespace::Mount).context(|| "unshare the mount namespace")?;
        builtin::attach_root(root.as_fd(), Some(&target), linux)?;
        Ok(target)
    }

    /// Writes the configuration; `moved` says where the sources of some mounts are now, and `prepared` where the
    /// mounts for some places are already.
    fn write_bundle(
        &self,
        request: &RunRequest,
        rootfs: PathBuf,
        moved: &[(PathBuf, PathBuf)],
        prepared: Vec<(PathBuf, PathBuf)>,
    ) -> Result<(), ExecError> {
        let mut spec = request.spec.clone();
        for (destination, place) in prepared {
            let mut mounts = spec.mounts_mut().iter_mut().flatten();
            if let Some(mount) = mounts.find(|mount| *mount.destination() == destination) {
                as_bind(mount, place);
            }
        }
        for mount in spec.mounts_mut().iter_mut().flatten() {
            let to = moved
                .iter()
                .find(|(from, _)| mount.source().as_ref() == Some(from));
            if let Some((_, place)) = to {
                mount.set_source(Some(place.clone()));
            }
        }
        let mut root = Root::default();
        root.set_path(rootfs);
        root.set_readonly(request.spec.root().as_ref().and_then(Root::readonly));
        spec.set_root(Some(root));
        if let Some(linux) = spec.linux_mut() {
            let path = Some(&request.cgroup.path).filter(|path| !path.is_empty());
            let path = path
                .cloned()
                .unwrap_or_else(|| format!("/arca/{}", self.container.id));
            linux.set_cgroups_path(Some(PathBuf::from(path)));
        }
        let config = request.bundle.join("config.json");
        let what = || format!("write {}", config.display());
        let json = serde_json::to_vec(&spec)
            .map_err(|error| ExecError::other(format!("{}: {error}", what())))?;
        fs::create_dir_all(&request.bundle)
            .and_then(|()| fs::write(&config, json))
            .context(what)
    }

    /// Starts a further process.
    pub(crate) fn exec(&self, request: &ExecRequest) -> Result<Started, ExecError> {
        let failed = |error: ExecError| error.within("OCI runtime exec failed");
        let place = Place::new(&self.container.state_root, &self.container.id).map_err(failed)?;
        place.load_existing().map_err(failed)?;
        self.start_exec(request, &place).map_err(failed)
    }

    fn start_exec(&self, request: &ExecRequest, place: &Place) -> Result<Started, ExecError> {
        // The name is this helper's own: several may be at work for one container.
        let name = std::process::id();
        let (process_file, pid_file) = (
            place.path(&format!("process-{name}.json")),
            place.path(&format!("pid-{name}")),
        );
        let json = serde_json::to_vec(&request.process)
            .map_err(|error| ExecError::other(format!("encode the process: {error}")))?;
        fs::write(&process_file, json).context(|| format!("write {}", process_file.display()))?;
        let (process_path, pid_path) = (text(&process_file)?, text(&pid_file)?);
        let args = [
            "exec",
            "--detach",
            "--process",
            process_path,
            "--pid-file",
            pid_path,
        ];
        let result = self
            .with_streams(place, false, &args, &request.streams)
            .and_then(|()| read_pid(&pid_file));
        drop(fs::remove_file(&process_file));
        drop(fs::remove_file(&pid_file));
        result.map(|pid| Started { pid })
    }

    /// Runs a command that passes its standard streams, or a terminal of its own, to the container.
    fn with_streams(
        &self,
        place: &Place,
        systemd: bool,
        args: &[&str],
        streams: &Streams,
    ) -> Result<(), ExecError> {
        let log = place.path(&format!("log-{}.json", std::process::id()));
        let mut command = self.command(Some(&log));
        if systemd {
            command.arg("--systemd-cgroup");
        }
        command.args(args);
        let result = match streams {
            Streams::Pipes([stdin, stdout, stderr]) => {
                let stream = |fd: &OwnedFd| fd.try_clone().map(Stdio::from).context(|| "dup");
                command
                    .stdin(stream(stdin)?)
                    .stdout(stream(stdout)?)
                    .stderr(stream(stderr)?);
                command
                    .arg(&self.container.id)
                    .spawn()
                    .and_then(|mut child| child.wait())
            }
            Streams::Console(socket) => {
                let listener = console::Listener::new(place)?;
                command
                    .arg("--console-socket")
                    .arg(listener.path())
                    .arg(&self.container.id);
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                command
                    .spawn()
                    .and_then(|child| listener.relay(child, socket))
            }
        };
        let status = result.context(|| self.program.display().to_string())?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        drop(fs::remove_file(&log));
        if status.success() {
            return Ok(());
        }
        Err(failure(&said)
            .unwrap_or_else(|| ExecError::other(format!("{}: {status}", self.program.display()))))
    }

    /// Runs `COMMAND ID ARGS..`.
    pub(crate) fn simple(&self, command: &[&str]) -> Result<(), ExecError> {
        let (name, rest) = command.split_first().unwrap_or((&"", &[]));
        let mut all = self.command(None);
        all.arg(name)
            .arg(&self.container.id)
            .args(rest)
            .stdin(Stdio::null());
        self.finish(
            all.stdout(Stdio::null()).stderr(Stdio::piped()).spawn(),
            &[],
        )
    }

    /// Changes limits.
    pub(crate) fn update(&self, resources: &LinuxResources) -> Result<(), ExecError> {
        let json = serde_json::to_vec(resources)
            .map_err(|error| ExecError::other(format!("encode the resources: {error}")))?;
        let mut command = self.command(None);
        command
            .args(["update", "--resources", "-", &self.container.id])
            .stdin(Stdio::piped());
        self.finish(
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn(),
            &json,
        )
    }

    /// Removes what the program keeps; a container that it does not know is fine. One that is
    /// `running` is ended first, for which runc takes 100 ms at least.
    pub(crate) fn delete(&self, running: bool) -> Result<(), ExecError> {
        if !self.root().join(&self.container.id).exists() {
            return Ok(());
        }
        let mut all = self.command(None);
        all.arg("delete")
            .args(running.then_some("--force"))
            .arg(&self.container.id)
            .stdin(Stdio::null());
        self.finish(
            all.stdout(Stdio::null()).stderr(Stdio::piped()).spawn(),
            &[],
        )
    }

    fn finish(&self, child: io::Result<Child>, input: &[u8]) -> Result<(), ExecError> {
        let what = || self.program.display().to_string();
        let mut child = child.context(what)?;
        if let Some(mut stdin) = child.stdin.take() {
            drop(stdin.write_all(input));
        }
        let output = child.wait_with_output().context(what)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        Err(describe(last))
    }

    fn command(&self, log: Option<&Path>) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.args).arg("--root").arg(self.root());
        if let Some(log) = log {
            command.arg("--log").arg(log).args(["--log-format", "json"]);
        }
        command
    }

    fn root(&self) -> PathBuf {
        self.container.state_root.join(".runtime")
    }
}

/// One line of the program's log.
#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

/// Finds the last error in the program's log.
fn failure(log: &str) -> Option<ExecError> {
    let lines = log
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let last = lines
        .into_iter()
        .find(|line| line.level == "error" || line.level == "fatal");
    last.map(|line| describe(&line.msg))
}

/// A foreign program says what went wrong in words alone: here, and only here, they are what there
/// is to go by, as they are for dockerd.
fn describe(message: &str) -> ExecError {
    let has = |words: &str| message.contains(words);
    // dockerd adds the words by which clients know that the command cannot be executed.
    if message.ends_with(": is a directory") {
        let message = format!("{message}: permission denied");
        return ExecError {
            kind: FailureKind::PermissionDenied,
            message,
        };
    }
    let kind = if has("permission denied") {
        FailureKind::PermissionDenied
    } else if has("executable file not found")
        || has("no such file or directory")
        || has("not a directory")
    {
        FailureKind::NotFound
    } else {
        FailureKind::Other
    };
    ExecError {
        kind,
        message: message.to_owned(),
    }
}

fn text(path: &Path) -> Result<&str, ExecError> {
    path.to_str()
        .ok_or_else(|| ExecError::other(format!("{} is not UTF-8", path.display())))
}

fn read_pid(file: &Path) -> Result<i32, ExecError> {
    let said = fs::read_to_string(file).context(|| format!("open {}", file.display()))?;
    said.trim()
        .parse()
        .map_err(|_nan| ExecError::other(format!("{}: no process ID", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_the_log_counts() {
        let log = "{\"level\":\"warning\",\"msg\":\"a\",\"time\":\"x\"}\nnoise\n\
            {\"level\":\"error\",\"msg\":\"runc create failed: exec: \\\"x\\\": executable file not found in $PATH\"}\n";
        let error = failure(log).unwrap();
        assert_eq!(error.kind, FailureKind::NotFound);
        assert!(error.message.starts_with("runc create failed: exec"));
        assert!(failure("").is_none());
        assert_eq!(
            describe("exec: \"/etc\": is a directory: permission denied").kind,
            FailureKind::PermissionDenied
        );
    }
}
