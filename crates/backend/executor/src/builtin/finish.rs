//! The last steps of a container's process, the same for its init and for an exec: from a root
//! process inside the container to the program that was asked for.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};

use arca_sys::process::{close_from_three_on_exec, execute, join_session_keyring};
use arca_sys::startup::reset_signals;
use oci_spec::runtime::Process;
use rustix::process::{chdir, getcwd};
use rustix::thread::set_no_new_privs;

use super::channel::ChildEnd;
use super::{lookup, user};
use crate::error::{Context, ExecError, os_text};
use crate::seccomp::Filter;

/// The exit code of a process whose program could not be executed though it was found.
const EXECUTION_FAILED: u8 = 255;

/// What must be opened or done while the process still sees the host.
#[derive(Debug)]
pub(super) struct Prepared {
    apparmor: Option<(File, String)>,
}

/// Opens what the last steps need from the host's `/proc`, and leaves the host's keyring.
pub(super) fn prepare(process: &Process, id: &str) -> Result<Prepared, ExecError> {
    let keyring = CString::new(format!("_ses.{id}")).unwrap_or_default();
    match join_session_keyring(&keyring) {
        Ok(()) => {}
        // A kernel without keyrings, or a filter around this engine that forbids them, has none to
        // share; a full quota is as runc reports it.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(ExecError::os("unable to join session keyring", &error)),
    }
    let profile = process.apparmor_profile().as_deref().unwrap_or_default();
    let apparmor = match profile {
        "" => None,
        profile => {
            let open = |path| File::options().write(true).open(path);
            let file = open("/proc/thread-self/attr/apparmor/exec")
                .or_else(|_old| open("/proc/thread-self/attr/exec"))
                .context(|| "unable to apply apparmor profile")?;
            Some((file, profile.to_owned()))
        }
    };
    Ok(Prepared { apparmor })
}

/// Becomes the process, or says on `channel` why not. Returns the exit code of the failure.
pub(super) fn become_process(
    process: &Process,
    filter: Option<&Filter>,
    prepared: Prepared,
    setgroups: bool,
    channel: &ChildEnd,
) -> u8 {
    match last_steps(process, filter, prepared, setgroups) {
        Ok((program, arguments, environment)) => {
            channel.running();
            let late = process.no_new_privileges() == Some(true);
            if let Some(Err(error)) = filter.filter(|_| late).map(Filter::load) {
                channel.fail(error);
                return 1;
            }
            // What this program ignores (SIGPIPE, by Rust's runtime) the container's must not.
            reset_signals();
            let error = execute(&program, &arguments, &environment);
            // The process counts as started, as with runc: this is the first thing it says.
            let name = arguments.first().unwrap_or(&program).to_string_lossy();
            drop(writeln!(io::stderr(), "exec {name}: {}", os_text(&error)));
            EXECUTION_FAILED
        }
        Err(error) => {
            channel.fail(error);
            1
        }
    }
}

type Program = (CString, Vec<CString>, Vec<CString>);

fn last_steps(
    process: &Process,
    filter: Option<&Filter>,
    prepared: Prepared,
    setgroups: bool,
) -> Result<Program, ExecError> {
    if let Some((mut file, profile)) = prepared.apparmor {
        file.write_all(format!("exec {profile}").as_bytes())
            .context(|| "unable to apply apparmor profile")?;
    }
    let no_new_privileges = process.no_new_privileges() == Some(true);
    if no_new_privileges {
        set_no_new_privs(true).context(|| "unable to set no new privileges")?;
    } else if let Some(filter) = filter {
        // Needs a capability that the process is about to lose.
        filter.load()?;
    }
    let variables = process.env().as_deref().unwrap_or_default();
    let environment = user::environment(variables, process.user().uid());
    close_from_three_on_exec().context(|| "unable to close descriptors")?;

    let cwd = process.cwd();
    let again = match chdir(cwd) {
        Ok(()) => false,
        Err(_) if cwd.as_os_str().is_empty() => false,
        // Root may be squashed where the user is not, and the other way round.
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => true,
        Err(error) => return Err(no_cwd(process, error)),
    };
    user::switch(process, setgroups)?;
    if again {
        chdir(cwd).map_err(|error| no_cwd(process, error))?;
    }
    user::drop_capabilities(process)?;
    verify_cwd()?;

    let arguments = process.args().as_deref().unwrap_or_default();
    let command = arguments
        .first()
        .ok_or_else(|| ExecError::other("args must not be empty"))?;
    let path = environment
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let program = lookup::find(command, path.unwrap_or_default())?;
    Ok((program, to_c(arguments)?, to_c(&environment)?))
}

fn no_cwd(process: &Process, error: rustix::io::Errno) -> ExecError {
    let cwd = process.cwd().display().to_string();
    ExecError::os(
        format!("chdir to cwd ({cwd:?}) set in config.json failed"),
        &error.into(),
    )
}

/// A working directory that is not below the root is a way out of the container.
fn verify_cwd() -> Result<(), ExecError> {
    let inside = match getcwd(Vec::new()) {
        Ok(path) => path.to_bytes().first() == Some(&b'/'),
        // The directory is there and deleted, or not readable: it is not a way out.
        Err(rustix::io::Errno::ACCESS) => true,
        Err(_) => false,
    };
    if inside {
        return Ok(());
    }
    Err(ExecError::other(
        "current working directory is outside of container mount namespace root -- possible container breakout detected",
    ))
}

fn to_c(strings: &[String]) -> Result<Vec<CString>, ExecError> {
    let convert = |text: &String| CString::new(text.as_bytes());
    strings
        .iter()
        .map(convert)
        .collect::<Result<_, _>>()
        .map_err(|_nul| ExecError::other(format!("exec: {:?}: invalid argument", strings.first())))
}
