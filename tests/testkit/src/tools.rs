//! Where the programs are that tests use: those of this build, and the clients that `./test` gets.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A program of this build: in `ARCA_TEST_BIN`, or beside the directory of the test's executable.
pub fn built(name: &str) -> PathBuf {
    let directory = match std::env::var_os("ARCA_TEST_BIN") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().to_owned()
        }
    };
    let path = directory.join(name);
    assert!(
        path.exists(),
        "{} is not built: run ./test, or cargo build --bins",
        path.display()
    );
    path
}

/// A client or server that is not ours: from the tools that `scripts/tools` made, or from `PATH`.
pub(crate) fn found(name: &str) -> PathBuf {
    let own = tools().join("bin").join(name);
    if own.exists() {
        return own;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run scripts/tools"))
}

/// The directory that `scripts/tools` fills.
pub(crate) fn tools() -> PathBuf {
    match std::env::var_os("ARCA_TOOLS") {
        Some(directory) => directory.into(),
        None => repository().join(".arca/tools"),
    }
}

/// Runs a program to its end and returns what it wrote.
///
/// # Panics
/// When it cannot be started or fails.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A Python that has docker-py: `scripts/tools python` makes it once.
///
/// # Panics
/// When it cannot be made.
pub fn docker_py() -> PathBuf {
    made("python", "python/bin/python")
}

/// A Python that has schemathesis: `scripts/tools schemathesis` makes it once.
///
/// # Panics
/// When it cannot be made.
pub fn schemathesis() -> PathBuf {
    made("schemathesis", "schemathesis/bin/python")
}

/// A Python that has paramiko: `scripts/tools paramiko` makes it once.
///
/// # Panics
/// When it cannot be made.
pub fn paramiko() -> PathBuf {
    made("paramiko", "paramiko/bin/python")
}

/// A Python that has Testcontainers: `scripts/tools testcontainers` makes it once.
///
/// # Panics
/// When it cannot be made.
pub fn testcontainers() -> PathBuf {
    made("testcontainers", "testcontainers/bin/python")
}

/// The docker client.
///
/// # Panics
/// When there is none.
pub fn docker_cli() -> PathBuf {
    found("docker")
}

/// A docker client of another age, `20.10` (2020, API 1.41, classic builder and BuildKit by `POST /build`),
/// `26.1` (2024, API 1.45) or `newest`: `scripts/tools clis` gets them once.
///
/// # Panics
/// When it cannot be had.
pub fn docker_of(age: &str) -> PathBuf {
    made("clis", &format!("bin/docker-{age}"))
}

/// A Python that has docker-py 1.10, of 2016: `scripts/tools old-python` makes it once.
///
/// # Panics
/// When it cannot be made.
pub fn old_docker_py() -> PathBuf {
    made("old-python", "old-python/bin/python")
}

/// The program in `tests/acceptance/rust`: `scripts/tools testcontainers-rust` builds it.
///
/// # Panics
/// When it cannot be built.
pub fn testcontainers_rust() -> PathBuf {
    // Another one when its source has changed.
    run(Command::new(repository().join("scripts/tools")).arg("testcontainers-rust"));
    tools().join("bin/testcontainers-rust")
}

/// The directory of packages for Node: `scripts/tools node` makes it once.
///
/// # Panics
/// When it cannot be made.
pub fn node_modules() -> PathBuf {
    made("node", "node/node_modules")
}

/// A tool that `scripts/tools WHAT` makes.
fn made(what: &str, path: &str) -> PathBuf {
    let tool = tools().join(path);
    if !tool.exists() {
        run(Command::new(repository().join("scripts/tools")).arg(what));
    }
    tool
}

/// Compiles a program in C that needs no library at run time: what tries system calls, or what only a
/// program of its own can do in a container. On a machine without a compiler it is in the directory
/// `ARCA_TEST_PROGRAMS`, by its name.
///
/// # Panics
/// When it does not compile.
#[track_caller]
pub fn static_c(source: &str, program: &Path) {
    if let Some(made) = std::env::var_os("ARCA_TEST_PROGRAMS") {
        let made = Path::new(&made).join(program.file_name().unwrap());
        std::fs::copy(made, program).unwrap();
        return;
    }
    let file = program.with_extension("c");
    std::fs::write(&file, source).unwrap();
    let mut compiler = Command::new("cc");
    run(compiler
        .args(["-static", "-O1", "-o"])
        .arg(program)
        .arg(file));
}
