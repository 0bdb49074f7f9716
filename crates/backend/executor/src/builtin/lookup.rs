//! Which file a command is: as a shell finds it, and with runc's words when there is none.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;

use crate::error::{ExecError, FailureKind, os_text};

/// Finds `command` in the directories of `path` (the value of PATH), inside this process's root and
/// with this process's rights.
pub(super) fn find(command: &str, path: &str) -> Result<CString, ExecError> {
    let quoted = format!("exec: {command:?}");
    if command.contains('/') {
        return match check(Path::new(command)) {
            Ok(()) => to_c(Path::new(command)),
            Err(failure) => Err(failure.describe(&quoted, command)),
        };
    }
    for dir in path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let candidate: PathBuf = Path::new(dir).join(command);
        if !command.is_empty() && check(&candidate).is_ok() {
            if !candidate.is_absolute() {
                let message =
                    format!("{quoted}: cannot run executable found relative to current directory");
                return Err(ExecError::other(message));
            }
            return to_c(&candidate);
        }
    }
    let message = format!("{quoted}: executable file not found in $PATH");
    Err(ExecError {
        kind: FailureKind::NotFound,
        message,
    })
}

/// Why a file cannot be executed.
enum Refusal {
    Missing(io::Error),
    Directory,
    Denied(io::Error),
}

impl Refusal {
    fn describe(self, quoted: &str, command: &str) -> ExecError {
        match self {
            Self::Missing(error) => ExecError::os(format!("{quoted}: stat {command}"), &error),
            // dockerd decides by the words "permission denied" and adds them.
            Self::Directory => ExecError {
                kind: FailureKind::PermissionDenied,
                message: format!("{quoted}: is a directory: permission denied"),
            },
            Self::Denied(error) => ExecError {
                kind: FailureKind::PermissionDenied,
                message: format!("{quoted}: {}", os_text(&error)),
            },
        }
    }
}

fn check(file: &Path) -> Result<(), Refusal> {
    let found = stat(file).map_err(|error| Refusal::Missing(error.into()))?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        return Err(Refusal::Directory);
    }
    match accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        // Kernels before 5.8 and filters know only the call without flags: the mode has to do.
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) if found.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            Err(Refusal::Denied(Errno::ACCESS.into()))
        }
        Err(error) => Err(Refusal::Denied(error.into())),
    }
}

fn to_c(path: &Path) -> Result<CString, ExecError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_nul| {
        ExecError::other(format!(
            "exec: {:?}: invalid argument",
            path.display().to_string()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn message(command: &str, path: &str) -> (FailureKind, String) {
        let error = find(command, path).unwrap_err();
        (error.kind, error.message)
    }

    #[test]
    fn what_is_not_there_is_said_as_runc_says_it() {
        let not_found = FailureKind::NotFound;
        let expected = "exec: \"nosuchcmd\": executable file not found in $PATH";
        assert_eq!(
            message("nosuchcmd", "/bin:/usr/bin"),
            (not_found, expected.to_owned())
        );
        let expected = "exec: \"/no/such\": stat /no/such: no such file or directory";
        assert_eq!(
            message("/no/such", "/bin"),
            (not_found, expected.to_owned())
        );
        let expected = "exec: \"\": executable file not found in $PATH";
        assert_eq!(message("", "/bin"), (not_found, expected.to_owned()));
    }

    #[test]
    fn what_cannot_be_executed_is_denied() {
        let denied = FailureKind::PermissionDenied;
        let expected = "exec: \"/etc\": is a directory: permission denied";
        assert_eq!(message("/etc", "/bin"), (denied, expected.to_owned()));
        let expected = "exec: \"/etc/passwd\": permission denied";
        assert_eq!(
            message("/etc/passwd", "/bin"),
            (denied, expected.to_owned())
        );
    }

    #[test]
    fn the_first_file_that_can_be_executed_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        for dir in [&one, &two] {
            std::fs::create_dir(dir).unwrap();
            std::fs::write(dir.join("tool"), "").unwrap();
        }
        std::fs::set_permissions(two.join("tool"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("/nowhere:{}:{}", one.display(), two.display());
        let found = find("tool", &path).unwrap();
        assert_eq!(found.to_str().unwrap(), two.join("tool").to_str().unwrap());
    }
}
