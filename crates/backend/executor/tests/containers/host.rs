//! The shim's part: a directory, a rootfs, helpers, and waiting for what they leave behind.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use arca_executor::{Container, ExecError, sealed_self};
use arca_shim_proto::{CgroupSpec, Rootfs, RuntimeKind};
use oci_spec::runtime::{Process, Spec};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helper::{Order, What};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A container that may be run, with everything of it in one directory.
pub(crate) struct Box {
    pub(crate) dir: TempDir,
    pub(crate) container: Container,
    /// The configuration, to be changed before the run.
    pub(crate) spec: Value,
    pub(crate) cgroup: String,
}

/// What a process wrote and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process that was started, and the pipes from it.
pub(crate) struct Running {
    pub(crate) pid: i32,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Running {
    /// Reads everything and waits for the end.
    pub(crate) fn end(self) -> Ended {
        let read = |file: Option<File>| {
            let mut text = String::new();
            if let Some(mut file) = file {
                file.read_to_string(&mut text).unwrap();
            }
            text
        };
        let (stdout, stderr) = (read(self.stdout), read(self.stderr));
        let (_, status) = waitpid(Pid::from_raw(self.pid), WaitOptions::empty())
            .unwrap()
            .unwrap();
        let signal = status.terminating_signal().map(|signal| 128 + signal);
        Ended {
            code: status.exit_status().or(signal).unwrap(),
            stdout,
            stderr,
        }
    }
}

impl Box {
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::with_runtime(args, RuntimeKind::BuiltIn)
    }

    pub(crate) fn with_runtime(args: &[&str], runtime: RuntimeKind) -> Self {
        let dir = TempDir::new().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("box{}-{number}", std::process::id());
        let lower = dir.path().join("lower");
        for sub in [
            "bin", "etc", "proc", "dev", "sys", "tmp", "root", "home/web",
        ] {
            fs::create_dir_all(lower.join(sub)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        fs::copy(
            busybox.expect("these tests need a static busybox"),
            lower.join("bin/busybox"),
        )
        .unwrap();
        for applet in [
            "sh", "true", "cat", "sleep", "id", "ls", "grep", "stty", "mount", "kill", "env", "dd",
            "hostname", "touch", "pwd", "ps", "mkdir", "mknod", "tty",
        ] {
            std::os::unix::fs::symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/home/web:/bin/sh\n";
        fs::write(lower.join("etc/passwd"), passwd).unwrap();
        for sub in ["upper", "work", "bundle", "state"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let container = Container {
            state_root: dir.path().join("state"),
            id: id.clone(),
            runtime,
        };
        Self {
            dir,
            container,
            spec: configuration(args),
            // The cases run in processes of their own: none takes the directory away from another.
            cgroup: format!("/arca-test-{}/{id}", std::process::id()),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn rootfs(&self) -> Rootfs {
        Rootfs::Overlay {
            lower: vec![self.path("lower")],
            upper: self.path("upper"),
            work: self.path("work"),
            options: Vec::new(),
        }
    }

    pub(crate) fn run(&self) -> Result<Running, ExecError> {
        self.help(self.run_order(), None)
    }

    pub(crate) fn run_to_end(&self) -> Ended {
        let ended = self.run().unwrap().end();
        arca_executor::delete(&self.container).unwrap();
        ended
    }

    /// Runs with a terminal; returns its master too.
    pub(crate) fn run_with_terminal(&mut self) -> (Running, File) {
        self.spec["process"]["terminal"] = json!(true);
        self.spec["process"]["consoleSize"] = json!({"height": 7, "width": 42});
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let running = self.help(self.run_order(), Some(theirs.into())).unwrap();
        (running, receive(&ours))
    }

    fn run_order(&self) -> What {
        let spec: Spec = serde_json::from_value(self.spec.clone()).unwrap();
        let cgroup = CgroupSpec {
            path: self.cgroup.clone(),
            systemd: self.cgroup.contains(':'),
        };
        What::Run {
            bundle: self.path("bundle"),
            spec: spec.into(),
            rootfs: self.rootfs(),
            cgroup,
        }
    }

    pub(crate) fn exec(&self, change: impl FnOnce(&mut Value)) -> Result<Running, ExecError> {
        let mut process = self.spec["process"].clone();
        process["terminal"] = json!(false);
        change(&mut process);
        let process: Process = serde_json::from_value(process).unwrap();
        self.help(
            What::Exec {
                process: process.into(),
            },
            None,
        )
    }

    /// Execs with a terminal; returns its master too.
    pub(crate) fn exec_with_terminal(&self, args: &[&str]) -> (Running, File) {
        let mut process = self.spec["process"].clone();
        process["terminal"] = json!(true);
        process["args"] = json!(args);
        process["consoleSize"] = json!({"height": 9, "width": 99});
        let process: Process = serde_json::from_value(process).unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let what = What::Exec {
            process: process.into(),
        };
        let running = self.help(what, Some(theirs.into())).unwrap();
        (running, receive(&ours))
    }

    fn help(&self, what: What, console: Option<OwnedFd>) -> Result<Running, ExecError> {
        let order = Order {
            state_root: self.container.state_root.clone(),
            id: self.container.id.clone(),
            runtime: self.container.runtime.clone(),
            what,
            console: console.is_some(),
        };
        fs::write(self.path("order"), serde_json::to_vec(&order).unwrap()).unwrap();
        let sealed = sealed_self().unwrap();
        let mut command = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()));
        command.arg("helper").arg(self.dir.path());
        let pipes = console.is_none();
        let stdin = console.map_or_else(Stdio::null, Stdio::from);
        let stream = || {
            if pipes {
                Stdio::piped()
            } else {
                Stdio::inherit()
            }
        };
        let mut helper = command
            .stdin(stdin)
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (helper.stdout.take(), helper.stderr.take());
        drop(command);
        let status = helper.wait().unwrap();
        assert!(status.success(), "the helper failed: {status}");
        let result = serde_json::from_slice::<Result<i32, ExecError>>(
            &fs::read(self.path("result")).unwrap(),
        );
        let file = |fd: OwnedFd| File::from(fd);
        result.unwrap().map(|pid| Running {
            pid,
            stdout: stdout.map(|out| file(out.into())),
            stderr: stderr.map(|err| file(err.into())),
        })
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        arca_executor::delete(&self.container).ok();
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        for (_, dir) in hierarchies() {
            fs::remove_dir(dir.join(format!("arca-test-{}", std::process::id()))).ok();
        }
    }
}

/// The mounted cgroup hierarchies of this host, by the name of their directory.
pub(crate) fn hierarchies() -> Vec<(String, PathBuf)> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![("unified".to_owned(), root.to_path_buf())];
    }
    let entries = fs::read_dir(root).unwrap().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect()
}

fn receive(socket: &std::os::unix::net::UnixStream) -> File {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    let mut buffers = [std::io::IoSliceMut::new(&mut name)];
    recvmsg(socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut messages = control.drain();
    match messages.next().unwrap() {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().unwrap().into(),
        _ => panic!("no descriptor"),
    }
}

/// What a default container of Docker has.
fn configuration(args: &[&str]) -> Value {
    let caps = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE"
    ]);
    json!({
        "ociVersion": "1.2.1",
        "process": {
            "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "Z=1", "A=2"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "oomScoreAdj": 0
        },
        "root": {"path": "ignored"},
        "hostname": "boxed",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]}
        ],
        "linux": {
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "resources": {"devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                {"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
                {"allow": true, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
                {"allow": true, "type": "c", "major": 136, "access": "rwm"},
                {"allow": true, "type": "c", "access": "m"}
            ]},
            "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"}, {"type": "ipc"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/none"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}
