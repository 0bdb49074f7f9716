//! Memory that a process holds and does not need: free parts of the heap, code that ran once.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::ffi::c_int;
use std::io;

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

/// Unmaps the code of the program and its libraries. What runs next is mapped again as it is reached, from
/// the page cache, where all of it stays as long as the kernel has room: the pages of a start or a burst
/// are then the kernel's to drop.
///
/// # Errors
/// The list of mappings cannot be read.
pub fn forget_code() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: the range is one mapping of this process, private, of a file, and neither writable nor
        // ever written to: the kernel reads its pages from the file again (madvise(2), MADV_DONTNEED).
        // Should it be gone meanwhile, the call fails and changes nothing.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                length,
                libc::MADV_DONTNEED,
            );
        }
    }
    Ok(())
}

/// Start and length of a mapping of a file's code; `line` is of `/proc/self/maps`.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, mode, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
    if mode != "r-xp" || inode == "0" {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16));
    let (start, end) = (start.ok()?, end.ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_files_is_forgotten() {
        let found = |line| code(line).is_some();
        assert_eq!(
            code("1000-3000 r-xp 00001000 fe:00 77   /usr/bin/x"),
            Some((0x1000, 0x2000))
        );
        assert!(!found("1000-3000 r--p 00001000 fe:00 77   /usr/bin/x"));
        assert!(!found("1000-3000 rwxp 00001000 fe:00 77   /usr/bin/x"));
        assert!(!found("1000-3000 r-xp 00000000 00:00 0    [vdso]"));
        assert!(!found(""));
    }

    #[test]
    fn forgotten_code_runs() {
        let resident = || {
            let all = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let mut of_code = false;
            let mut sum = 0;
            for line in all.lines() {
                if line.contains('-') && line.split(' ').nth(1).is_some_and(|m| m.len() == 4) {
                    of_code = code(line).is_some();
                } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| of_code) {
                    sum += size
                        .trim()
                        .split(' ')
                        .next()
                        .unwrap()
                        .parse::<u64>()
                        .unwrap();
                }
            }
            sum
        };
        // All of it is touched.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for (start, length) in maps.lines().filter_map(code) {
            for address in (start..start + length).step_by(4096) {
                // SAFETY: the mapping is readable, and stays as long as the program runs.
                let byte = unsafe { *std::ptr::with_exposed_provenance::<u8>(address) };
                std::hint::black_box(byte);
            }
        }
        let before = resident();
        forget_code().unwrap();
        let after = resident();
        assert!(after < before, "{after} of {before} kB");
    }

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
