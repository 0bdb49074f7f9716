//! IDs of users and groups inside a user namespace, and what they are outside.

use std::fmt;

/// A range of IDs (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first ID inside.
    pub inside: u32,
    /// The first ID outside.
    pub outside: u32,
    /// How many there are.
    pub size: u32,
}

/// The users and groups of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
}

/// An ID that a user namespace does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum UnmappedId {
    #[error("container ID {0} cannot be mapped to a host ID")]
    Inside(u32),
    #[error("host ID {0} cannot be mapped to a container ID")]
    Outside(u32),
}

impl IdMaps {
    /// The owner and group outside that are `owner` inside.
    ///
    /// # Errors
    /// [`UnmappedId::Inside`].
    pub fn outside(&self, owner: (u32, u32)) -> Result<(u32, u32), UnmappedId> {
        let map = |ranges: &[IdRange], id| {
            find(ranges, id, |one| (one.inside, one.outside)).ok_or(UnmappedId::Inside(id))
        };
        Ok((map(&self.users, owner.0)?, map(&self.groups, owner.1)?))
    }

    /// The owner and group inside that are `owner` outside.
    ///
    /// # Errors
    /// [`UnmappedId::Outside`].
    pub fn inside(&self, owner: (u32, u32)) -> Result<(u32, u32), UnmappedId> {
        let map = |ranges: &[IdRange], id| {
            find(ranges, id, |one| (one.outside, one.inside)).ok_or(UnmappedId::Outside(id))
        };
        Ok((map(&self.users, owner.0)?, map(&self.groups, owner.1)?))
    }

    /// Reads `/proc/PID/uid_map` and `gid_map`; `None` for the maps of the initial user namespace, which has
    /// all IDs as they are.
    #[must_use]
    pub fn parse(users: &str, groups: &str) -> Option<Self> {
        let ranges = |text: &str| -> Vec<IdRange> { text.lines().filter_map(range).collect() };
        let maps = Self {
            users: ranges(users),
            groups: ranges(groups),
        };
        let same = |one: &IdRange| one.inside == one.outside;
        let initial = maps.users.iter().chain(&maps.groups).all(same);
        (!initial).then_some(maps)
    }
}

fn find(ranges: &[IdRange], id: u32, ends: fn(&IdRange) -> (u32, u32)) -> Option<u32> {
    ranges.iter().find_map(|one| {
        let (from, to) = ends(one);
        let offset = id.checked_sub(from).filter(|offset| *offset < one.size)?;
        to.checked_add(offset)
    })
}

fn range(line: &str) -> Option<IdRange> {
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    Some(IdRange {
        inside: numbers.next()??,
        outside: numbers.next()??,
        size: numbers.next()??,
    })
}

/// `INSIDE:OUTSIDE:SIZE`.
impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_go_in_and_out() {
        let maps = IdMaps::parse(
            "         0     100000       1000\n 1000 300000 10\n",
            "0 200000 65536",
        )
        .unwrap();
        assert_eq!(maps.outside((0, 0)), Ok((100_000, 200_000)));
        assert_eq!(maps.outside((1009, 5)), Ok((300_009, 200_005)));
        assert_eq!(maps.outside((1010, 5)), Err(UnmappedId::Inside(1010)));
        assert_eq!(maps.inside((300_009, 200_005)), Ok((1009, 5)));
        assert_eq!(maps.inside((0, 200_000)), Err(UnmappedId::Outside(0)));
        assert_eq!(maps.users[1].to_string(), "1000:300000:10");
    }

    #[test]
    fn the_initial_namespace_maps_nothing() {
        assert_eq!(IdMaps::parse("0 0 4294967295", "0 0 4294967295"), None);
    }
}
