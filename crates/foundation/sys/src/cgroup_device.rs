//! Device access of a cgroup v2: an eBPF program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// One instruction of an eBPF program, in the layout of `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct EbpfInstruction {
    /// The operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// The jump or memory offset.
    pub offset: i16,
    /// The operand.
    pub operand: i32,
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    program_type: u32,
    length: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replace: u32,
}

/// Loads `program` to decide about opening and making device nodes (bpf(2)).
///
/// # Errors
/// `EPERM` without `CAP_BPF` or `CAP_SYS_ADMIN`, `EINVAL` when the verifier refuses it.
pub fn load_device_program(program: &[EbpfInstruction]) -> io::Result<OwnedFd> {
    let attr = LoadAttr {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        length: u32::try_from(program.len())
            .map_err(|_too_long| io::Error::from_raw_os_error(libc::EINVAL))?,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: `attr` is initialised and passed with its own size; it points to `length`
    // instructions in the kernel's layout and to a NUL-terminated literal, which outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    let descriptor = i32::try_from(check(result)?)
        .map_err(|_not_a_descriptor| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: BPF_PROG_LOAD returns a descriptor that it has just opened for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Puts `program` into force for the cgroup v2 directory `cgroup`, beside what is in force there;
/// it ends with the cgroup.
///
/// # Errors
/// `EPERM` without the privilege, `EINVAL` or `EBADF` when `cgroup` is no cgroup v2 directory.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = AttachAttr {
        target: cgroup.as_raw_fd().unsigned_abs(),
        program: program.as_raw_fd().unsigned_abs(),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
        replace: 0,
    };
    // SAFETY: both descriptors are open for the whole call; `attr` is initialised, has no pointers
    // and is passed with its own size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    check(result).map(|_| ())
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

    #[test]
    fn a_program_that_allows_everything_loads() {
        let program = [
            EbpfInstruction {
                code: 0xb7,
                registers: 0,
                offset: 0,
                operand: 1,
            },
            EbpfInstruction {
                code: 0x95,
                registers: 0,
                offset: 0,
                operand: 0,
            },
        ];
        load_device_program(&program).unwrap();
    }

    #[test]
    fn a_program_without_an_end_is_refused() {
        let program = [EbpfInstruction {
            code: 0xb7,
            registers: 0,
            offset: 0,
            operand: 1,
        }];
        assert!(load_device_program(&program).is_err());
    }
}
