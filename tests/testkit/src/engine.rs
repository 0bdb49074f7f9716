//! The engine under test: an arcad of the test's own, or the one that `ARCA_TEST_DOCKER_HOST` names.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::arcad::Own;
use crate::docker::{Docker, Output};
use crate::events::Events;
use crate::http::Http;
use crate::netns::{NetNs, in_named_netns};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// How a test wants its arcad. Another engine is taken as it is.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further flags.
    pub flags: Vec<String>,
    /// Leaves the image store empty.
    pub no_images: bool,
    /// Files that the engine sees in `/etc` in place of the host's: names and contents.
    pub etc: Vec<(&'static str, String)>,
    /// Where the programs are, when not those of this build.
    pub programs: Option<PathBuf>,
}

/// The engine under test.
#[derive(Debug)]
pub struct Engine {
    own: Option<Mutex<Own>>,
    netns: Option<NetNs>,
    docker: Docker,
    http: Http,
    names: Mutex<Vec<String>>,
}

impl Engine {
    /// An engine with `busybox:latest`.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// An engine with `busybox:latest` and options of the test's own.
    pub fn start_with(options: Options) -> Self {
        let external = std::env::var("ARCA_TEST_DOCKER_HOST")
            .ok()
            .filter(|host| !host.is_empty());
        let no_images = options.no_images;
        let engine = match external {
            Some(host) => {
                let socket = host
                    .strip_prefix("unix://")
                    .expect("ARCA_TEST_DOCKER_HOST: unix://");
                Self {
                    own: None,
                    netns: None,
                    docker: Docker::new(&host),
                    http: Http::new(socket),
                    names: Mutex::default(),
                }
            }
            None => Self::own(options),
        };
        if !no_images {
            engine.need_busybox();
        }
        engine
    }

    fn own(options: Options) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("arca-test-")
            .tempdir()
            .unwrap();
        let socket = directory.path().join("arca.sock");
        let netns = NetNs::new();
        let mut own = Own {
            directory,
            child: None,
            mounts: None,
            options,
        };
        own.launch(&netns);
        Self {
            own: Some(Mutex::new(own)),
            docker: Docker::new(&format!("unix://{}", socket.display())),
            netns: Some(netns),
            http: Http::new(socket),
            names: Mutex::default(),
        }
    }

    /// Whether the engine is an arcad of the test's own, not another that is shared.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// A name for a container, network, volume or image that no other test uses; a container of this
    /// name is removed at the end.
    pub fn name(&self, what: &str) -> String {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{what}-{}-{number}", std::process::id());
        self.names.lock().unwrap().push(name.clone());
        name
    }

    /// Runs the docker client to its end.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> Output {
        self.docker.run(arguments)
    }

    /// `docker run -d` of a container that ends at once when it is told to. `rest` is what comes after the
    /// name: options, image, command.
    #[track_caller]
    pub fn run_detached(&self, name: &str, rest: &[&str]) -> Output {
        let head = ["run", "-d", "--stop-timeout", "0", "--name", name];
        self.docker(&[&head[..], rest].concat())
    }

    /// `docker buildx build` of a context, with all of its output.
    #[track_caller]
    pub fn buildx_build(&self, context: &Path, options: &[&str]) -> Output {
        let context = [context.to_str().expect("UTF-8")];
        let head = ["buildx", "build", "--progress=plain"];
        self.docker(&[&head[..], options, &context].concat())
    }

    /// Runs the docker client to its end with `input` as its standard input.
    #[track_caller]
    pub fn docker_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        self.docker.run_with(arguments, input)
    }

    /// Starts the docker client and returns at once.
    #[track_caller]
    pub fn docker_spawn(&self, arguments: &[&str]) -> Child {
        self.docker.spawn(arguments)
    }

    /// The docker client.
    pub fn client(&self) -> &Docker {
        &self.docker
    }

    /// The docker client as a command for a terminal.
    pub fn docker_command(&self, arguments: &[&str]) -> Command {
        self.docker.command(arguments, None)
    }

    /// Raw requests.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What `inspect` says of a container.
    #[track_caller]
    pub fn inspect(&self, container: &str) -> Value {
        let (status, value) = self
            .http
            .get(&format!("/v1.51/containers/{container}/json"));
        assert_eq!(status, 200, "{value}");
        value
    }

    /// Writes to the standard input of a running container, and leaves it open.
    #[track_caller]
    pub fn write_stdin(&self, container: &str, bytes: &[u8]) {
        let path = format!("/v1.51/containers/{container}/attach?stream=1&stdin=1");
        let headers = [("Connection", "Upgrade"), ("Upgrade", "tcp")];
        let attached = self.http.send("POST", &path, &headers, b"");
        assert_eq!(attached.status, 101);
        let (_, mut stream) = attached.hijack();
        std::io::Write::write_all(&mut stream, bytes).unwrap();
    }

    /// The events from now on; `filters` is JSON of the API's form, or empty.
    pub fn events(&self, filters: &str) -> Events {
        let encoded: String = filters
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        let query = if filters.is_empty() {
            String::new()
        } else {
            format!("?filters={encoded}")
        };
        Events::open(&self.http, &query)
    }

    /// The network namespace of the engine; none is the test's own.
    pub fn netns(&self) -> Option<&NetNs> {
        self.netns.as_ref()
    }

    /// A program that shares the engine's network.
    pub fn command_beside(&self, program: impl AsRef<Path>) -> Command {
        match self.netns() {
            Some(netns) => netns.command(program),
            None => Command::new(program.as_ref()),
        }
    }

    /// Runs `work` where the engine's published ports are.
    pub fn in_netns<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.netns {
            Some(netns) => netns.enter(work),
            None => work(),
        }
    }

    /// The file that stands for the network namespace of a container that runs.
    #[track_caller]
    pub fn container_netns(&self, container: &str) -> PathBuf {
        let pid = self.inspect(container)["State"]["Pid"].clone();
        PathBuf::from(format!("/proc/{pid}/ns/net"))
    }

    /// Runs `work` on a thread that is in the network namespace of a container that runs.
    pub fn in_container<T: Send>(&self, container: &str, work: impl FnOnce() -> T + Send) -> T {
        in_named_netns(&self.container_netns(container), work)
    }

    /// A loopback address with a port that was free a moment ago.
    pub fn free_address(&self) -> String {
        self.in_netns(|| {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .to_string()
        })
    }

    /// The data root of an own arcad.
    pub fn data_root(&self) -> PathBuf {
        self.with_own(|own| own.directory.path().join("data"))
    }

    /// The exec root of an own arcad.
    pub fn exec_root(&self) -> PathBuf {
        self.with_own(|own| own.directory.path().join("exec"))
    }

    /// What an own arcad wrote to its log.
    pub fn daemon_log(&self) -> String {
        self.with_own(|own| {
            std::fs::read_to_string(own.directory.path().join("arcad.log")).unwrap_or_default()
        })
    }

    /// The process ID of an own arcad that runs.
    pub fn pid(&self) -> u32 {
        self.with_own(|own| own.child.as_ref().expect("arcad runs").id())
    }

    /// Ends an own arcad without a warning (SIGKILL).
    pub fn kill_9(&self) {
        self.with_own(Own::kill);
    }

    /// Ends an own arcad in order (SIGTERM) and waits for it.
    pub fn stop(&self) {
        self.with_own(|own| own.end(rustix::process::Signal::TERM));
    }

    /// Sends an own arcad a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }

    /// Starts an own arcad again, with the state it left, and waits until it is ready.
    pub fn launch(&self) {
        let netns = self.netns.as_ref().unwrap();
        self.with_own(|own| own.launch(netns));
    }

    /// Ends every process of the containers of an own arcad that is down; their files stay.
    pub fn kill_containers(&self) {
        self.with_own(|own| own.clean());
    }

    /// Does to an own arcad that is down what a reboot does: every process of its containers ends, and
    /// the exec root is gone.
    pub fn forget_runtime(&self) {
        self.with_own(|own| {
            own.clean();
            std::fs::remove_dir_all(own.directory.path().join("exec")).unwrap();
        });
    }

    fn with_own<T>(&self, work: impl FnOnce(&mut Own) -> T) -> T {
        let own = self
            .own
            .as_ref()
            .expect("this test needs an arcad of its own");
        work(
            &mut own
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let names = std::mem::take(&mut *self.names.lock().unwrap_or_else(|e| e.into_inner()));
        let failed = std::thread::panicking();
        if self.own.is_none() {
            for name in names {
                drop(self.http.try_send(
                    "DELETE",
                    &format!("/containers/{name}?force=1&v=1"),
                    &[],
                    b"",
                ));
            }
            return;
        }
        if let Ok((200, Value::Array(containers))) = self.http.try_get("/containers/json?all=1") {
            for id in containers
                .iter()
                .filter_map(|container| container["Id"].as_str())
            {
                drop(
                    self.http
                        .try_send("DELETE", &format!("/containers/{id}?force=1"), &[], b""),
                );
            }
        }
        if failed {
            eprintln!(
                "--- the end of arcad's log\n{}",
                tail(&self.daemon_log(), 60)
            );
        }
        self.with_own(|own| {
            own.kill();
            own.clean();
            own.remove_cgroups();
        });
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
