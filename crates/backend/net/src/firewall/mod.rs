//! The firewall: one nftables table of our own, of the family `inet`.
//!
//! Rules of others are never touched, and ours never accept on their behalf: a packet passes when every
//! table lets it pass. What the table should hold is kept here; it is written as a whole, atomically, when
//! a network comes or goes and when something outside has changed it. Publishing a port adds one element
//! to a map.

mod admission;
mod expr;
mod monitor;
mod published;
mod ruleset;
mod sets;
mod table;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use monitor::watch;
pub(crate) use ruleset::{BridgeRules, Forward, Guard};
pub use table::Obstacle;

use ipnet::IpNet;

use crate::error::Error;
use crate::netlink::Socket;
use crate::netlink::conntrack::{UdpPort, forget_udp};
use crate::types::Protocol;
use ruleset::Ruleset;
use table::{Hook, Transaction};

/// The table of this engine.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    socket: Socket,
    rules: Ruleset,
    /// Whether the table was written and should be there.
    installed: bool,
    /// Whether changes are gathered, to be written at once.
    gathering: bool,
}

impl Firewall {
    /// Opens the firewall of the calling thread's namespace. Nothing is written yet.
    pub(crate) fn open(table: &str) -> Result<Self, Error> {
        let socket = Socket::netfilter().map_err(Error::system("open a netfilter socket"))?;
        let state = State {
            socket,
            rules: Ruleset::default(),
            installed: false,
            gathering: false,
        };
        Ok(Self {
            table: table.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Sets what may pass a bridge; writes the table when that is new.
    pub(crate) fn set_bridge(&self, name: &str, rules: &BridgeRules) -> Result<(), Error> {
        let mut state = self.lock();
        if state.installed && state.rules.bridges.get(name) == Some(rules) {
            return Ok(());
        }
        state.rules.bridges.insert(name.to_owned(), rules.clone());
        self.install(&mut state)
    }

    /// Forgets a bridge. The table goes with the last one.
    pub(crate) fn remove_bridge(&self, name: &str) -> Result<(), Error> {
        let mut state = self.lock();
        if state.rules.bridges.remove(name).is_none() {
            return Ok(());
        }
        self.install(&mut state)
    }

    /// Runs `work`, which changes networks; what it changes is written once, at its end, together with the
    /// redirections. For recovery: what is there goes on working until everything is known.
    pub(crate) fn restore<T>(
        &self,
        forwards: impl IntoIterator<Item = Forward>,
        work: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        {
            let mut state = self.lock();
            state.rules.forwards = forwards.into_iter().collect();
            state.gathering = true;
        }
        let done = work();
        let mut state = self.lock();
        state.gathering = false;
        self.install(&mut state).map(|()| done)
    }

    /// Says whether packets between interfaces that are not ours are stopped, from the next write on.
    pub(crate) fn set_guard(&self, guard: Guard) {
        self.lock().rules.guard = guard;
    }

    /// Adds redirections.
    pub(crate) fn publish(&self, forwards: &[Forward]) -> Result<(), Error> {
        if forwards.is_empty() {
            return Ok(());
        }
        let mut state = self.lock();
        state.rules.forwards.extend(forwards);
        let mut change = Transaction::new(&self.table);
        published::publish(&mut change, forwards);
        if let Err(cause) = change.commit(&mut state.socket) {
            tracing::debug!(%cause, "writing the whole table");
            self.install(&mut state)?;
        }
        forget(&mut state.socket, forwards)
    }

    /// Removes redirections; no harm when they are not there.
    pub(crate) fn withdraw(&self, forwards: &[Forward]) -> Result<(), Error> {
        let mut state = self.lock();
        let known: Vec<Forward> = forwards
            .iter()
            .copied()
            .filter(|forward| state.rules.forwards.remove(forward))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let mut change = Transaction::new(&self.table);
        published::withdraw(&mut change, &known, &state.rules.forwards);
        if let Err(cause) = change.commit(&mut state.socket) {
            tracing::debug!(%cause, "writing the whole table");
            self.install(&mut state)?;
        }
        forget(&mut state.socket, &known)
    }

    /// Forgets whom the host's rules let in to published ports, where that counts.
    pub(crate) fn forget_admissions(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if !state.installed || !state.rules.forwards.iter().any(|one| one.checked) {
            return Ok(());
        }
        let mut change = Transaction::new(&self.table);
        admission::forget(&mut change);
        let forgotten = change.commit(&mut state.socket);
        forgotten.map_err(Error::system("forget who may reach published ports"))
    }

    /// Writes the table again, if it should be there; whether it should.
    pub(crate) fn repair(&self) -> Result<bool, Error> {
        let mut state = self.lock();
        if state.installed {
            self.install(&mut state)?;
        }
        Ok(state.installed)
    }

    /// The chains of others that drop whatever they do not know among forwarded packets, ours too.
    pub(crate) fn obstacles(&self) -> Result<Vec<table::Obstacle>, Error> {
        table::obstacles(&mut self.lock().socket, &self.table)
            .map_err(Error::system("list the chains of the firewall"))
    }

    /// Removes the table, and that of the administrator unless it has rules.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let mut state = self.lock();
        state.rules = Ruleset::default();
        state.installed = false;
        let administrators = self.administrators();
        let failed = |table: &str| Error::system(format!("remove the nftables table {table:?}"));
        let used = table::has_rules(&mut state.socket, &administrators);
        let mut tables = vec![self.table.as_str()];
        if !used.map_err(failed(&administrators))? {
            tables.push(&administrators);
        }
        for table in tables {
            let mut change = Transaction::new(table);
            change.delete_table();
            change.commit(&mut state.socket).map_err(failed(table))?;
        }
        Ok(())
    }

    /// The name of the administrator's table.
    fn administrators(&self) -> String {
        format!("{}-user", self.table)
    }

    /// The name of the table.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The port of the socket by which this firewall is changed.
    pub(crate) fn port(&self) -> io::Result<u32> {
        self.lock().socket.port()
    }

    fn install(&self, state: &mut State) -> Result<(), Error> {
        if state.gathering {
            return Ok(());
        }
        let change = if state.rules.bridges.is_empty() {
            let mut change = Transaction::new(&self.table);
            change.delete_table();
            change
        } else {
            state.rules.replace(&self.table)
        };
        change
            .commit(&mut state.socket)
            .map_err(Error::system(format!(
                "write the nftables table {:?}",
                self.table
            )))?;
        state.installed = !state.rules.bridges.is_empty();
        if state.installed {
            let table = self.administrators();
            let made = ruleset::administrators(&table).commit(&mut state.socket);
            made.map_err(Error::system(format!("make the nftables table {table:?}")))?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In the namespace of the calling thread: leads what its own programs send to port 53 of `address` to
/// the ports, UDP and TCP, that a server listens on there.
pub(crate) fn redirect_dns(address: Ipv4Addr, (udp, tcp): (u16, u16)) -> Result<(), Error> {
    const TABLE: &str = "arca-dns";
    const CHAIN: &str = "output";
    const DNS: u16 = 53;
    let failed = || Error::system("redirect DNS in a namespace");
    let mut change = Transaction::new(TABLE);
    change.recreate_table();
    change.chain(
        CHAIN,
        Some(Hook {
            kind: "nat",
            number: 3,
            priority: -100,
        }),
    );
    for (protocol, port) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
        change.rule(CHAIN, |rule| {
            rule.destination(IpNet::from(IpAddr::V4(address)))
                .port(protocol.number(), DNS)
                .redirect_to(port)
        });
    }
    let mut socket = Socket::netfilter().map_err(failed())?;
    change.commit(&mut socket).map_err(failed())
}

/// Ends what connection tracking remembers of UDP flows to these ports.
fn forget(socket: &mut Socket, forwards: &[Forward]) -> Result<(), Error> {
    let ports: Vec<UdpPort> = forwards
        .iter()
        .filter(|forward| forward.protocol == Protocol::Udp && forward.host_port != 0)
        .map(|forward| UdpPort {
            host_port: forward.host_port,
            container: forward.target.ip(),
        })
        .collect();
    if ports.is_empty() {
        return Ok(());
    }
    match forget_udp(socket, &ports) {
        // Without the module there is nothing that remembers.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            tracing::debug!("connection tracking cannot be read: stale UDP flows may stay");
            Ok(())
        }
        other => other.map_err(Error::system("forget flows of published UDP ports")),
    }
}

/// Whether the table is there.
#[cfg(test)]
pub(crate) fn has_table(table: &str) -> bool {
    let mut socket = Socket::netfilter().unwrap();
    table::exists(&mut socket, table).unwrap()
}

/// Deletes the table behind the firewall's back.
#[cfg(test)]
pub(crate) fn delete_table(table: &str) {
    let mut change = Transaction::new(table);
    change.delete_table();
    change.commit(&mut Socket::netfilter().unwrap()).unwrap();
}
