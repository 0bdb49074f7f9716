//! Which port of the host a wish gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::error::Error;
use crate::sysctl;
use crate::types::{PortSpec, Protocol, PublishedPort};

/// Where ports nobody chose come from, when the kernel does not say.
const EPHEMERAL: (u16, u16) = (32768, 60999);

/// The ports that are published, with the addresses.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    ports: BTreeMap<(Protocol, u16), BTreeSet<IpAddr>>,
    /// The port that the last ephemeral wish got.
    last: Option<u16>,
}

/// The candidates for one wish, in order. Remembers which were tried.
#[derive(Debug)]
pub(crate) struct Choice {
    range: Option<(u16, u16)>,
    tried: u32,
}

impl Choice {
    /// Begins with the first candidate.
    pub(crate) fn new(range: Option<(u16, u16)>) -> Self {
        Self { range, tried: 0 }
    }

    /// Whether the wish leaves a choice, so that another candidate may be tried.
    pub(crate) fn goes_on(&self) -> bool {
        self.range.is_none_or(|(first, last)| first != last)
    }
}

impl Taken {
    /// Takes the next candidate for all of the addresses; `None` when it is taken and another may be free.
    ///
    /// # Errors
    /// When no candidate is left, or the only one is taken.
    pub(crate) fn take(
        &mut self,
        spec: &PortSpec,
        addresses: &[IpAddr],
        choice: &mut Choice,
    ) -> Result<Option<u16>, Error> {
        let (first, last) = choice.range.unwrap_or_else(ephemeral);
        let count = u32::from(last.saturating_sub(first)) + 1;
        if choice.tried >= count {
            return Err(Error::NoPort);
        }
        let port = if choice.range.is_some() {
            offset(first, choice.tried)
        } else {
            self.following(first, last)
        };
        choice.tried += 1;
        let conflict = addresses
            .iter()
            .find(|ip| self.is_taken(spec.protocol, port, **ip));
        if let Some(ip) = conflict {
            return if choice.goes_on() {
                Ok(None)
            } else {
                Err(Error::PortAllocated {
                    protocol: spec.protocol,
                    host_ip: *ip,
                    port,
                    owner: None,
                })
            };
        }
        let holders = self.ports.entry((spec.protocol, port)).or_default();
        holders.extend(addresses);
        Ok(Some(port))
    }

    /// Marks a port that was published before.
    pub(crate) fn restore(&mut self, port: &PublishedPort) {
        self.ports
            .entry((port.protocol, port.host_port))
            .or_default()
            .insert(port.host_ip);
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: &PublishedPort) {
        let key = (port.protocol, port.host_port);
        if let Some(holders) = self.ports.get_mut(&key) {
            holders.remove(&port.host_ip);
            if holders.is_empty() {
                self.ports.remove(&key);
            }
        }
    }

    fn is_taken(&self, protocol: Protocol, port: u16, ip: IpAddr) -> bool {
        self.ports.get(&(protocol, port)).is_some_and(|holders| {
            holders.iter().any(|held| {
                held.is_ipv4() == ip.is_ipv4()
                    && (*held == ip || held.is_unspecified() || ip.is_unspecified())
            })
        })
    }

    /// The port after the last one that was given out.
    fn following(&mut self, first: u16, last: u16) -> u16 {
        let next = match self.last {
            Some(port) if (first..last).contains(&port) => port + 1,
            _ => first,
        };
        self.last = Some(next);
        next
    }
}

fn offset(first: u16, by: u32) -> u16 {
    first.saturating_add(u16::try_from(by).unwrap_or(u16::MAX))
}

/// The kernel's range of ephemeral ports.
fn ephemeral() -> (u16, u16) {
    let parse = || {
        let text = sysctl::get("ipv4/ip_local_port_range")?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let range = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (range.0 > 0 && range.0 <= range.1).then_some(range)
    };
    parse().unwrap_or(EPHEMERAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    fn wish(host_ports: Option<(u16, u16)>) -> PortSpec {
        PortSpec {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: None,
            host_ports,
        }
    }

    fn get(taken: &mut Taken, range: Option<(u16, u16)>, ip: IpAddr) -> Result<u16, Error> {
        let mut choice = Choice::new(range);
        loop {
            if let Some(port) = taken.take(&wish(range), &[ip], &mut choice)? {
                return Ok(port);
            }
        }
    }

    #[test]
    fn a_chosen_port_is_given_once() {
        let mut taken = Taken::default();
        assert_eq!(get(&mut taken, Some((80, 80)), ANY).unwrap(), 80);
        let error = get(&mut taken, Some((80, 80)), ANY).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 0.0.0.0:80 failed: port is already allocated"
        );
    }

    #[test]
    fn an_address_conflicts_with_every_address_of_its_family() {
        let mut taken = Taken::default();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let other: IpAddr = "127.0.0.2".parse().unwrap();
        let six: IpAddr = "::".parse().unwrap();
        get(&mut taken, Some((80, 80)), local).unwrap();
        get(&mut taken, Some((80, 80)), other).unwrap();
        get(&mut taken, Some((80, 80)), six).unwrap();
        get(&mut taken, Some((80, 80)), ANY).unwrap_err();
    }

    #[test]
    fn a_range_is_used_up_and_then_refused() {
        let mut taken = Taken::default();
        assert_eq!(get(&mut taken, Some((80, 81)), ANY).unwrap(), 80);
        assert_eq!(get(&mut taken, Some((80, 81)), ANY).unwrap(), 81);
        let error = get(&mut taken, Some((80, 81)), ANY).unwrap_err();
        assert_eq!(error.to_string(), "all ports are allocated");
    }

    #[test]
    fn ephemeral_ports_go_on_after_the_last_one() {
        let mut taken = Taken::default();
        let first = get(&mut taken, None, ANY).unwrap();
        taken.release(&PublishedPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: ANY,
            host_port: first,
        });
        assert_eq!(get(&mut taken, None, ANY).unwrap(), first + 1);
    }

    proptest::proptest! {
        /// Whatever is taken and given back in whatever order, no two hold what excludes the other.
        #[test]
        fn no_port_is_given_twice(steps in proptest::collection::vec(
            (0_u8..3, 0_u16..6, 0_u16..4, 0_usize..4), 1..80,
        )) {
            let addresses: [IpAddr; 4] = [
                ANY,
                "127.0.0.1".parse().unwrap(),
                "127.0.0.2".parse().unwrap(),
                "::".parse().unwrap(),
            ];
            let mut taken = Taken::default();
            let mut held: Vec<(IpAddr, u16)> = Vec::new();
            for (step, first, more, address) in steps {
                let ip = addresses[address];
                if step == 0 && !held.is_empty() {
                    let (host_ip, host_port) = held.remove(usize::from(first) % held.len());
                    let protocol = Protocol::Tcp;
                    taken.release(&PublishedPort { protocol, container_port: 80, host_ip, host_port });
                    continue;
                }
                let range = (9000 + first, 9000 + first + more);
                let excludes = |port: u16| held.iter().any(|(other, number)| {
                    *number == port
                        && other.is_ipv4() == ip.is_ipv4()
                        && (*other == ip || other.is_unspecified() || ip.is_unspecified())
                });
                match get(&mut taken, Some(range), ip) {
                    Ok(port) => {
                        proptest::prop_assert!((range.0..=range.1).contains(&port));
                        proptest::prop_assert!(!excludes(port));
                        held.push((ip, port));
                    }
                    Err(_) => proptest::prop_assert!((range.0..=range.1).all(excludes)),
                }
            }
        }
    }
}
