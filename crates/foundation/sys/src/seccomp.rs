//! Loading a seccomp filter: `seccomp(2)`.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of a classic BPF program, as the kernel reads it (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub yes: u8,
    /// How many instructions to skip when it does not hold.
    pub no: u8,
    /// The operand.
    pub operand: u32,
}

/// Puts `program` in front of every system call that this thread makes from now on.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*`; with `NEW_LISTENER` the listener's descriptor is returned.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` or no_new_privs, `EINVAL` when the program is not valid or
/// longer than 4096 instructions.
pub fn load_filter(program: &[Instruction], flags: u32) -> io::Result<Option<OwnedFd>> {
    let mut filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter {
            code: one.code,
            jt: one.yes,
            jf: one.no,
            k: one.operand,
        })
        .collect();
    let length = u16::try_from(filters.len())
        .map_err(|_too_long| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog {
        len: length,
        filter: filters.as_mut_ptr(),
    };
    // SAFETY: `program` points to `len` initialised instructions; both outlive the call, which
    // copies them and checks that they are a valid program.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let listener = i32::try_from(result)
        .map_err(|_not_a_descriptor| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: with this flag the call returns a descriptor that it has just opened for the caller.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}

/// Ask for a descriptor on which another process decides about calls.
pub const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 1 << 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_refuses_the_calls_it_names() {
        std::thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            let number = u32::try_from(libc::SYS_gettid).unwrap();
            let program = [
                Instruction {
                    code: 0x20,
                    yes: 0,
                    no: 0,
                    operand: 0,
                },
                Instruction {
                    code: 0x15,
                    yes: 0,
                    no: 1,
                    operand: number,
                },
                Instruction {
                    code: 0x06,
                    yes: 0,
                    no: 0,
                    operand: 0x0005_0000 | 38,
                },
                Instruction {
                    code: 0x06,
                    yes: 0,
                    no: 0,
                    operand: 0x7fff_0000,
                },
            ];
            assert!(load_filter(&program, 0).unwrap().is_none());
            // SAFETY: gettid takes no arguments.
            let result = unsafe { libc::syscall(libc::SYS_gettid) };
            assert_eq!(result, -1);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_program_without_an_end_is_refused() {
        let program = [Instruction {
            code: 0x20,
            yes: 0,
            no: 0,
            operand: 0,
        }];
        assert!(load_filter(&program, 0).is_err());
    }
}
