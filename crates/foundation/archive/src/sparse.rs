//! Sparse files: which parts of them an archive holds.

use crate::error::Error;
use crate::pax;

/// No sane file has more separate parts; a map of this many takes 16 MiB.
const MAX_SEGMENTS: usize = 1 << 20;

/// A part of a file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The parts of a sparse file, in order.
#[derive(Debug, Default)]
pub(crate) struct Map {
    segments: Vec<Segment>,
}

impl Map {
    /// Adds a part.
    pub(crate) fn push(&mut self, offset: u64, length: u64) -> Result<(), Error> {
        if self.segments.len() == MAX_SEGMENTS {
            return Err(Error::Header("sparse map is too long"));
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }

    /// Reads the map of format 0.1: `offset,length,offset,length,...`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut map = Self::default();
        let mut numbers = text.split(|byte| *byte == b',').map(pax::number);
        while let Some(offset) = numbers.next() {
            let length = numbers
                .next()
                .ok_or(Error::Header("malformed sparse map"))??;
            map.push(offset?, length)?;
        }
        Ok(map)
    }

    /// The parts, after checking them against the size of the file and that of the data.
    pub(crate) fn check(self, size: u64, data: u64) -> Result<Vec<Segment>, Error> {
        let mut end = 0_u64;
        let mut total = 0_u64;
        for segment in &self.segments {
            let next = segment.offset.checked_add(segment.length);
            match next {
                Some(next) if segment.offset >= end && next <= size => end = next,
                _ => return Err(Error::Header("sparse map does not fit the file")),
            }
            total += segment.length;
        }
        if total == data {
            Ok(self.segments)
        } else {
            Err(Error::Header("sparse map does not fit the data"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_to_fit() {
        let map = |text: &[u8]| Map::parse(text).and_then(|map| map.check(100, 30));
        assert_eq!(map(b"10,20,90,10").unwrap().len(), 2);
        for text in [
            &b"10,20"[..],
            b"10",
            b"90,10,10,20",
            b"10,20,95,10",
            b"0,x",
            b"0,30,0,0",
        ] {
            assert!(map(text).is_err());
        }
        let huge = format!("1,{}", u64::MAX);
        assert!(map(huge.as_bytes()).is_err());
    }
}
