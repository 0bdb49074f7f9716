//! Network namespaces of threads.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> std::path::PathBuf {
        std::fs::read_link("/proc/thread-self/ns/net").unwrap()
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
