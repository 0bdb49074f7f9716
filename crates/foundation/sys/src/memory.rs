//! What the C library's allocator keeps to itself.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::ffi::c_int;

/// Limits the number of arenas, so that each thread does not hold memory of its own (`mallopt(3)`,
/// `M_ARENA_MAX`), and the size from which memory is given back when it is freed
/// (`M_MMAP_THRESHOLD`, `M_TRIM_THRESHOLD`, bytes). To be called before threads are started.
///
/// Other C libraries than glibc have no such settings; nothing happens there.
pub fn limit_allocator(arenas: u16, give_back_from: u32) {
    #[cfg(target_env = "gnu")]
    {
        let bytes = c_int::try_from(give_back_from).unwrap_or(c_int::MAX);
        let settings = [
            (libc::M_ARENA_MAX, c_int::from(arenas)),
            (libc::M_MMAP_THRESHOLD, bytes),
            (libc::M_TRIM_THRESHOLD, bytes),
        ];
        for (parameter, value) in settings {
            // SAFETY: mallopt takes two integers and accesses no memory of ours; it locks the arena it
            // changes. A value it does not know is refused by returning 0, which changes nothing.
            unsafe {
                libc::mallopt(parameter, value);
            }
        }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        let _: (u16, u32, c_int) = (arenas, give_back_from, 0);
    }
}

/// Gives free memory of the allocator back to the system (`malloc_trim(3)`).
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes one integer, releases only pages that hold no allocation, and takes the
    // allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_usable() {
        limit_allocator(2, 128 << 10);
        let mut kept = vec![7_u8; 1 << 20];
        drop(vec![1_u8; 8 << 20]);
        give_back();
        kept.push(7);
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
