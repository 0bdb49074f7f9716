//! Limits of processes.

/// Names of the limits of a process (getrlimit(2)), as in Docker's ulimits: `RLIMIT_` and the name in
/// capitals is the kernel's.
pub const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
