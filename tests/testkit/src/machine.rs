//! Another machine.

use std::process::Command;

use crate::engine::Engine;
use crate::netns::NetNs;
use crate::tools::{found, run};

/// Another machine, on a link to the host of an engine, through which it reaches everything.
#[derive(Debug)]
pub struct Machine(NetNs);

impl Machine {
    /// The host as the machine knows it, by IPv4 and by IPv6.
    pub const HOST: [&'static str; 2] = ["198.18.77.1", "2001:db8:77::1"];
    /// The machine's own addresses.
    pub const OWN: [&'static str; 2] = ["198.18.77.2", "2001:db8:77::2"];

    /// Makes one, which is gone when it is dropped.
    pub fn beside(engine: &Engine) -> Self {
        let netns = NetNs::new();
        let link = format!("wan{}", std::process::id());
        let on_host = |arguments: &str| {
            let mut command = match engine.netns() {
                Some(host) => host.command("ip"),
                None => Command::new(found("ip")),
            };
            run(command.args(arguments.split(' ')));
        };
        let there = |arguments: &str| {
            run(netns.command("ip").args(arguments.split(' ')));
        };
        let name = netns.name();
        on_host(&format!(
            "link add {link} type veth peer name up0 netns {name}"
        ));
        on_host(&format!("link set {link} up"));
        there("link set up0 up");
        for (number, length) in [(0, 24), (1, 64)] {
            let (host, own) = (Self::HOST[number], Self::OWN[number]);
            let nodad = if number == 1 { " nodad" } else { "" };
            on_host(&format!("address add {host}/{length} dev {link}{nodad}"));
            there(&format!("address add {own}/{length} dev up0{nodad}"));
            there(&format!("-{} route add default via {host}", [4, 6][number]));
        }
        Self(netns)
    }

    /// Runs `work` on a thread that is on the machine.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.enter(work)
    }

    /// The machine's network namespace.
    pub fn netns(&self) -> &NetNs {
        &self.0
    }
}
