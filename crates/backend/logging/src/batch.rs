//! Entries that were read, many at a time and without an allocation for each.

use arca_types::Timestamp;

/// The stream an entry was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An entry to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) at: Timestamp,
    pub(crate) source: Source,
    pub(crate) text: &'a [u8],
    /// A newline belongs to it.
    pub(crate) complete: bool,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was written.
    pub at: Timestamp,
    /// To which stream.
    pub source: Source,
    /// The bytes, with the newline unless more of the line follows or the stream ended without one.
    pub line: &'a [u8],
    /// What it is marked with: a JSON object of texts, or nothing.
    pub attrs: &'a [u8],
}

impl Entry<'_> {
    /// Does the line go on in the next entry of this stream?
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.line.last() != Some(&b'\n')
    }

    /// What it is marked with, sorted by name.
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, String)> {
        let map: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(self.attrs).unwrap_or_default();
        map.into_iter().collect()
    }
}

/// Many entries in one piece of memory, which is kept when the batch is cleared.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) arena: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    at: Timestamp,
    source: Source,
    line: usize,
    attrs: usize,
}

impl Batch {
    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.arena.as_slice();
        self.slots.iter().map(move |slot| {
            let (line, after) = rest.split_at_checked(slot.line).unwrap_or_default();
            let (attrs, after) = after.split_at_checked(slot.attrs).unwrap_or_default();
            rest = after;
            Entry {
                at: slot.at,
                source: slot.source,
                line,
                attrs,
            }
        })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forgets the entries.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.slots.clear();
    }

    /// Makes an entry of what was appended to the arena: `line` bytes, then `attrs` bytes.
    pub(crate) fn push(&mut self, at: Timestamp, source: Source, line: usize, attrs: usize) {
        self.slots.push(Slot {
            at,
            source,
            line,
            attrs,
        });
    }

    /// Takes the last entry back, whose bytes begin at `arena`.
    pub(crate) fn pop(&mut self, arena: usize) {
        self.arena.truncate(arena);
        self.slots.pop();
    }
}
