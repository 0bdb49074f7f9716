//! A registry of the test's own: Debian's `docker-registry`, in the engine's network namespace.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::engine::Engine;
use crate::poll::eventually;
use crate::tools::found;

/// The user of a registry that wants a login.
pub const USER: &str = "arca";
/// The password of [`USER`].
pub const PASSWORD: &str = "secret";
/// [`PASSWORD`], hashed by bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// A running registry; ended and removed when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty registry that `engine` reaches by plain HTTP.
    pub fn start(engine: &Engine) -> Self {
        Self::start_with(engine, false)
    }

    /// Starts an empty registry that wants [`USER`] and [`PASSWORD`].
    pub fn start_with_login(engine: &Engine) -> Self {
        Self::start_with(engine, true)
    }

    fn start_with(engine: &Engine, login: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = engine.free_address();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            directory.path().join("data").display()
        );
        if login {
            let passwords = directory.path().join("htpasswd");
            std::fs::write(&passwords, format!("{USER}:{HASH}\n")).unwrap();
            write!(
                config,
                "auth:\n  htpasswd:\n    realm: arca\n    path: {}\n",
                passwords.display()
            )
            .unwrap();
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let program = found("docker-registry");
        let mut command = match engine.netns() {
            Some(netns) => netns.command(program),
            None => Command::new(program),
        };
        let child = command
            .args(["serve".as_ref(), file.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
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

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
