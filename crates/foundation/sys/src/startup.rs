//! What a program inherits from the one that started it, and does not want.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;

/// Closes every descriptor from 3 on (`close_range(2)`, Linux 5.9): what careless ancestors have left
/// open. To be called at the very beginning of `main`, before this program has opened anything.
///
/// # Errors
/// `ENOSYS` on older kernels; `EINVAL` when called in a process that has more than one thread, which
/// may have opened something.
pub fn close_inherited() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the caller has opened nothing yet, which is this function's contract, and there is no
    // other thread; so no owned descriptor is among those that are closed. No pointer arguments.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives all signals their default effect and blocks none (`rt_sigaction(2)`, `rt_sigprocmask(2)`). An
/// ignored or blocked signal stays so across `execve`; Rust's runtime ignores `SIGPIPE`, and some
/// ancestors ignore the two signals that glibc keeps for itself and lets nobody change.
pub fn reset_signals() {
    // The kernel's `sigaction` and its set of signals, all of whose bits mean "default" and "none".
    let zeros = [0_u64; 8];
    for number in 1..=64 {
        // SAFETY: the buffer is larger than the kernel's structure on every architecture, outlives
        // the call and is only read; the old action is not asked for. The default effect involves
        // no code of this process. Numbers that cannot be changed are refused, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                zeros.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET,
            )
        };
    }
    // SAFETY: the set is initialised, has the size that is told, and is only read; the old one is
    // not asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            zeros.as_ptr(),
            std::ptr::null_mut::<u64>(),
            SET,
        )
    };
}

/// The size of the kernel's set of signals, in bytes.
const SET: usize = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn a_threaded_process_keeps_its_descriptors() {
        let other = std::thread::spawn(std::thread::park);
        assert!(close_inherited().is_err());
        other.thread().unpark();
        other.join().unwrap();
    }

    #[test]
    fn a_child_ignores_no_signal_after_a_reset() {
        let mut command = std::process::Command::new("cat");
        command.arg("/proc/self/status");
        let reset = || {
            reset_signals();
            Ok(())
        };
        // SAFETY: the closure makes system calls only.
        let output = unsafe { command.pre_exec(reset) }.output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        for field in ["SigBlk:", "SigIgn:"] {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            assert!(line.ends_with("0000000000000000"), "{line}");
        }
    }
}
