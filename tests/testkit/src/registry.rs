//! A registry of the test's own: Debian's `docker-registry`, in the engine's network namespace.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::engine::Engine;
use crate::netns::{NetNs, in_named_netns};
use crate::poll::eventually;
use crate::tools::{found, run};

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
    netns: Option<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty registry that `engine` reaches by plain HTTP.
    pub fn start(engine: &Engine) -> Self {
        Self::start_with(engine, engine.free_address(), false, None)
    }

    /// Starts an empty registry that wants [`USER`] and [`PASSWORD`].
    pub fn start_with_login(engine: &Engine) -> Self {
        Self::start_with(engine, engine.free_address(), true, None)
    }

    /// Starts an empty registry on an address that is not loopback, with a certificate of a private
    /// authority; it wants a certificate of that authority from its clients. `pki` gets `ca.crt`,
    /// `client.cert` and `client.key`. Only for an own engine.
    pub fn start_with_tls(engine: &Engine, pki: &Path) -> Self {
        make_pki(pki, NetNs::HOST_ADDRESS);
        let address = engine
            .free_address()
            .replace("127.0.0.1", NetNs::HOST_ADDRESS);
        Self::start_with(engine, address, false, Some(pki))
    }

    fn start_with(engine: &Engine, address: String, login: bool, pki: Option<&Path>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            directory.path().join("data").display()
        );
        if let Some(pki) = pki {
            let pki = pki.display();
            write!(
                config,
                "  tls:\n    certificate: {pki}/server.pem\n    key: {pki}/server.key\n    clientcas:\n      - {pki}/ca.crt\n"
            )
            .unwrap();
        }
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
        let mut command = engine.command_beside(program);
        let child = command
            .args(["serve".as_ref(), file.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let netns = engine.netns().map(|netns| netns.path().to_owned());
        let this = Self {
            netns,
            child,
            address,
            _directory: directory,
        };
        eventually("the registry answers", || {
            engine.in_netns(|| TcpStream::connect(&this.address).ok())
        });
        this
    }

    /// Runs skopeo, which shares nothing with an engine but the network.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn skopeo(engine: &Engine, arguments: &[&str]) -> String {
        let program = found("skopeo");
        let mut command = engine.command_beside(program);
        run(command.arg("--insecure-policy").args(arguments))
            .trim_end()
            .to_owned()
    }

    /// `host:port`, as the engine reaches it; begins an image's name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts an image that `from` has into the registry as `name:tag`, by the registry's API alone.
    pub fn publish(&self, from: &Engine, image: &str, name: &str) {
        let (repository, tag) = name.split_once(':').unwrap();
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("image.tar");
        from.docker(&["save", "-o", archive.to_str().unwrap(), image])
            .ok();
        run(Command::new("tar")
            .arg("-C")
            .arg(directory.path())
            .arg("-xf")
            .arg(&archive));
        let manifest = std::fs::read(directory.path().join("manifest.json")).unwrap();
        let saved: Value = serde_json::from_slice(&manifest).unwrap();
        let config = self.upload(
            repository,
            &directory.path().join(saved[0]["Config"].as_str().unwrap()),
        );
        let layers: Vec<Value> = saved[0]["Layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| {
                let path = directory.path().join(layer.as_str().unwrap());
                let path = path.canonicalize().unwrap();
                run(Command::new("gzip")
                    .args(["-1", "-n", "-f", "-k"])
                    .arg(&path));
                let (digest, size) = self.upload(repository, &path.with_added_extension("gz"));
                let media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
                json!({"mediaType": media_type, "digest": digest, "size": size})
            })
            .collect();
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": config.0, "size": config.1},
            "layers": layers,
        });
        let body = serde_json::to_vec(&manifest).unwrap();
        let answer = self.request(
            "PUT",
            &format!("/v2/{repository}/manifests/{tag}"),
            media_type,
            &body,
        );
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// Uploads a blob; returns its digest and size.
    fn upload(&self, repository: &str, path: &Path) -> (String, usize) {
        let body = std::fs::read(path).unwrap();
        let sum = run(Command::new("sha256sum").arg(path));
        let digest = format!("sha256:{}", sum.split(' ').next().unwrap());
        let octets = "application/octet-stream";
        let begun = self.request(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            octets,
            b"",
        );
        let location = begun
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("no upload: {begun}"));
        let path = location.find("/v2/").map(|at| &location[at..]).unwrap();
        let path = format!("{path}&digest={digest}");
        let answer = self.request("PUT", &path, octets, &body);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        (digest, body.len())
    }

    /// One request with the login of the registry; returns the answer as text.
    fn request(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> String {
        let address = &self.address;
        let login = "YXJjYTpzZWNyZXQ="; // arca:secret
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Basic {login}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = match &self.netns {
            Some(name) => in_named_netns(name, || TcpStream::connect(address)),
            None => TcpStream::connect(address),
        }
        .unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The name of an image in this registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

/// Makes an authority, a certificate for the server at `address`, and one for a client.
fn make_pki(pki: &Path, address: &str) {
    std::fs::write(pki.join("san"), format!("subjectAltName=IP:{address}\n")).unwrap();
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        run(command
            .args(line.split(' '))
            .current_dir(pki)
            .stderr(Stdio::null()))
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt");
    for (name, certificate) in [("server", "server.pem"), ("client", "client.cert")] {
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out {certificate}"
        ));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
