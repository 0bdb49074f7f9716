//! What the C library's allocator keeps to itself.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::ffi::c_int;

/// Limits the number of arenas, so that each thread does not hold memory of its own (`mallopt(3)`,
/// `M_ARENA_MAX`), the size from which a piece is mapped for itself and unmapped when it is freed
/// (`M_MMAP_THRESHOLD`, bytes), and how much that is free stays at the end of an arena
/// (`M_TRIM_THRESHOLD`, bytes). To be called before threads are started.
///
/// Other C libraries than glibc have no such settings; nothing happens there.
pub fn limit_allocator(arenas: u16, mapped_from: u32, kept: u32) {
    #[cfg(target_env = "gnu")]
    {
        let bytes = |size| c_int::try_from(size).unwrap_or(c_int::MAX);
        let settings = [
            (libc::M_ARENA_MAX, c_int::from(arenas)),
            (libc::M_MMAP_THRESHOLD, bytes(mapped_from)),
            (libc::M_TRIM_THRESHOLD, bytes(kept)),
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
        let _: (u16, u32, u32, c_int) = (arenas, mapped_from, kept, 0);
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
        limit_allocator(2, 128 << 10, 256 << 10);
        let mut kept = vec![7_u8; 1 << 20];
        drop(vec![1_u8; 8 << 20]);
        give_back();
        kept.push(7);
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
