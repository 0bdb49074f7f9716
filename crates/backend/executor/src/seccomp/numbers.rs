//! The numbers of system calls on each architecture.

use std::collections::HashMap;
use std::sync::LazyLock;

use oci_spec::runtime::Arch;

use crate::error::ExecError;

/// Set in the number of each call of the x32 ABI.
pub(super) const X32: u32 = 0x4000_0000;

/// An architecture as the kernel's filter sees it: the value of `seccomp_data.arch`, and which
/// range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    arch: Arch,
    /// The value of `AUDIT_ARCH_*`.
    pub(super) audit: u32,
}

impl Machine {
    /// Returns what is known of `arch`.
    pub(super) fn new(arch: Arch) -> Result<Self, ExecError> {
        let native = if cfg!(target_arch = "aarch64") {
            Arch::ScmpArchAarch64
        } else {
            Arch::ScmpArchX86_64
        };
        let arch = if arch == Arch::ScmpArchNative {
            native
        } else {
            arch
        };
        let audit = match arch {
            Arch::ScmpArchX86_64 | Arch::ScmpArchX32 => 0xc000_003e,
            Arch::ScmpArchX86 => 0x4000_0003,
            Arch::ScmpArchAarch64 => 0xc000_00b7,
            Arch::ScmpArchArm => 0x4000_0028,
            other => {
                return Err(ExecError::other(format!(
                    "seccomp: architecture {other} is not supported"
                )));
            }
        };
        Ok(Self { arch, audit })
    }

    /// Returns the number of the call `name`; `None` when this architecture has none.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let numbers: &Numbers = match self.arch {
            Arch::ScmpArchX86 => &X86_NUMBERS,
            Arch::ScmpArchAarch64 => &AARCH64_NUMBERS,
            Arch::ScmpArchArm => &ARM_NUMBERS,
            _ => &X86_64_NUMBERS,
        };
        let number = *numbers.get(name)?;
        Some(if self.is_x32() {
            x32(name, number)
        } else {
            number
        })
    }

    /// Says whether this is the x32 ABI.
    pub(super) fn is_x32(&self) -> bool {
        self.arch == Arch::ScmpArchX32
    }
}

type Numbers = HashMap<&'static str, u32>;

/// Collects the names below the highest number that an architecture may have for now.
fn numbers(name: impl Fn(usize) -> Option<&'static str>) -> Numbers {
    (0u32..1024)
        .filter_map(|id| Some((name(id as usize)?, id)))
        .collect()
}

static X86_64_NUMBERS: LazyLock<Numbers> =
    LazyLock::new(|| numbers(|id| Some(syscalls::x86_64::Sysno::new(id)?.name())));
static X86_NUMBERS: LazyLock<Numbers> =
    LazyLock::new(|| numbers(|id| Some(syscalls::x86::Sysno::new(id)?.name())));
static AARCH64_NUMBERS: LazyLock<Numbers> =
    LazyLock::new(|| numbers(|id| Some(syscalls::aarch64::Sysno::new(id)?.name())));
static ARM_NUMBERS: LazyLock<Numbers> = LazyLock::new(|| {
    let mut all = numbers(|id| Some(syscalls::arm::Sysno::new(id)?.name()));
    // The architecture's private calls (asm/unistd.h, __ARM_NR_BASE).
    all.extend([
        ("breakpoint", 0x000f_0001),
        ("cacheflush", 0x000f_0002),
        ("set_tls", 0x000f_0005),
    ]);
    all
});

/// The x32 ABI has numbers of its own for calls whose arguments contain pointers or long integers.
fn x32(name: &str, native: u32) -> u32 {
    let own = match name {
        "rt_sigaction" => 512,
        "rt_sigreturn" => 513,
        "ioctl" => 514,
        "readv" => 515,
        "writev" => 516,
        "recvfrom" => 517,
        "sendmsg" => 518,
        "recvmsg" => 519,
        "execve" => 520,
        "ptrace" => 521,
        "rt_sigpending" => 522,
        "rt_sigtimedwait" => 523,
        "rt_sigqueueinfo" => 524,
        "sigaltstack" => 525,
        "timer_create" => 526,
        "mq_notify" => 527,
        "kexec_load" => 528,
        "waitid" => 529,
        "set_robust_list" => 530,
        "get_robust_list" => 531,
        "vmsplice" => 532,
        "move_pages" => 533,
        "preadv" => 534,
        "pwritev" => 535,
        "rt_tgsigqueueinfo" => 536,
        "recvmmsg" => 537,
        "sendmmsg" => 538,
        "process_vm_readv" => 539,
        "process_vm_writev" => 540,
        "setsockopt" => 541,
        "getsockopt" => 542,
        "io_setup" => 543,
        "io_submit" => 544,
        "execveat" => 545,
        "preadv2" => 546,
        "pwritev2" => 547,
        _ => native,
    };
    X32 | own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_number_on_each_architecture() {
        let number = |arch, name| Machine::new(arch).unwrap().number(name);
        assert_eq!(number(Arch::ScmpArchX86_64, "read"), Some(0));
        assert_eq!(number(Arch::ScmpArchX86, "read"), Some(3));
        assert_eq!(number(Arch::ScmpArchX32, "read"), Some(X32));
        assert_eq!(number(Arch::ScmpArchX32, "execve"), Some(X32 | 520));
        assert_eq!(number(Arch::ScmpArchAarch64, "read"), Some(63));
        assert_eq!(number(Arch::ScmpArchArm, "read"), Some(3));
        assert_eq!(number(Arch::ScmpArchX86_64, "nosuchcall"), None);
        assert!(Machine::new(Arch::ScmpArchMips).is_err());
    }
}
