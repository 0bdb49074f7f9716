//! Network namespaces of threads, and what sockets hold.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::UnshareFlags;

/// Moves the calling thread, and no other, into a new network namespace (`unshare(2)`, `CLONE_NEWNET`).
///
/// The namespace has a loopback interface that is down, and nothing else. Threads that the calling one
/// starts afterwards are in it too, so call this on a thread that was made for it and ends afterwards.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` when there are as many namespaces as the user may have.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: the only flag that breaks assumptions of safe code is `CLONE_FILES`; this call does not
    // pass it, so descriptors stay shared by all threads.
    let result = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
    Ok(result?)
}

/// How many bytes that were written to a socket have not arrived (`TIOCOUTQ`): not acknowledged by the
/// other host, or, on a unix socket, not read by the other side.
///
/// # Errors
/// `ENOTTY` when it is no socket.
pub fn unsent(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for the whole call; the request writes one `int` to its argument,
    // which is one and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn namespace() -> std::path::PathBuf {
        std::fs::read_link("/proc/thread-self/ns/net").unwrap()
    }

    #[test]
    fn what_nobody_has_read_is_unsent() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(unsent(ours.as_fd()).unwrap(), 0);
        ours.write_all(b"abc").unwrap();
        assert!(unsent(ours.as_fd()).unwrap() > 0);
        theirs.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(unsent(ours.as_fd()).unwrap(), 0);
    }

    #[test]
    fn only_the_calling_thread_moves() {
        let before = namespace();
        let inside = std::thread::spawn(|| {
            unshare_network().unwrap();
            namespace()
        });
        assert_ne!(inside.join().unwrap(), before);
        assert_eq!(namespace(), before);
    }
}
