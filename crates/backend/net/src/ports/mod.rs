//! The host's side of published ports: which are taken, and sockets that hold them.
//!
//! The kernel leads packets of a published port away before they reach a socket, but another process
//! must not be able to bind the port. So a socket is held for each; where the kernel cannot redirect (to
//! a sandbox without an address of the family, from `::1`), a proxy serves it.

mod choose;
mod hold;
mod owner;
mod proxy;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Targets;
use crate::error::{BindError, Error};
use crate::host::has_ipv6;
use crate::types::{Exposure, PortSpec, Protocol, PublishedPort};
use choose::{Choice, Taken};
use hold::Held;

/// The published ports of the host.
#[derive(Debug)]
pub struct Ports {
    taken: Arc<Mutex<Taken>>,
    proxy: bool,
}

/// Ports of the host that belong to one sandbox until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    held: BTreeMap<PublishedPort, Held>,
    taken: Arc<Mutex<Taken>>,
}

impl Reservation {
    /// The ports, in order of the container's ports.
    #[must_use]
    pub fn ports(&self) -> Vec<PublishedPort> {
        let mut ports: Vec<PublishedPort> = self.held.keys().cloned().collect();
        ports.sort_by_key(|port| {
            (
                port.container_port,
                port.protocol,
                port.host_ip,
                port.host_port,
            )
        });
        ports
    }
}

impl Reservation {
    /// Gives the ports back; they can be bound again when this returns. Dropping gives them back, too, but
    /// the sockets of proxies close a moment later.
    pub async fn release(mut self) {
        for held in self.closing() {
            held.close().await;
        }
    }

    /// Takes the sockets out; the ports stay taken until this is dropped.
    fn closing(&mut self) -> Vec<Held> {
        self.held
            .values_mut()
            .map(|held| std::mem::replace(held, Held::nothing()))
            .collect()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for port in self.held.keys().filter(|port| port.host_port != 0) {
            taken.release(port);
        }
    }
}

impl Ports {
    pub(crate) fn new(proxy: bool) -> Self {
        Self {
            taken: Arc::default(),
            proxy,
        }
    }

    /// Reserves the host's side of each wish. `host_ip` is where those go that name no address.
    ///
    /// Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// When a port is taken, by us or by a process of the host; nothing is reserved then.
    pub fn reserve(
        &self,
        specs: &[PortSpec],
        targets: Targets,
        host_ip: Option<IpAddr>,
    ) -> Result<Reservation, Error> {
        let mut reservation = Reservation {
            held: BTreeMap::new(),
            taken: Arc::clone(&self.taken),
        };
        // A port that was asked for must not be given away before.
        let mut specs: Vec<&PortSpec> = specs.iter().collect();
        specs.sort_by_key(|spec| spec.host_ports.is_none_or(|(first, last)| first != last));
        for spec in specs {
            self.reserve_one(&mut reservation, spec, targets, host_ip)?;
        }
        Ok(reservation)
    }

    fn reserve_one(
        &self,
        reservation: &mut Reservation,
        spec: &PortSpec,
        targets: Targets,
        host_ip: Option<IpAddr>,
    ) -> Result<(), Error> {
        let (routed, addresses): (Vec<IpAddr>, Vec<IpAddr>) = self
            .addresses(spec, targets, host_ip)?
            .into_iter()
            .partition(|ip| targets.is_routed(*ip));
        // At its own address a container is reached by others alone.
        let opened = targets.exposure == Exposure::Open;
        for ip in routed.into_iter().filter(|_| opened) {
            let open = PublishedPort {
                protocol: spec.protocol,
                container_port: spec.container_port,
                host_ip: crate::host::any(ip),
                host_port: 0,
            };
            reservation.held.insert(open, Held::nothing());
        }
        if addresses.is_empty() {
            return Ok(());
        }
        let mut choice = Choice::new(spec.host_ports);
        let mut last = None;
        loop {
            let found = self
                .taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(spec, &addresses, &mut choice);
            let Some(port) = found.map_err(|error| last.take().unwrap_or(error))? else {
                continue;
            };
            let wanted = |ip: &IpAddr| PublishedPort {
                protocol: spec.protocol,
                container_port: spec.container_port,
                host_ip: *ip,
                host_port: port,
            };
            let ports: Vec<PublishedPort> = addresses.iter().map(wanted).collect();
            match self.hold_all(&ports, targets) {
                Ok(held) => {
                    reservation.held.extend(ports.into_iter().zip(held));
                    return Ok(());
                }
                Err(error) => {
                    let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
                    ports.iter().for_each(|port| taken.release(port));
                    let retry = choice.goes_on()
                        && matches!(
                            &error,
                            Error::Bind {
                                cause: BindError::InUse(_),
                                ..
                            }
                        );
                    if !retry {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
    }

    /// The host's addresses that a wish is about.
    fn addresses(
        &self,
        spec: &PortSpec,
        targets: Targets,
        host_ip: Option<IpAddr>,
    ) -> Result<Vec<IpAddr>, Error> {
        let can = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => targets.ipv4.is_some(),
            IpAddr::V6(_) => {
                let proxied = self.proxy && spec.protocol != Protocol::Sctp;
                targets.ipv6.is_some() || (proxied && targets.ipv4.is_some())
            }
        };
        if targets.exposure == Exposure::Loopback {
            return self.on_loopback(spec, host_ip, can);
        }
        if let Some(ip) = spec.host_ip.or(host_ip) {
            let no_address = Error::NoAddress {
                protocol: spec.protocol,
                host_ip: ip,
            };
            return if can(&ip) {
                Ok(vec![ip])
            } else {
                Err(no_address)
            };
        }
        let both = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        let usable = both
            .into_iter()
            .filter(|ip| can(ip) && (ip.is_ipv4() || has_ipv6()))
            .collect();
        Ok(usable)
    }

    /// The same where the host alone may reach the port.
    fn on_loopback(
        &self,
        spec: &PortSpec,
        host_ip: Option<IpAddr>,
        can: impl Fn(&IpAddr) -> bool,
    ) -> Result<Vec<IpAddr>, Error> {
        let asked = spec.host_ip.or(host_ip).filter(|ip| !ip.is_unspecified());
        match asked {
            Some(ip) if ip.is_loopback() => return Ok(vec![ip]),
            Some(ip) => return Err(Error::NotExposed(ip)),
            None => {}
        }
        let family = spec.host_ip.or(host_ip);
        let both = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let usable = both.into_iter().filter(|ip: &IpAddr| {
            // The kernel leads nothing away from ::1.
            let served = ip.is_ipv4() || (self.proxy && has_ipv6());
            let wanted = family.is_none_or(|family| family.is_ipv4() == ip.is_ipv4());
            can(ip) && served && wanted
        });
        Ok(usable.collect())
    }

    fn hold_all(&self, ports: &[PublishedPort], targets: Targets) -> Result<Vec<Held>, Error> {
        ports.iter().map(|port| self.hold(port, targets)).collect()
    }

    fn hold(&self, port: &PublishedPort, targets: Targets) -> Result<Held, Error> {
        if targets.exposure == Exposure::Loopback && !port.host_ip.is_loopback() {
            // Published before the container came to where that is not wanted.
            return Ok(Held::nothing());
        }
        let target = target_of(port, targets).filter(|_| self.proxy);
        Held::new(port, target).map_err(|cause| {
            let own = match port.host_ip {
                IpAddr::V4(_) => targets.ipv4.map(IpAddr::V4),
                IpAddr::V6(_) => targets.ipv6.map(IpAddr::V6),
            };
            let container_ip = own
                .or(targets.ipv4.map(IpAddr::V4))
                .unwrap_or(IpAddr::from([0; 4]));
            Error::Bind {
                port: port.clone(),
                container_ip,
                cause: match BindError::from(cause) {
                    BindError::InUse(_) => BindError::InUse(owner::of(port)),
                    other => other,
                },
            }
        })
    }

    pub(crate) fn rebind(&self, ports: &[PublishedPort], targets: Targets) -> Reservation {
        let mut held = BTreeMap::new();
        for port in ports {
            if port.host_port == 0 {
                held.insert(port.clone(), Held::nothing());
                continue;
            }
            self.taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .restore(port);
            let socket = self.hold(port, targets).unwrap_or_else(|error| {
                let error = arca_types::chain(&error);
                tracing::warn!(error, "a published port cannot be bound again");
                Held::nothing()
            });
            held.insert(port.clone(), socket);
        }
        Reservation {
            held,
            taken: Arc::clone(&self.taken),
        }
    }
}

/// Where a proxy leads a port: to the address of its own family, or else to the IPv4 address.
fn target_of(port: &PublishedPort, targets: Targets) -> Option<SocketAddr> {
    let ipv4 = targets.ipv4.map(IpAddr::V4);
    let ip = match port.host_ip {
        IpAddr::V4(_) => ipv4,
        IpAddr::V6(_) => targets.ipv6.map(IpAddr::V6).or(ipv4),
    };
    ip.map(|ip| SocketAddr::new(ip, port.container_port))
}

#[cfg(test)]
mod tests;
