//! The DNS servers of sandboxes: in this process, or in one that outlives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::dns::{DnsConfig, Order, Server, Sockets};
use crate::error::Error;
use crate::inner::{Inner, lock};
use crate::sandbox::Inside;

/// What is served, and how.
#[derive(Debug, Default)]
pub(crate) struct Resolvers {
    /// Every sandbox with a server.
    configs: BTreeMap<String, DnsConfig>,
    /// Their servers, when they are in this process.
    here: BTreeMap<String, Server>,
}

impl Inner {
    /// Gives a sandbox a server on its sockets, or tells the one it has what is known there now. Needs a tokio
    /// runtime when the servers are in this process.
    pub(crate) fn serve(
        self: &Arc<Self>,
        sandbox: &str,
        dns: &DnsConfig,
        sockets: Option<Sockets>,
    ) -> Result<(), Error> {
        let known = lock(&self.resolvers)
            .configs
            .insert(sandbox.to_owned(), dns.clone())
            .is_some();
        let Some(kept) = &self.kept else {
            return self.serve_here(sandbox, dns, sockets);
        };
        let sockets = match sockets {
            None if known && kept.is_there() => {
                let order = Order::Configure(sandbox.to_owned(), dns.clone());
                return kept.order(&order, None);
            }
            None => self.enter(sandbox, |_| Inside::open_dns())?,
            Some(sockets) => sockets,
        };
        let order = Order::Serve(sandbox.to_owned(), dns.clone());
        if kept.is_there() && kept.order(&order, Some(&sockets)).is_ok() {
            return Ok(());
        }
        // A new process learns everything; this sandbox's sockets are here already.
        self.begin_dns(Some(sandbox))?;
        kept.order(&order, Some(&sockets))
    }

    fn serve_here(
        &self,
        sandbox: &str,
        dns: &DnsConfig,
        sockets: Option<Sockets>,
    ) -> Result<(), Error> {
        if let Some(server) = lock(&self.resolvers).here.get(sandbox) {
            server.configure(dns);
            return Ok(());
        }
        let sockets = match sockets {
            Some(sockets) => sockets,
            None => self.enter(sandbox, |_| Inside::open_dns())?,
        };
        let server = Server::start(sockets, Arc::clone(&self.names), dns)?;
        lock(&self.resolvers)
            .here
            .insert(sandbox.to_owned(), server);
        Ok(())
    }

    /// Ends the server of a sandbox.
    pub(crate) fn end_dns(&self, sandbox: &str) {
        let mut resolvers = lock(&self.resolvers);
        drop(resolvers.here.remove(sandbox));
        let known = resolvers.configs.remove(sandbox).is_some();
        drop(resolvers);
        if let Some(kept) = self.kept.as_ref().filter(|kept| known && kept.is_there())
            && let Err(error) = kept.order(&Order::End(sandbox.to_owned()), None)
        {
            let error = arca_types::chain(&error);
            tracing::debug!(error, "the DNS process is told so when it is there again");
        }
    }

    /// Ends the process that answers, unless a sandbox has a server.
    pub(crate) fn close_dns(&self) {
        if let Some(kept) = &self.kept
            && lock(&self.resolvers).configs.is_empty()
        {
            kept.end();
        }
    }

    /// Takes up the servers of these sandboxes, at start.
    pub(crate) fn recover_dns(
        self: &Arc<Self>,
        sandboxes: BTreeMap<String, DnsConfig>,
    ) -> Result<(), Error> {
        if self.kept.is_none() {
            let mut result = Ok(());
            for (sandbox, dns) in sandboxes {
                result = result.and(self.serve(&sandbox, &dns, None));
            }
            return result;
        }
        lock(&self.resolvers).configs = sandboxes;
        self.begin_dns(None)
    }

    /// Tells everything to the process that answers, and gives it the sockets that it lacks, but for those of
    /// the sandbox whose sockets are at hand: opened anew, they would be others than those in use.
    fn begin_dns(self: &Arc<Self>, at_hand: Option<&str>) -> Result<(), Error> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let inner = Arc::downgrade(self);
        let configs = lock(&self.resolvers).configs.clone();
        let lacking = self
            .names
            .with_all(|names| kept.begin(names, configs.clone(), move || revive(&inner)))?;
        let mut result = Ok(());
        let lacking = lacking.into_iter();
        for sandbox in lacking.filter(|sandbox| at_hand != Some(sandbox.as_str())) {
            let Some(dns) = configs.get(&sandbox) else {
                continue;
            };
            let served = self
                .enter(&sandbox, |_| Inside::open_dns())
                .and_then(|sockets| {
                    let order = Order::Serve(sandbox.clone(), dns.clone());
                    kept.order(&order, Some(&sockets))
                });
            result = result.and(served);
        }
        result
    }
}

/// The process that answers has ended: there will be another one, as long as somebody needs it.
fn revive(inner: &Weak<Inner>) {
    let Some(inner) = inner.upgrade() else { return };
    if lock(&inner.resolvers).configs.is_empty() {
        return;
    }
    tracing::warn!("the DNS process has ended: starting another one");
    if let Err(error) = inner.begin_dns(None) {
        let error = arca_types::chain(&error);
        tracing::error!(error, "containers get no answers from DNS");
    }
}
