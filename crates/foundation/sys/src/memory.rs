//! The memory of this process.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

/// Gives memory that was freed back to the kernel (`malloc_trim(3)`), for a process that is about to
/// do nothing for long. Does nothing where the C library has no such function.
pub fn release_free() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes a number of bytes to keep, touches free memory only and may be
    // called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_in_use_is_kept() {
        let used = vec![7_u8; 1 << 20];
        drop(vec![1_u8; 1 << 20]);
        super::release_free();
        assert!(used.iter().all(|byte| *byte == 7));
    }
}
