//! A real shim with a real container, in an exec root of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arca_runtime::{
    AttachSpec, CgroupSpec, Client, Config, ConsoleSize, ContainerStarted, Event, ExecSpec,
    ExitStatus, Happening, LogSpec, Rootfs, RunSpec, Runtime, RuntimeKind, Stdio,
};
use arca_types::{ContainerId, ExecId};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const APPLETS: [&str; 16] = [
    "sh", "cat", "echo", "sleep", "true", "head", "stty", "tr", "yes", "dd", "wc", "tail", "kill",
    "mkdir", "nc", "ls",
];

/// A runtime with its directories, and a root filesystem of busybox.
pub(crate) struct Bed {
    pub(crate) root: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) events: mpsc::Receiver<Event>,
}

/// How a container differs from the plain one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) stdio: Stdio,
    pub(crate) memory: Option<i64>,
    pub(crate) runtime: RuntimeKind,
    pub(crate) log_options: BTreeMap<String, String>,
}

pub(crate) fn tty() -> Wish {
    Wish {
        stdio: Stdio {
            tty: true,
            open_stdin: true,
            stdin_once: true,
            console: Some(ConsoleSize {
                width: 90,
                height: 30,
            }),
        },
        ..Wish::default()
    }
}

pub(crate) fn interactive() -> Wish {
    Wish {
        stdio: Stdio {
            open_stdin: true,
            stdin_once: true,
            ..Stdio::default()
        },
        ..Wish::default()
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let rootfs = root.path().join("rootfs");
        for directory in ["bin", "proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        let runtime = open(root.path());
        let events = runtime.subscribe();
        Self {
            root,
            runtime,
            events,
        }
    }

    pub(crate) fn log(&self, id: &ContainerId) -> PathBuf {
        self.root.path().join(format!("{id}-json.log"))
    }

    pub(crate) fn spec(&self, id: &ContainerId, command: &[&str], wish: &Wish) -> RunSpec {
        let oci = oci(id, command, wish);
        RunSpec {
            oci: serde_json::value::to_raw_value(&oci).unwrap(),
            rootfs: Rootfs::Directory(self.root.path().join("rootfs")),
            stdio: wish.stdio.clone(),
            log: LogSpec {
                driver: "json-file".to_owned(),
                options: wish.log_options.clone(),
                path: self.log(id),
                attrs: BTreeMap::new(),
                info: BTreeMap::new(),
            },
            runtime: wish.runtime.clone(),
            cgroup: CgroupSpec {
                path: format!("/arca-shim-test/{id}"),
                systemd: false,
            },
        }
    }

    pub(crate) async fn start(
        &self,
        command: &[&str],
        wish: &Wish,
        clients: Vec<Client>,
    ) -> (ContainerId, ContainerStarted) {
        let id = ContainerId::random();
        let spec = self.spec(&id, command, wish);
        let started = self.runtime.start(&id, spec, clients).await;
        let started = started.map_err(|error| arca_types::chain(&error)).unwrap();
        (id, started)
    }

    /// The next event of a container.
    pub(crate) async fn next(&mut self) -> Happening {
        let event = tokio::time::timeout(Duration::from_secs(30), self.events.recv());
        event.await.unwrap().unwrap().what
    }

    /// Waits for the container's end, and removes it.
    pub(crate) async fn end(&mut self, id: &ContainerId) -> ExitStatus {
        loop {
            if let Happening::Exited(status) | Happening::ShimLost { status, .. } =
                self.next().await
            {
                self.runtime.remove(id).await.unwrap();
                assert!(!self.root.path().join("shims").join(id.as_str()).exists());
                return status;
            }
        }
    }

    /// What the container has written, by its log.
    pub(crate) fn logged(&self, id: &ContainerId) -> String {
        let mut text = String::new();
        for line in std::fs::read_to_string(self.log(id)).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            text.push_str(entry["log"].as_str().unwrap());
        }
        text
    }

    pub(crate) async fn exec(
        &self,
        id: &ContainerId,
        command: &[&str],
        tty: bool,
        client: Option<Client>,
    ) -> Result<(ExecId, arca_runtime::ExecStarted), arca_runtime::Error> {
        let exec = ExecId::random();
        let spec = ExecSpec {
            process: serde_json::value::to_raw_value(&process(command, tty)).unwrap(),
            tty,
            open_stdin: client.is_some(),
            open_stdout: client.is_some(),
            open_stderr: client.is_some(),
            console: None,
        };
        let started = self.runtime.exec(id, &exec, spec, client).await?;
        Ok((exec, started))
    }

    pub(crate) async fn kill(&mut self, id: &ContainerId) {
        self.runtime
            .kill(id, None, arca_types::Signal::KILL)
            .await
            .unwrap();
        assert_eq!(self.end(id).await.code, 137);
    }
}

/// A container that a failed test has left.
impl Drop for Bed {
    fn drop(&mut self) {
        let shims = self.root.path().join("shims");
        for entry in std::fs::read_dir(shims).into_iter().flatten().flatten() {
            let state = std::fs::read(entry.path().join("state.json")).unwrap_or_default();
            let state: Value = serde_json::from_slice(&state).unwrap_or_default();
            let pid = state["init"]["pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                println!("killing {pid:?} of {}: {killed:?}", entry.path().display());
            }
        }
        // The cgroup above the containers' goes with the last of them.
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            std::fs::remove_dir(hierarchy.path().join("arca-shim-test")).unwrap_or_default();
        }
        std::fs::remove_dir("/sys/fs/cgroup/arca-shim-test").unwrap_or_default();
    }
}

pub(crate) fn open(root: &Path) -> Runtime {
    let config = Config {
        exec_root: root.to_owned(),
        shim: env!("CARGO_BIN_EXE_arca-shim").into(),
    };
    Runtime::open(config).unwrap()
}

/// A client that takes part in everything, and its own side of the connection.
pub(crate) fn client(framed: bool) -> (UnixStream, Client) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let spec = AttachSpec {
        stdin: true,
        stdout: true,
        stderr: true,
        framed,
        detach_keys: vec![16, 17],
        early: Vec::new(),
    };
    let socket = theirs.into();
    (ours, Client { spec, socket })
}

/// Reads until the text has come.
pub(crate) fn expect(stream: &mut UnixStream, text: &str) -> String {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&got).contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(got).unwrap()
}

/// Everything until the end, on a thread of its own.
pub(crate) fn read_all(mut stream: UnixStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    })
}

/// Sends everything and closes this side, on a thread of its own.
pub(crate) fn send_all(stream: &UnixStream, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    })
}

/// Takes framed output apart: standard output and standard error.
pub(crate) fn unframe(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut streams = (Vec::new(), Vec::new());
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(header[4..].try_into().unwrap());
        let (piece, rest) = rest.split_at(usize::try_from(length).unwrap());
        match header[0] {
            1 => streams.0.extend_from_slice(piece),
            2 => streams.1.extend_from_slice(piece),
            other => panic!("stream {other}"),
        }
        bytes = rest;
    }
    assert!(bytes.is_empty());
    streams
}

fn process(command: &[&str], tty: bool) -> Value {
    json!({
        "terminal": tty,
        "user": { "uid": 0, "gid": 0 },
        "args": command,
        "env": ["PATH=/bin"],
        "cwd": "/",
        "noNewPrivileges": true,
    })
}

fn oci(id: &ContainerId, command: &[&str], wish: &Wish) -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "test",
        "process": process(command, wish.stdio.tty),
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ],
        "linux": {
            "cgroupsPath": format!("/arca-shim-test/{id}"),
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "network" },
            ],
            "resources": { "memory": { "limit": wish.memory, "swap": wish.memory } },
        },
    })
}

/// Waits up to 30 seconds until a file is as it should be, looking whenever its directory changes.
pub(crate) async fn until(path: &Path, done: impl Fn(&Path) -> bool + Send + 'static) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    let path = path.to_owned();
    let wait = move || {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, path.parent().unwrap(), changes).unwrap();
        let limit = Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        while !done(&path) {
            let ready = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&limit));
            assert_eq!(ready, Ok(1), "{} did not change", path.display());
            // Whatever it was: a look follows.
            rustix::io::read(&watch, &mut [0_u8; 4096]).ok();
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap();
}
