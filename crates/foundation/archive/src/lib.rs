//! Tar archives with whiteouts, extended attributes and rooted paths.
