//! Which names there are on which network.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::orders::{Entry, Order};

/// The names of every network. Changed by whoever knows them, asked by the servers.
#[derive(Debug, Default)]
pub struct Names {
    zones: RwLock<HashMap<String, Zone>>,
    /// The process that answers, and has to know them, too.
    kept: OnceLock<Arc<Kept>>,
}

/// The names of one network.
#[derive(Debug, Default)]
struct Zone {
    name: String,
    endpoints: BTreeMap<String, Named>,
    /// The endpoints that have a name.
    by_name: HashMap<String, Vec<String>>,
}

/// An endpoint with its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its names, the first one being its own.
    pub names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Names {
    /// Gives an endpoint its names on a network, in place of those it had.
    pub fn set(&self, network: &str, network_name: &str, endpoint: &str, named: Named) {
        let mut zones = self.write();
        if let Some(kept) = self.kept.get() {
            kept.tell(&Order::Name(Entry {
                network: network.to_owned(),
                network_name: network_name.to_owned(),
                endpoint: endpoint.to_owned(),
                named: named.clone(),
            }));
        }
        let zone = zones.entry(network.to_owned()).or_default();
        network_name.clone_into(&mut zone.name);
        zone.remove(endpoint);
        for name in &named.names {
            let holders = zone.by_name.entry(name.to_ascii_lowercase()).or_default();
            if !holders.iter().any(|holder| holder == endpoint) {
                holders.push(endpoint.to_owned());
            }
        }
        zone.endpoints.insert(endpoint.to_owned(), named);
    }

    /// Forgets an endpoint.
    pub fn remove(&self, network: &str, endpoint: &str) {
        let mut zones = self.write();
        if let Some(kept) = self.kept.get() {
            kept.tell(&Order::Forget(network.to_owned(), endpoint.to_owned()));
        }
        if let Some(zone) = zones.get_mut(network) {
            zone.remove(endpoint);
            if zone.endpoints.is_empty() {
                zones.remove(network);
            }
        }
    }

    /// Tells changes to the process that answers, from now on.
    pub(crate) fn follow(&self, kept: Arc<Kept>) {
        // Set once: there is one process.
        let _known = self.kept.set(kept);
    }

    /// Calls `work` with everything that is known; nothing changes meanwhile.
    pub(crate) fn with_all<T>(&self, work: impl FnOnce(Vec<Entry>) -> T) -> T {
        let zones = self.write();
        let entries = zones.iter().flat_map(|(network, zone)| {
            zone.endpoints.iter().map(|(endpoint, named)| Entry {
                network: network.clone(),
                network_name: zone.name.clone(),
                endpoint: endpoint.clone(),
                named: named.clone(),
            })
        });
        work(entries.collect())
    }

    /// Puts these in the place of all.
    pub(super) fn replace(&self, entries: Vec<Entry>) {
        let fresh = Self::default();
        for entry in entries {
            let (network, name) = (&entry.network, &entry.network_name);
            fresh.set(network, name, &entry.endpoint, entry.named);
        }
        // At once: a name that is missing for a moment would be asked for outside.
        *self.write() = std::mem::take(&mut fresh.write());
    }

    /// The addresses of a name on the first of the networks that has it, alone or followed by the name of
    /// the network. `None` when none has it.
    pub(crate) fn lookup(&self, networks: &[String], name: &str) -> Option<Vec<IpAddr>> {
        let zones = self.read();
        let zones: Vec<&Zone> = networks
            .iter()
            .filter_map(|network| zones.get(network))
            .collect();
        let plain = zones.iter().find_map(|zone| zone.lookup(name));
        plain.or_else(|| {
            zones.iter().find_map(|zone| {
                let suffix = zone.name.to_ascii_lowercase();
                let host = name.strip_suffix(&suffix)?.strip_suffix('.')?;
                zone.lookup(host)
            })
        })
    }

    /// The name that belongs to an address on one of the networks.
    pub(crate) fn reverse(&self, networks: &[String], address: IpAddr) -> Option<String> {
        let zones = self.read();
        networks
            .iter()
            .filter_map(|network| zones.get(network))
            .find_map(|zone| {
                let named = zone
                    .endpoints
                    .values()
                    .find(|named| named.addresses.contains(&address))?;
                Some(format!("{}.{}", named.names.first()?, zone.name))
            })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Zone>> {
        self.zones.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Zone>> {
        self.zones.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zone {
    fn remove(&mut self, endpoint: &str) {
        let Some(named) = self.endpoints.remove(endpoint) else {
            return;
        };
        for name in named.names {
            let name = name.to_ascii_lowercase();
            if let Some(holders) = self.by_name.get_mut(&name) {
                holders.retain(|holder| holder != endpoint);
                if holders.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
    }

    fn lookup(&self, name: &str) -> Option<Vec<IpAddr>> {
        let holders = self.by_name.get(name)?;
        let endpoints = holders
            .iter()
            .filter_map(|holder| self.endpoints.get(holder));
        Some(
            endpoints
                .flat_map(|named| named.addresses.iter().copied())
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn named(names: &[&str], address: &str) -> Named {
        Named {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: vec![ip(address)],
        }
    }

    #[test]
    fn names_belong_to_networks() {
        let names = Names::default();
        names.set("n1", "front", "e1", named(&["web", "www"], "10.0.0.2"));
        names.set("n1", "front", "e2", named(&["Web2", "www"], "10.0.0.3"));
        names.set("n2", "back", "e3", named(&["web"], "10.1.0.2"));
        let (n1, n2) = (vec!["n1".to_owned()], vec!["n2".to_owned()]);
        let both = vec!["n2".to_owned(), "n1".to_owned()];
        assert_eq!(
            names.lookup(&n1, "www"),
            Some(vec![ip("10.0.0.2"), ip("10.0.0.3")])
        );
        assert_eq!(names.lookup(&n1, "web2"), Some(vec![ip("10.0.0.3")]));
        assert_eq!(names.lookup(&n2, "www"), None);
        assert_eq!(names.lookup(&both, "web"), Some(vec![ip("10.1.0.2")]));
        assert_eq!(names.lookup(&both, "web.front"), Some(vec![ip("10.0.0.2")]));
        assert_eq!(
            names.reverse(&both, ip("10.0.0.3")).as_deref(),
            Some("Web2.front")
        );
        assert_eq!(names.reverse(&n2, ip("10.0.0.3")), None);
    }

    #[test]
    fn names_that_stay_are_never_missing_while_all_are_replaced() {
        let names = Names::default();
        names.set("n1", "front", "e1", named(&["web"], "10.0.0.2"));
        let all = names.with_all(|all| all);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let network = vec!["n1".to_owned()];
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(names.lookup(&network, "web"), Some(vec![ip("10.0.0.2")]));
                }
            });
            for _ in 0..20_000 {
                names.replace(all.clone());
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            asking.join().unwrap();
        });
    }

    #[test]
    fn names_go_with_their_endpoint() {
        let names = Names::default();
        let network = vec!["n1".to_owned()];
        names.set("n1", "front", "e1", named(&["old"], "10.0.0.2"));
        names.set("n1", "front", "e1", named(&["new"], "10.0.0.2"));
        assert_eq!(names.lookup(&network, "old"), None);
        names.remove("n1", "e1");
        assert_eq!(names.lookup(&network, "new"), None);
        assert!(names.read().is_empty());
    }
}
