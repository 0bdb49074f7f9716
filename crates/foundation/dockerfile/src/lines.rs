//! Places in a Dockerfile.

/// Lines of a Dockerfile, counted from 1, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lines {
    /// First line.
    pub start: u32,
    /// Last line: not before `start`.
    pub end: u32,
}

impl Lines {
    /// The lines `start` to `end`; just `start` when `end` comes before it.
    #[must_use]
    pub fn new(start: u32, end: u32) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// One line.
    #[must_use]
    pub fn one(line: u32) -> Self {
        Self::new(line, line)
    }
}
