//! Another registry: Zuul's, in Python, which gives tokens and wants them for everything.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::engine::Engine;
use crate::poll::eventually;
use crate::tools::{repository, run, tools};

/// A running registry of Zuul's; ended and removed when dropped.
#[derive(Debug)]
pub struct ZuulRegistry {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl ZuulRegistry {
    /// Who may read and write.
    pub const WRITER: &'static str = "writer";
    /// Who may read.
    pub const READER: &'static str = "reader";
    /// The password of both.
    pub const PASSWORD: &'static str = "pass:word";

    /// Starts an empty one that `engine` reaches by plain HTTP.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(engine: &Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = engine.free_address();
        let (host, port) = address.rsplit_once(':').unwrap();
        let user = |name: &str, access: &str| json!({"name": name, "pass": Self::PASSWORD, "access": access});
        // JSON is YAML.
        let config = json!({"registry": {
            "address": host,
            "port": port.parse::<u16>().unwrap(),
            "public-url": format!("http://{address}"),
            "secret": "none",
            "users": [user(Self::WRITER, "write"), user(Self::READER, "read")],
            "storage": {"driver": "filesystem", "root": directory.path().join("data")},
        }});
        let file = directory.path().join("registry.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let python = tools().join("zuul/bin/python");
        if !python.exists() {
            run(Command::new(repository().join("scripts/tools")).arg("zuul"));
        }
        let mut command = engine.command_beside(python);
        let child = command
            .arg(repository().join("tests/acceptance/python/token_registry.py"))
            .args(["serve".as_ref(), "-c".as_ref(), file.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self {
            child,
            address,
            _directory: directory,
        };
        eventually("the registry answers", || {
            engine.in_netns(|| TcpStream::connect(&this.address).ok())
        });
        this
    }

    /// `host:port`, as the engine reaches it; begins an image's name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of an image in this registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for ZuulRegistry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
