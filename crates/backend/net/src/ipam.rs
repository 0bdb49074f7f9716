//! Addresses of networks: which subnet, which address. Nothing here touches the kernel or the disk.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why there is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address that was asked for is taken.
    #[error("Address already in use")]
    InUse,
    /// The address that was asked for is not one of the subnet.
    #[error("Invalid address: it does not belong to this subnet")]
    OutOfRange,
    /// Every address is taken.
    #[error("no available addresses on this pool")]
    Exhausted,
}

/// One subnet and its addresses.
#[derive(Debug, Clone)]
pub struct Pool {
    subnet: IpNet,
    range: IpNet,
    taken: BTreeSet<u128>,
    /// No address of the range below this one is free.
    free_from: u128,
}

impl Pool {
    /// A subnet whose addresses are given out from `range`, or from all of it.
    ///
    /// Its first address and, with IPv4, its broadcast address are never given out.
    #[must_use]
    pub fn new(subnet: IpNet, range: Option<IpNet>) -> Self {
        let subnet = subnet.trunc();
        let range = range.unwrap_or(subnet);
        let mut pool = Self {
            subnet,
            range,
            taken: BTreeSet::new(),
            free_from: 0,
        };
        let hosts = subnet.max_prefix_len() - subnet.prefix_len();
        if hosts > 1 {
            pool.taken.insert(number(subnet.network()));
            if subnet.addr().is_ipv4() {
                pool.taken.insert(number(subnet.broadcast()));
            }
        }
        pool.free_from = number(pool.range.network());
        pool
    }

    /// The subnet.
    #[must_use]
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// Takes the lowest free address.
    ///
    /// # Errors
    /// [`AddressError::Exhausted`].
    pub fn allocate(&mut self) -> Result<IpAddr, AddressError> {
        let last = number(self.range.broadcast());
        let mut candidate = self.free_from;
        for taken in self.taken.range(candidate..=last) {
            if *taken != candidate {
                break;
            }
            candidate = candidate.saturating_add(1);
        }
        if candidate > last {
            return Err(AddressError::Exhausted);
        }
        self.taken.insert(candidate);
        self.free_from = candidate;
        Ok(self.address(candidate))
    }

    /// Takes one address.
    ///
    /// # Errors
    /// [`AddressError::InUse`], [`AddressError::OutOfRange`].
    pub fn reserve(&mut self, address: IpAddr) -> Result<(), AddressError> {
        if !self.subnet.contains(&address) {
            return Err(AddressError::OutOfRange);
        }
        if self.taken.insert(number(address)) {
            Ok(())
        } else {
            Err(AddressError::InUse)
        }
    }

    /// Gives an address back.
    pub fn release(&mut self, address: IpAddr) {
        if self.subnet.contains(&address) {
            let number = number(address);
            self.taken.remove(&number);
            if self.range.contains(&address) {
                self.free_from = self.free_from.min(number);
            }
        }
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.subnet {
            IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Whether two subnets have addresses in common.
#[must_use]
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Returns the first subnet of the pools, each a range and the prefix length of its subnets, that has no
/// address in common with any of `occupied`.
#[must_use]
pub fn choose(pools: &[(IpNet, u8)], occupied: &[IpNet]) -> Option<IpNet> {
    pools
        .iter()
        .find_map(|(base, size)| first_free(*base, *size, occupied))
}

/// Steps over what is occupied, instead of trying each subnet: a range may hold very many.
fn first_free(base: IpNet, size: u8, occupied: &[IpNet]) -> Option<IpNet> {
    let base = base.trunc();
    if size < base.prefix_len() || size > base.max_prefix_len() {
        return None;
    }
    let last = number(base.broadcast());
    let mut at = base.network();
    loop {
        let candidate = IpNet::new(at, size).ok()?.trunc();
        let blocking = occupied.iter().find(|taken| overlap(taken, &candidate));
        let Some(blocking) = blocking else {
            return Some(candidate);
        };
        let end = number(blocking.broadcast()).max(number(candidate.broadcast()));
        if end >= last {
            return None;
        }
        at = match base {
            IpNet::V4(_) => Ipv4Addr::from(u32::try_from(end + 1).ok()?).into(),
            IpNet::V6(_) => Ipv6Addr::from(end + 1).into(),
        };
        // The blocking subnet may end inside of a candidate: go to where the next one begins.
        let start = IpNet::new(at, size).ok()?.trunc();
        if number(start.network()) < number(at) {
            at = next(start)?;
        }
        if number(at) > last {
            return None;
        }
    }
}

fn next(net: IpNet) -> Option<IpAddr> {
    let end = number(net.broadcast()).checked_add(1)?;
    Some(match net {
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(end).ok()?).into(),
        IpNet::V6(_) => Ipv6Addr::from(end).into(),
    })
}

/// The pools that dockerd takes IPv4 subnets from.
#[must_use]
pub fn default_pools() -> Vec<(IpNet, u8)> {
    let net = |a, b, prefix, size| {
        (
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), prefix)),
            size,
        )
    };
    vec![
        net(172, 17, 16, 16),
        net(172, 18, 16, 16),
        net(172, 19, 16, 16),
        net(172, 20, 14, 16),
        net(172, 24, 14, 16),
        net(172, 28, 14, 16),
        net(192, 168, 16, 20),
    ]
}

/// The pool of unique local addresses that IPv6 subnets are taken from; `random` makes it this host's own.
#[must_use]
pub fn unique_local_pool(random: [u8; 5]) -> (IpNet, u8) {
    let [a, b, c, d, e] = random;
    let segment = |high, low| u16::from_be_bytes([high, low]);
    let base = Ipv6Addr::new(
        segment(0xfd, a),
        segment(b, c),
        segment(d, e),
        0,
        0,
        0,
        0,
        0,
    );
    (IpNet::V6(Ipv6Net::new_assert(base, 48)), 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_free_address_is_next() {
        let mut pool = Pool::new(net("10.0.0.0/24"), None);
        pool.reserve(ip("10.0.0.1")).unwrap();
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.3")));
        pool.release(ip("10.0.0.2"));
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.4")));
    }

    #[test]
    fn network_and_broadcast_are_not_given_out() {
        let mut pool = Pool::new(net("10.0.0.0/30"), None);
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.1")));
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), Err(AddressError::Exhausted));
        assert_eq!(pool.reserve(ip("10.0.0.3")), Err(AddressError::InUse));
        assert_eq!(pool.reserve(ip("10.0.1.3")), Err(AddressError::OutOfRange));
    }

    #[test]
    fn a_range_bounds_what_is_given_out_but_not_what_may_be_chosen() {
        let mut pool = Pool::new(net("10.0.0.0/24"), Some(net("10.0.0.128/31")));
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.128")));
        assert_eq!(pool.allocate(), Ok(ip("10.0.0.129")));
        assert_eq!(pool.allocate(), Err(AddressError::Exhausted));
        pool.reserve(ip("10.0.0.5")).unwrap();
        pool.release(ip("10.0.0.5"));
        assert_eq!(pool.allocate(), Err(AddressError::Exhausted));
    }

    #[test]
    fn ipv6_subnets_work_alike() {
        let mut pool = Pool::new(net("fd00::/64"), None);
        assert_eq!(pool.allocate(), Ok(ip("fd00::1")));
        assert_eq!(pool.allocate(), Ok(ip("fd00::2")));
    }

    #[test]
    fn subnets_avoid_what_is_occupied() {
        let pools = default_pools();
        let chosen = |occupied: &[&str]| {
            let occupied: Vec<IpNet> = occupied.iter().map(|text| net(text)).collect();
            choose(&pools, &occupied).map(|net| net.to_string())
        };
        assert_eq!(chosen(&[]).as_deref(), Some("172.17.0.0/16"));
        assert_eq!(chosen(&["172.17.5.0/24"]).as_deref(), Some("172.18.0.0/16"));
        assert_eq!(
            chosen(&["172.16.0.0/12"]).as_deref(),
            Some("192.168.0.0/20")
        );
        assert_eq!(
            chosen(&["172.16.0.0/12", "192.168.1.0/24"]).as_deref(),
            Some("192.168.16.0/20")
        );
        assert_eq!(chosen(&["172.16.0.0/12", "192.168.0.0/16"]), None);
        assert_eq!(chosen(&["0.0.0.0/0"]), None);
    }

    #[test]
    fn a_pool_of_unique_local_addresses_is_cut_into_64s() {
        let pool = unique_local_pool([1, 2, 3, 4, 5]);
        let chosen = choose(&[pool], &[net("fd01:203:405::/64")]).unwrap();
        assert_eq!(chosen, net("fd01:203:405:1::/64"));
    }

    proptest::proptest! {
        /// Whatever is taken and given back in whatever order, no address belongs to two, and one is
        /// refused only when none is left.
        #[test]
        fn no_address_is_given_twice(
            steps in proptest::collection::vec((0_u8..4, 0_u8..40), 1..120),
            ranged in proptest::bool::ANY,
            six in proptest::bool::ANY,
        ) {
            let (subnet, range, size) = match (six, ranged) {
                (false, false) => ("10.0.0.0/28", None, 14),
                (false, true) => ("10.0.0.0/28", Some(net("10.0.0.8/30")), 4),
                (true, false) => ("fd00::/124", None, 15),
                (true, true) => ("fd00::/124", Some(net("fd00::8/126")), 4),
            };
            let subnet = net(subnet);
            let mut pool = Pool::new(subnet, range);
            let within = |address: &IpAddr| range.unwrap_or(subnet).contains(address);
            let mut held: BTreeSet<IpAddr> = BTreeSet::new();
            for (step, number) in steps {
                match step {
                    0 => if let Some(address) = held.iter().nth(usize::from(number) % 16).copied() {
                        held.remove(&address);
                        pool.release(address);
                    },
                    1 => {
                        let base = super::number(subnet.network());
                        let address = pool.address(base + u128::from(number % 16));
                        if pool.reserve(address).is_ok() {
                            proptest::prop_assert!(held.insert(address));
                        }
                    }
                    _ => match pool.allocate() {
                        Ok(address) => {
                            proptest::prop_assert!(within(&address));
                            proptest::prop_assert!(held.insert(address));
                        }
                        Err(error) => {
                            proptest::prop_assert_eq!(error, AddressError::Exhausted);
                            proptest::prop_assert_eq!(held.iter().filter(|a| within(a)).count(), size);
                        }
                    },
                }
            }
        }

        /// A subnet is one of its pool, and has nothing in common with what is occupied.
        #[test]
        fn subnets_never_overlap(occupied in proptest::collection::vec(
            (0_u32..=u32::MAX, 8_u8..=32), 0..30,
        )) {
            let mut taken: Vec<IpNet> = occupied
                .iter()
                .map(|(bits, size)| {
                    let address = Ipv4Addr::from(0x0a00_0000 | (bits & 0x00ff_ffff));
                    IpNet::V4(Ipv4Net::new(address, *size.max(&9)).unwrap().trunc())
                })
                .collect();
            let pools = [(net("10.0.0.0/8"), 12), (net("10.0.0.0/8"), 24)];
            for _ in 0..40 {
                let Some(subnet) = choose(&pools, &taken) else { break };
                let is_cut = |(base, size): &(IpNet, u8)| base.contains(&subnet) && subnet.prefix_len() == *size;
                proptest::prop_assert!(pools.iter().any(is_cut));
                proptest::prop_assert!(!taken.iter().any(|other| overlap(other, &subnet)));
                taken.push(subnet);
            }
        }
    }
}
