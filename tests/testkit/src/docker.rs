//! The docker command line client, pointed at an engine.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::netns::NetNs;
use crate::tools::{found, tools};

/// What a command wrote and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its standard output, byte for byte.
    pub raw: Vec<u8>,
    /// Its standard output as text.
    pub stdout: String,
    /// Its standard error as text.
    pub stderr: String,
    /// Its exit code; 128 and the signal when one ended it.
    pub code: i32,
    /// How long it ran.
    pub took: Duration,
    what: String,
}

impl Output {
    pub(crate) fn of(what: String, output: std::process::Output, took: Duration) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code();
        let code = code.or_else(|| output.status.signal().map(|signal| 128 + signal));
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            raw: output.stdout,
            code: code.unwrap(),
            took,
            what,
        }
    }

    /// Returns the trimmed standard output of a command that must have succeeded.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect(0).stdout.trim_end().to_owned()
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout\n{:.4000}\n--- stderr\n{:.4000}",
            self.what, self.stdout, self.stderr
        );
        self
    }
}

/// The docker client of a test: its engine, and a configuration directory of its own.
#[derive(Debug)]
pub struct Docker {
    host: String,
    config: tempfile::TempDir,
}

impl Docker {
    /// A client for the engine at `host`.
    pub(crate) fn new(host: &str) -> Self {
        let config = tempfile::tempdir().unwrap();
        std::fs::write(config.path().join("config.json"), "{}").unwrap();
        let plugins = tools().join("cli-plugins");
        if plugins.exists() {
            std::os::unix::fs::symlink(plugins, config.path().join("cli-plugins")).unwrap();
        }
        Self {
            host: host.to_owned(),
            config,
        }
    }

    /// The directory of the client's configuration (`DOCKER_CONFIG`).
    pub fn config_dir(&self) -> PathBuf {
        self.config.path().to_owned()
    }

    /// The client as a command that is not started yet, in `netns` when given.
    pub fn command(&self, arguments: &[&str], netns: Option<&NetNs>) -> Command {
        let program = found("docker");
        let mut command = match netns {
            Some(netns) => netns.command(program),
            None => Command::new(program),
        };
        command
            .args(arguments)
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_CONFIG", self.config.path())
            .env_remove("DOCKER_CONTEXT")
            .env("DOCKER_CLI_HINTS", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the client to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(&mut self.command(arguments, None))
    }

    /// Runs the client to its end with `input` as its standard input.
    #[track_caller]
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        self.run_fed(arguments, |stdin| stdin.write_all(input))
    }

    /// Runs the client to its end with what `feed` writes as its standard input.
    #[track_caller]
    pub fn run_fed(
        &self,
        arguments: &[&str],
        feed: impl FnOnce(&mut ChildStdin) -> std::io::Result<()> + Send,
    ) -> Output {
        let mut command = self.command(arguments, None);
        command.stdin(Stdio::piped());
        let begin = Instant::now();
        let what = format!("{arguments:?}");
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A client that ends early closes its input; its exit code tells the story.
                drop(feed(&mut stdin));
            });
            Output::of(what, child.wait_with_output().unwrap(), begin.elapsed())
        })
    }

    /// Starts the client and returns at once.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments, None).spawn().unwrap()
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Output {
    let begin = Instant::now();
    let what = format!("{command:?}");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    Output::of(what, output, begin.elapsed())
}
