//! Signals as events, for a process that waits for nothing else: `sigwaitinfo(2)`.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub number: i32,
    /// The kernel itself sent it, as a terminal does for its keys, and not another process.
    pub from_kernel: bool,
}

/// Blocks every signal for this thread, so that [`wait_for_signal`] gets it, but for those that say
/// that this program itself is broken.
///
/// # Errors
/// None that is known; what pthread_sigmask(3) says.
pub fn block_signals() -> io::Result<()> {
    let set = waited_for();
    // SAFETY: `set` is initialised and outlives the call, which only reads it; a null pointer for
    // the old set means that it is not wanted.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// Blocks no signal for this thread.
fn block_none() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the call initialises the set that the pointer leads to.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set is initialised and only read; a null pointer for the old set means that it is
    // not wanted.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// Starts a program with no signal blocked, whatever this thread blocks (a child inherits the mask).
///
/// # Errors
/// What [`Command::spawn`] says, `pthread_sigmask(3)` in the child included.
pub fn spawn_unblocked(command: &mut Command) -> io::Result<Child> {
    // SAFETY: the closure runs in the child between fork and exec. It makes only calls that are
    // async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(block_none) };
    command.spawn()
}

/// Waits for the next signal that [`block_signals`] has blocked.
///
/// # Errors
/// `EINTR` when a signal that is not blocked had a handler.
pub fn wait_for_signal() -> io::Result<Received> {
    let set = waited_for();
    let mut details = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `set` is initialised and only read; `details` has room for what the call writes.
    let number = unsafe { libc::sigwaitinfo(&raw const set, details.as_mut_ptr()) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed is a valid value of the plain structure, and the call has filled it in.
    let details = unsafe { details.assume_init() };
    Ok(Received {
        number,
        from_kernel: details.si_code == libc::SI_KERNEL,
    })
}

/// Sends the signal with this number to process `pid` (`kill(2)`); with a negative `pid` to its
/// process group.
///
/// # Errors
/// `ESRCH` when there is none, `EPERM` when it may not be signalled, `EINVAL` for the number.
pub fn send(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: the call takes two numbers.
    if unsafe { libc::kill(pid, number) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// All signals but those of a fault.
fn waited_for() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the call initialises the set that the pointer leads to.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    let faults = [
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGABRT,
        libc::SIGTRAP,
        libc::SIGSYS,
    ];
    for fault in faults {
        // SAFETY: the set is initialised, and the number is one of a signal.
        unsafe { libc::sigdelset(set.as_mut_ptr(), fault) };
    }
    // SAFETY: `sigfillset` has initialised it.
    unsafe { set.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_starts_with_no_signal_blocked() {
        let status = std::thread::spawn(|| {
            block_signals().unwrap();
            let mut shell = Command::new("sh");
            spawn_unblocked(shell.args(["-c", "kill -TERM $$"]))
                .unwrap()
                .wait()
                .unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGTERM)
        );
    }

    #[test]
    fn a_blocked_signal_is_received() {
        std::thread::spawn(|| {
            block_signals().unwrap();
            // SAFETY: the call takes no arguments.
            let thread = unsafe { libc::gettid() };
            let process = std::process::id();
            // SAFETY: the call takes numbers; the signal goes to this thread, which blocks it.
            let sent =
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGRTMIN()) };
            assert_eq!(sent, 0);
            let received = wait_for_signal().unwrap();
            assert_eq!(
                received,
                Received {
                    number: libc::SIGRTMIN(),
                    from_kernel: false
                }
            );
        })
        .join()
        .unwrap();
    }

    #[test]
    fn signal_zero_asks_whether_a_process_is_there() {
        send(i32::try_from(std::process::id()).unwrap(), 0).unwrap();
        assert!(send(i32::MAX, 0).is_err());
    }
}
