//! Applications for compose.

use std::path::PathBuf;

use crate::docker::Output;
use crate::engine::Engine;
use crate::tools::repository;

/// A compose project of a test. It is taken down, volumes included, when it goes.
#[derive(Debug)]
pub struct Compose<'a> {
    engine: &'a Engine,
    file: PathBuf,
    project: String,
    // Holds a file that the test wrote.
    _directory: Option<tempfile::TempDir>,
}

impl<'a> Compose<'a> {
    /// One of the repository's `examples/`.
    pub fn example(engine: &'a Engine, name: &str) -> Self {
        let file = repository()
            .join("examples")
            .join(name)
            .join("compose.yaml");
        Self {
            engine,
            file,
            project: engine.name(name),
            _directory: None,
        }
    }

    /// A file that says `yaml`, in a directory of its own.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn of(engine: &'a Engine, yaml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("compose.yaml");
        std::fs::write(&file, yaml).unwrap();
        Self {
            engine,
            file,
            project: engine.name("compose"),
            _directory: Some(directory),
        }
    }

    /// The project's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The compose file.
    pub fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// Runs `docker compose` with further arguments.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.engine.docker(&self.arguments(arguments))
    }

    /// All arguments of the docker client for `docker compose` with further ones.
    pub fn arguments<'b>(&'b self, arguments: &[&'b str]) -> Vec<&'b str> {
        let file = self.file.to_str().unwrap_or_default();
        let mut all = vec!["compose", "--ansi=never", "-f", file, "-p", &self.project];
        all.extend(arguments);
        all
    }

    /// The address on the host of a service's port.
    pub fn port(&self, service: &str, index: u32, port: &str) -> String {
        let index = index.to_string();
        self.run(&["port", "--index", &index, service, port]).ok()
    }
}

impl Drop for Compose<'_> {
    fn drop(&mut self) {
        self.run(&["--profile=*", "down", "-v", "-t", "0", "--remove-orphans"]);
    }
}
