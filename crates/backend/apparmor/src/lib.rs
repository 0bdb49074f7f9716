//! AppArmor of the host: whether it is there, which profiles are loaded, and the default profile.
//!
//! The profile has Docker's name, so that what administrators wrote for it holds here, too. It is
//! compiled by the host's `apparmor_parser`: the kernel takes compiled profiles only. That a
//! container's processes run under a profile is the executor's matter.

mod profile;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The profile of containers that ask for none.
pub const DEFAULT_PROFILE: &str = "docker-default";

/// No profile.
pub const UNCONFINED: &str = "unconfined";

/// Where the kernel lists the loaded profiles, a line each: `name (mode)`.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// What can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the kernel or a temporary file.
    #[error("{what} {}", path.display())]
    File {
        /// What was done to it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The program could not be run.
    #[error("running {} failed", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The program refused the profile.
    #[error("running {} failed: {said}", program.display())]
    Parser {
        /// The program.
        program: PathBuf,
        /// What it wrote.
        said: String,
    },
}

/// Whether profiles can be used: the kernel enforces them, and there is a program to compile them.
#[must_use]
pub fn is_supported() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
        && Path::new(PROFILES).exists()
        && parser().is_some()
}

/// Loads the default profile unless it is loaded. It may be unloaded behind our back (by an upgrade of
/// the host's profiles), so this is asked before each start. Blocks; compiling takes a moment.
///
/// # Errors
/// [`Error`] when the list cannot be read or the profile cannot be loaded.
pub fn ensure_default() -> Result<(), Error> {
    let list = fs::read_to_string(PROFILES).map_err(file("open", PROFILES.as_ref()))?;
    if is_listed(&list, DEFAULT_PROFILE) {
        return Ok(());
    }
    load(&profile::text(DEFAULT_PROFILE, &own_profile()))
}

fn is_listed(list: &str, name: &str) -> bool {
    list.lines()
        .any(|line| line.rsplit_once(" (").map(|(profile, _)| profile) == Some(name))
}

/// The profile that this process runs under.
fn own_profile() -> String {
    let paths = [
        "/proc/self/attr/apparmor/current",
        "/proc/self/attr/current",
    ];
    let current = paths.iter().find_map(|path| fs::read_to_string(path).ok());
    name_of(&current.unwrap_or_default())
}

/// Takes the mode from `name (mode)`.
fn name_of(label: &str) -> String {
    let label = label.trim_end_matches(['\n', '\0']);
    let name = label.rsplit_once(" (").map_or(label, |(name, _)| name);
    if name.is_empty() { UNCONFINED } else { name }.to_owned()
}

/// Has the host's program compile and load profiles, without its cache.
fn load(text: &str) -> Result<(), Error> {
    let program = parser().unwrap_or_else(|| PathBuf::from("apparmor_parser"));
    let temporary = |cause| Error::File {
        what: "write",
        path: std::env::temp_dir(),
        cause,
    };
    let mut source = tempfile::NamedTempFile::new().map_err(temporary)?;
    source.write_all(text.as_bytes()).map_err(temporary)?;
    let output = Command::new(&program)
        .args(["-K", "-r"])
        .arg(source.path())
        .output()
        .map_err(|cause| Error::Run {
            program: program.clone(),
            cause,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Parser { program, said })
}

fn parser() -> Option<PathBuf> {
    let places = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];
    places.iter().map(PathBuf::from).find(|path| path.is_file())
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |cause| Error::File { what, path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_listed_by_its_whole_name() {
        let list = "docker-default-x (enforce)\n/usr/bin/man (complain)\nmy profile (enforce)\n";
        assert!(!is_listed(list, "docker-default"));
        assert!(is_listed(list, "docker-default-x"));
        assert!(is_listed(list, "my profile"));
    }

    #[test]
    fn a_label_is_a_name_and_a_mode() {
        assert_eq!(name_of("unconfined\n"), "unconfined");
        assert_eq!(name_of("/usr/bin/arcad (enforce)\n"), "/usr/bin/arcad");
        assert_eq!(name_of(""), "unconfined");
    }
}
