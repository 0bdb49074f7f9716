//! What the helper and the process that it makes say to each other.
//!
//! One datagram socket. The child says that it is about to execute the program, and its end closes
//! by itself when that is done: "end of file" after that word is success.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send};

use crate::error::{Context, ExecError};

/// A failure's text is cut to this many bytes, far below what a datagram holds.
const LONGEST: usize = 32 * 1024;
const HOOKS: &[u8] = b"hooks";
const RUNNING: &[u8] = b"running";

/// The helper's end.
#[derive(Debug)]
pub(super) struct HelperEnd(OwnedFd);

/// The child's end.
#[derive(Debug)]
pub(super) struct ChildEnd(OwnedFd);

/// What the helper hears.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The container's namespaces and mounts are there: run the hooks, then say go.
    Hooks,
    /// The child gives up.
    Failed(ExecError),
    /// Everything is done but the execution of the program.
    Running,
    /// The child's end is closed: by executing the program, or by the child's end.
    Closed,
}

/// Makes both ends.
pub(super) fn pair() -> io::Result<(HelperEnd, ChildEnd)> {
    let (helper, child) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((HelperEnd(helper), ChildEnd(child)))
}

impl HelperEnd {
    /// Lets the child go on.
    pub(super) fn go(&self) -> Result<(), ExecError> {
        send(&self.0, b"go", SendFlags::NOSIGNAL).context(|| "write to the init process")?;
        Ok(())
    }

    /// Waits for the child's next word.
    pub(super) fn hear(&self) -> Result<Heard, ExecError> {
        let mut buffer = vec![0; LONGEST * 2];
        let (length, _) = retry(|| recv(&self.0, &mut buffer[..], RecvFlags::empty()))
            .context(|| "read from the init process")?;
        let word = buffer.get(..length).unwrap_or_default();
        match word {
            [] => Ok(Heard::Closed),
            HOOKS => Ok(Heard::Hooks),
            RUNNING => Ok(Heard::Running),
            failure => serde_json::from_slice(failure)
                .map(Heard::Failed)
                .map_err(|error| ExecError::other(format!("read from the init process: {error}"))),
        }
    }
}

impl ChildEnd {
    /// Waits until the helper says go.
    pub(super) fn wait(&self) -> Result<(), ExecError> {
        let mut buffer = [0; 2];
        let (length, _) = retry(|| recv(&self.0, &mut buffer[..], RecvFlags::empty()))
            .context(|| "read from the helper")?;
        if length == 0 {
            Err(ExecError::other("the helper is gone"))
        } else {
            Ok(())
        }
    }

    /// Asks for the hooks of the runtime's namespaces and waits until they have run.
    pub(super) fn hooks(&self) -> Result<(), ExecError> {
        send(&self.0, HOOKS, SendFlags::NOSIGNAL).context(|| "write to the helper")?;
        self.wait()
    }

    /// Says that the program is executed next.
    pub(super) fn running(&self) {
        send(&self.0, RUNNING, SendFlags::NOSIGNAL).ok();
    }

    /// Says that this is the end. What cannot be said is lost: nobody is left to hear it.
    pub(super) fn fail(&self, mut failure: ExecError) {
        if failure.message.len() > LONGEST {
            let end = (0..=LONGEST)
                .rev()
                .find(|&at| failure.message.is_char_boundary(at));
            failure.message.truncate(end.unwrap_or(0));
        }
        if let Ok(text) = serde_json::to_vec(&failure) {
            send(&self.0, &text, SendFlags::NOSIGNAL).ok();
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_as_it_was_said() {
        let (helper, child) = pair().unwrap();
        child.fail(ExecError::other("x: permission denied"));
        assert_eq!(
            helper.hear().unwrap(),
            Heard::Failed(ExecError::other("x: permission denied"))
        );
    }

    #[test]
    fn the_end_of_the_childs_side_is_heard() {
        let (helper, child) = pair().unwrap();
        child.running();
        drop(child);
        assert_eq!(helper.hear().unwrap(), Heard::Running);
        assert_eq!(helper.hear().unwrap(), Heard::Closed);
    }

    #[test]
    fn a_long_failure_is_cut() {
        let (helper, child) = pair().unwrap();
        child.fail(ExecError::other("é".repeat(LONGEST)));
        let Heard::Failed(failure) = helper.hear().unwrap() else {
            panic!("not a failure")
        };
        assert!(failure.message.len() <= LONGEST && failure.message.ends_with('é'));
    }

    #[test]
    fn go_lets_the_child_go_on_and_a_dead_helper_does_not() {
        let (helper, child) = pair().unwrap();
        helper.go().unwrap();
        child.wait().unwrap();
        drop(helper);
        child.wait().unwrap_err();
    }
}
