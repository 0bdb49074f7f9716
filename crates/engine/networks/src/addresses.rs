//! The addresses of one network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arca_net::ipam::{AddressError, Pool};
use arca_types::NetworkId;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::Error;
use crate::network::{IpamPool, Network};
use crate::spec::EndpointSpec;

/// Which addresses of a network are taken.
#[derive(Debug)]
pub(crate) struct Addresses {
    network: String,
    id: NetworkId,
    pools: Vec<Pool>,
}

/// What an endpoint got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) ipv4: Option<Ipv4Net>,
    pub(crate) ipv6: Option<Ipv6Net>,
}

impl Addresses {
    /// The addresses of a network with nobody on it.
    pub(crate) fn of(network: &Network) -> Self {
        let pool = |of: &IpamPool| {
            let mut pool = Pool::new(of.subnet, of.range);
            let taken = of.auxiliary.values().chain([&of.gateway]);
            for address in taken {
                // An auxiliary address may well be the gateway; one of another subnet is not ours.
                let _taken_before_or_not_ours = pool.reserve(*address);
            }
            pool
        };
        Self {
            network: network.name.clone(),
            id: network.id.clone(),
            pools: network.ipam.pools.iter().map(pool).collect(),
        }
    }

    /// Takes addresses for an endpoint: what it asks for, or the next ones.
    pub(crate) fn assign(&mut self, wish: &EndpointSpec) -> Result<Assigned, Error> {
        let mut assigned = Assigned::default();
        let result = self.assign_both(wish, &mut assigned);
        if result.is_err() {
            self.release(assigned);
        }
        result.map(|()| assigned)
    }

    fn assign_both(&mut self, wish: &EndpointSpec, assigned: &mut Assigned) -> Result<(), Error> {
        if self.has(true) {
            match self.take(true, wish.ipv4.map(IpAddr::V4))? {
                IpNet::V4(net) => assigned.ipv4 = Some(net),
                IpNet::V6(_) => {}
            }
        }
        if self.has(false) {
            match self.take(false, wish.ipv6.map(IpAddr::V6))? {
                IpNet::V6(net) => assigned.ipv6 = Some(net),
                IpNet::V4(_) => {}
            }
        }
        Ok(())
    }

    fn has(&self, ipv4: bool) -> bool {
        self.pools
            .iter()
            .any(|pool| pool.subnet().addr().is_ipv4() == ipv4)
    }

    fn take(&mut self, ipv4: bool, wish: Option<IpAddr>) -> Result<IpNet, Error> {
        for pool in self
            .pools
            .iter_mut()
            .filter(|pool| pool.subnet().addr().is_ipv4() == ipv4)
        {
            let subnet = pool.subnet();
            let taken = match wish {
                Some(address) => pool.reserve(address).map(|()| address),
                None => pool.allocate(),
            };
            match taken {
                Ok(address) => return Ok(net(address, subnet.prefix_len())),
                Err(AddressError::InUse) => return Err(Error::AddressInUse),
                Err(AddressError::OutOfRange | AddressError::Exhausted) => {}
            }
        }
        match wish {
            Some(address) => Err(Error::InvalidEndpoint {
                network: self.network.clone(),
                problem: format!(
                    "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address {address}"
                ),
            }),
            None => Err(Error::Exhausted {
                version: if ipv4 { 4 } else { 6 },
                network: self.network.clone(),
                id: self.id.clone(),
            }),
        }
    }

    /// Takes the addresses of an endpoint that exists.
    pub(crate) fn restore(&mut self, assigned: Assigned) {
        for address in assigned.addresses() {
            let taken = self
                .pools
                .iter_mut()
                .any(|pool| pool.reserve(address).is_ok());
            if !taken {
                tracing::warn!(%address, network = self.network, "an address belongs to two");
            }
        }
    }

    /// Gives the addresses of an endpoint back.
    pub(crate) fn release(&mut self, assigned: Assigned) {
        for address in assigned.addresses() {
            self.pools.iter_mut().for_each(|pool| pool.release(address));
        }
    }
}

impl Assigned {
    fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self.ipv4.map(|net| IpAddr::V4(net.addr()));
        ipv4.into_iter()
            .chain(self.ipv6.map(|net| IpAddr::V6(net.addr())))
    }
}

fn net(address: IpAddr, prefix: u8) -> IpNet {
    // The prefix is that of a subnet of the address's family.
    IpNet::new(address, prefix).unwrap_or(IpNet::from(address))
}

/// The gateways of a network as its containers use them.
pub(crate) fn gateways(network: &Network) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let mut gateways = (None, None);
    for pool in &network.ipam.pools {
        let chosen = ["DefaultGatewayIPv4", "DefaultGatewayIPv6"]
            .iter()
            .find_map(|name| pool.auxiliary.get(*name));
        match *chosen.unwrap_or(&pool.gateway) {
            IpAddr::V4(address) => gateways.0 = gateways.0.or(Some(address)),
            IpAddr::V6(address) => gateways.1 = gateways.1.or(Some(address)),
        }
    }
    gateways
}
