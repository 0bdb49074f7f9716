//! The end of an engine on this host: nothing of its networks stays in the kernel.

use std::thread;
use std::time::{Duration, Instant};

use crate::config::NetworkConfig;
use crate::error::Error;
use crate::forwarding;
use crate::inner::Inner;
use crate::netlink::link;
use crate::netns;

/// How long links may take to vanish whose namespaces have gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether they are there.
const LOOK: Duration = Duration::from_millis(10);

impl Inner {
    /// Takes back what was made for `networks`, then forwarding, then the tables: the host forwards nothing
    /// while the table no longer guards it.
    pub(crate) fn clear(&self, networks: &[NetworkConfig]) -> Result<(), Error> {
        let mut result = Ok(());
        for path in netns::list(&self.config.netns_dir)? {
            result = result.and(netns::remove(&path));
        }
        for network in networks {
            result = result.and(self.take_away(network));
        }
        let restored = forwarding::restore(self.run_dir());
        result.and(restored).and(self.host.firewall.clear())
    }

    /// Removes a network, unless somebody else has put links on what it stands on.
    fn take_away(&self, network: &NetworkConfig) -> Result<(), Error> {
        let driver = network.driver.driver();
        let begun = Instant::now();
        while self.has_ports(driver.host_link())? {
            if begun.elapsed() > PATIENCE {
                return Err(Error::Refused(format!(
                    "links that are not the engine's are on {}: it stays",
                    driver.host_link()
                )));
            }
            thread::park_timeout(LOOK);
        }
        driver.tear_down(&self.host)
    }

    fn has_ports(&self, name: &str) -> Result<bool, Error> {
        let links = self.host.with(link::list);
        let links = links.map_err(Error::system("list links"))?;
        let bridge = links.iter().find(|link| link.name == name);
        Ok(bridge.is_some_and(|bridge| links.iter().any(|link| link.master == Some(bridge.index))))
    }
}
