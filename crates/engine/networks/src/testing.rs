//! Tests run in a network namespace of their own, on a store of their own.

use std::future::Future;
use std::process::Command;
use std::sync::Arc;

use arca_events::Events;
use arca_store::Store;
use arca_types::SystemClock;
use tempfile::TempDir;

use crate::{Config, DefaultBridge, EndpointSpec, Networks, SandboxMode, SandboxSpec};

/// Runs `test` in a new network namespace whose loopback is up, on a tokio runtime of its own.
pub(crate) fn in_namespace<F: Future<Output = ()> + Send>(test: F) {
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                arca_sys::network::unshare_network().unwrap();
                ip("link set lo up");
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(test);
            })
            .join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` in the namespace of the test.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An engine's networks, with a directory.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) config: Config,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let config = Config {
            exec_root: dir.path().join("exec"),
            firewall_table: "arca-test".to_owned(),
            bridge: DefaultBridge {
                name: Some("test0".to_owned()),
                ..DefaultBridge::default()
            },
            ..Config::default()
        };
        Self { dir, config }
    }

    /// Opens the service, as at the start of the engine.
    pub(crate) fn open(&self) -> Networks {
        let store = Store::open(self.dir.path().join("arca.db")).unwrap();
        let clock = Arc::new(SystemClock);
        let events = Events::open(&store, clock.clone(), 1000).unwrap();
        Networks::open(self.config.clone(), &store, events, clock).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.config.exec_root.join("netns")) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            assert!(
                Command::new("umount")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
}

/// A container on the given networks.
pub(crate) fn container(name: &str, networks: &[&str]) -> SandboxSpec {
    SandboxSpec {
        name: name.to_owned(),
        hostname: name.to_owned(),
        mode: SandboxMode::Own,
        endpoints: networks.iter().map(|network| on(network)).collect(),
        ports: Vec::new(),
        name_servers: Vec::new(),
        exposure: None,
        remapped: false,
    }
}

/// An endpoint without wishes.
pub(crate) fn on(network: &str) -> EndpointSpec {
    EndpointSpec {
        network: network.to_owned(),
        ..EndpointSpec::default()
    }
}
