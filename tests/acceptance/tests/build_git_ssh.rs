//! Git repositories by SSH, with an agent that the client forwards.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use arca_testkit::{Engine, Output, eventually, paramiko};

/// A repository that a server for SSH gives to who has a key.
struct Server {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Server {
    fn start(engine: &Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (kind, name) in [("ed25519", "key"), ("ed25519", "other"), ("ecdsa", "host")] {
            let arguments = ["-q", "-t", kind, "-N", "", "-f", name];
            run("ssh-keygen", &arguments, path);
        }
        let repository = path.join("all/app.git");
        std::fs::create_dir_all(&repository).unwrap();
        let git = |arguments: &[&str]| {
            let user = ["-c", "user.name=a", "-c", "user.email=a@b"];
            run("git", &[&user[..], arguments].concat(), &repository);
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(repository.join("file"), "by ssh\n").unwrap();
        let dockerfile = "FROM busybox:latest\nCOPY file /file\nCMD [\"cat\", \"/file\"]\n";
        std::fs::write(repository.join("Dockerfile"), dockerfile).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", "first"]);
        git(&["tag", "v1"]);
        let address = match engine.is_own() {
            // In a network of its own.
            true => "127.0.0.1:22".to_owned(),
            false => engine.free_address(),
        };
        let (_, port) = address.rsplit_once(':').unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/git_by_ssh.py");
        let child = engine
            .command_beside(paramiko())
            .arg(program)
            .arg(port)
            .args(["all", "key.pub", "host"].map(|name| path.join(name)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self {
            child,
            address,
            directory,
        };
        eventually("the server for SSH answers", || {
            engine.in_netns(|| TcpStream::connect(&this.address).ok())
        });
        this
    }

    fn url(&self) -> String {
        format!("ssh://git@{}/app.git", self.address)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The option that forwards an agent with a key.
    fn forward(&self, key: &str) -> String {
        format!("--ssh=default={}", self.file(key).display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn build(engine: &Engine, options: &[&str], dockerfile: &str) -> Output {
    let mut arguments = vec!["buildx", "build", "--progress=plain"];
    arguments.extend(options);
    arguments.push("-");
    engine.docker_with(&arguments, dockerfile.as_bytes())
}

#[test]
fn a_repository_is_reached_with_the_agent_of_the_client() {
    let engine = Engine::start();
    let server = Server::start(&engine);
    let (url, image, key) = (server.url(), engine.name("by-ssh"), server.forward("key"));
    let add = format!("FROM busybox:latest\nADD {url}#v1 /app\nCMD [\"cat\", \"/app/file\"]\n");
    build(&engine, &["-t", &image, &key], &add).expect(0);
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "by ssh");
    engine.docker(&["rmi", &image]).ok();
    // As the context.
    let context = format!("{url}#main");
    let arguments = ["buildx", "build", "-t", &image, &key, &context];
    engine.docker(&arguments).expect(0);
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "by ssh");
    engine.docker(&["rmi", &image]).ok();
    if engine.is_own() {
        // The short form knows the usual port only.
        let add =
            "FROM busybox:latest\nADD git@127.0.0.1:app.git /app\nCMD [\"cat\", \"/app/file\"]\n";
        build(&engine, &["-t", &image, &key], add).expect(0);
        assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "by ssh");
        engine.docker(&["rmi", &image]).ok();
    }
}

#[test]
fn without_the_right_key_nothing_is_had() {
    let engine = Engine::start();
    let server = Server::start(&engine);
    let add = format!("FROM scratch\nADD {}#v1 /app\n", server.url());
    let none = build(&engine, &["--no-cache"], &add).expect(1).stderr;
    assert!(none.contains("unset ssh forward key default"), "{none}");
    let other = server.forward("other");
    let other = build(&engine, &["--no-cache", &other], &add).expect(1);
    assert!(
        other.stderr.contains("Permission denied"),
        "{}",
        other.stderr
    );
}
