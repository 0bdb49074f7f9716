//! The end of an engine on a host: its networks stay in its records alone.

use arca_net::Net;
use arca_store::Store;

use crate::Networks;
use crate::config::Config;
use crate::error::Error;
use crate::record::NetworkRecord;
use crate::translate;

impl Networks {
    /// Removes from the kernel what belongs to networks: bridges, links, namespaces, the tables of the
    /// firewall; forwarding is as it was before. The records stay: a start makes everything again. Only
    /// while no container runs.
    ///
    /// # Errors
    /// When records cannot be read; the first thing that the kernel refuses, the rest is removed.
    pub async fn teardown(config: &Config, store: &Store) -> Result<(), Error> {
        let net = Net::open(config.backend()).map_err(Error::Driver)?;
        let records = store.table::<NetworkRecord>().load_all();
        let mut networks = Vec::new();
        for (_, NetworkRecord(network)) in records.map_err(Error::Store)? {
            networks.extend(translate::network(&network, config)?);
        }
        let cleared = net.clear(networks).await;
        cleared.and(net.close().await).map_err(Error::Driver)
    }
}
