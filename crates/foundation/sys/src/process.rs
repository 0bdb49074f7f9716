//! Making and replacing processes: `clone3(2)`, `execve(2)` and what goes with them.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `libc`'s constant overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// New namespaces of a child, as the `CLONE_NEW*` bits of clone(2).
///
/// Built with [`Namespaces::with`]; bits that are not namespaces cannot get in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

/// A kind of namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Control groups.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Process IDs.
    Pid,
    /// Users and groups.
    User,
    /// Host name and domain name.
    Uts,
}

impl Namespace {
    const fn bits(self) -> libc::c_int {
        match self {
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Network => libc::CLONE_NEWNET,
            Self::Pid => libc::CLONE_NEWPID,
            Self::User => libc::CLONE_NEWUSER,
            Self::Uts => libc::CLONE_NEWUTS,
        }
    }
}

impl Namespaces {
    /// Adds `namespace`.
    #[must_use]
    pub const fn with(self, namespace: Namespace) -> Self {
        Self(self.0 | namespace.bits().unsigned_abs() as u64)
    }

    /// Takes `namespace` out.
    #[must_use]
    pub const fn without(self, namespace: Namespace) -> Self {
        Self(self.0 & !(namespace.bits().unsigned_abs() as u64))
    }

    /// Says whether `namespace` is in the set.
    #[must_use]
    pub const fn has(self, namespace: Namespace) -> bool {
        self.0 & namespace.bits().unsigned_abs() as u64 != 0
    }
}

/// Moves the calling thread into a new namespace of its own (`unshare(2)`).
///
/// # Errors
/// `EPERM` without the privilege, `EINVAL` for a user namespace in a threaded process.
pub fn unshare(namespace: Namespace) -> io::Result<()> {
    // SAFETY: the flag is one CLONE_NEW* bit, none of which changes memory or the table of file
    // descriptors; the call has no pointer arguments.
    let result = unsafe { libc::unshare(namespace.bits()) };
    check(result.into()).map(|_| ())
}

/// Moves the calling thread into the namespace behind `fd` (`setns(2)`): a link of
/// `/proc/PID/ns`, or a bind mount of one. A pid namespace is that of children made from now on.
///
/// # Errors
/// `EINVAL` when `fd` is not a namespace of this kind, `EPERM` without the privilege.
pub fn join_namespace(fd: BorrowedFd<'_>, namespace: Namespace) -> io::Result<()> {
    // SAFETY: `fd` is open for the whole call and there are no pointer arguments; like `unshare`
    // above it leaves memory and descriptors alone.
    let result = unsafe { libc::setns(fd.as_raw_fd(), namespace.bits()) };
    check(result.into()).map(|_| ())
}

/// Moves the calling thread into several namespaces of the process behind `pidfd` at once
/// (`setns(2)` with a pidfd, Linux 5.8).
///
/// # Errors
/// `ESRCH` when the process is gone, `EPERM` without the privilege; none is changed then.
pub fn join_process(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> io::Result<()> {
    let bits = libc::c_int::try_from(namespaces.0)
        .map_err(|_out_of_range| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: `pidfd` is open for the whole call and there are no pointer arguments.
    let result = unsafe { libc::setns(pidfd.as_raw_fd(), bits) };
    check(result.into()).map(|_| ())
}

/// Makes a child process in new `namespaces`, and in the cgroup v2 directory `cgroup` if one is
/// given, that runs `child` and exits with what it returns (`clone3(2)`). Returns the child's ID.
///
/// The child is a copy of the calling process: it may do everything that the caller may, since the
/// caller has one thread only and so no lock is held by a thread that does not exist in the copy.
/// Both processes then own a copy of `owned`: the caller gets it back, the child consumes it, so
/// that each can close the descriptors in it that are the other's. `cgroup` is closed in both.
///
/// # Errors
/// `EBUSY` when the calling process has more than one thread; what clone(2) says.
pub fn spawn<T, F>(
    namespaces: Namespaces,
    cgroup: Option<OwnedFd>,
    owned: T,
    child: F,
) -> io::Result<(i32, T)>
where
    F: FnOnce(T) -> u8,
{
    make(namespaces, Kin::Child(cgroup), owned, child)
}

/// As [`spawn`], but the new process is a child of the caller's parent (`CLONE_PARENT`), which hears of
/// its end as it does of the caller's.
///
/// # Errors
/// As those of [`spawn`].
pub fn spawn_sibling<T, F>(namespaces: Namespaces, owned: T, child: F) -> io::Result<(i32, T)>
where
    F: FnOnce(T) -> u8,
{
    make(namespaces, Kin::Sibling, owned, child)
}

/// What a new process is to its maker.
enum Kin {
    /// Its child, in a cgroup of its own if there is one.
    Child(Option<OwnedFd>),
    /// Its parent's child.
    Sibling,
}

fn make<T, F>(namespaces: Namespaces, kin: Kin, owned: T, child: F) -> io::Result<(i32, T)>
where
    F: FnOnce(T) -> u8,
{
    if thread_count()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: `clone_args` consists of integers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces.0;
    match &kin {
        Kin::Child(cgroup) => {
            args.exit_signal = libc::SIGCHLD.unsigned_abs().into();
            if let Some(cgroup) = cgroup {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
            }
        }
        // The signal is the caller's own then.
        Kin::Sibling => args.flags |= u64::from(libc::CLONE_PARENT.unsigned_abs()),
    }
    // SAFETY: without CLONE_VM the child gets a copy of the memory and goes on on a copy of this
    // stack (`stack` is zero), as after fork(2); the process has one thread, so nothing in the copy
    // is locked for ever. `args` is initialised, is only read for these flags and is passed with
    // its own size.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    let made = check(pid);
    drop(kin);
    if pid != 0 {
        let pid = made?;
        let pid = i32::try_from(pid).map_err(|_huge| io::Error::from_raw_os_error(libc::EOVERFLOW));
        return pid.map(|pid| (pid, owned));
    }
    let child = std::panic::AssertUnwindSafe(|| child(owned));
    exit_now(std::panic::catch_unwind(child).unwrap_or(70))
}

/// Sends the signal with this number, which may be a realtime signal, to the process behind `pidfd`
/// (`pidfd_send_signal(2)`).
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL` when there is no such signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: `pidfd` is open for the whole call; a null pointer for the details of the signal is
    // what the call takes for "as kill(2) would".
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    check(result).map(|_| ())
}

/// Ends the process at once with `code`, without running anything else of it (`_exit(2)`).
pub fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` takes a number, does not return and runs no code of this process.
    unsafe { libc::_exit(code.into()) }
}

fn thread_count() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))
}

/// Replaces the program of this process (`execve(2)`): the file at `path`, with exactly these
/// arguments and this environment, in this order, all signals as a program expects them. Returns
/// only if that failed.
#[must_use]
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        let ends = std::iter::once(std::ptr::null());
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain(ends)
            .collect()
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    crate::startup::reset_signals();
    // SAFETY: `path` is NUL-terminated; both arrays end with a null pointer and point to
    // NUL-terminated strings that outlive the call, which only reads them.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Marks every descriptor from 3 on to be closed by the next `execve` (`close_range(2)`, 5.11).
///
/// # Errors
/// `ENOSYS` or `EINVAL` on older kernels.
pub fn close_from_three_on_exec() -> io::Result<()> {
    // SAFETY: the call sets a flag on descriptors and closes none, so no owner of one is deceived;
    // it has no pointer arguments.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(|_| ())
}

/// Gives the process the session keyring called `name`, made if there is none (keyctl(2)).
///
/// # Errors
/// `ENOSYS` in kernels without keyrings, `EDQUOT` when the user has too many keys.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    // SAFETY: `name` is NUL-terminated, outlives the call and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            name.as_ptr(),
        )
    };
    check(result).map(|_| ())
}

/// Sets the execution domain of the process (personality(2)).
///
/// # Errors
/// `EINVAL` when the kernel does not know it.
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: the call takes a number and has no pointer arguments.
    let result = unsafe { libc::personality(domain.into()) };
    check(result.into()).map(|_| ())
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test harness has threads, so `spawn` itself is tested by the executor's tests.
    #[test]
    fn a_threaded_process_is_refused() {
        let error = spawn(Namespaces::default(), None, (), |()| 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = execute(c"/no/such/program", &[c"x".to_owned()], &[]);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_signal_reaches_the_process() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let pidfd = std::os::fd::AsFd::as_fd(&pidfd);
        assert!(send_signal(pidfd, 1000).is_err());
        send_signal(pidfd, 34).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(34)
        );
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = Namespaces::default()
            .with(Namespace::Pid)
            .with(Namespace::Mount);
        assert!(set.has(Namespace::Pid) && set.has(Namespace::Mount) && !set.has(Namespace::User));
        assert_eq!(set.without(Namespace::Pid).with(Namespace::Pid), set);
        assert!(!set.without(Namespace::Pid).has(Namespace::Pid));
    }

    #[test]
    fn a_thread_may_have_host_name_and_descriptor_flags_of_its_own() {
        std::thread::spawn(|| {
            unshare(Namespace::Uts).unwrap();
            let own = std::fs::File::open("/proc/thread-self/ns/uts").unwrap();
            join_namespace(std::os::fd::AsFd::as_fd(&own), Namespace::Uts).unwrap();
        })
        .join()
        .unwrap();
    }
}
