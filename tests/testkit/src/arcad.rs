//! An arcad of the test's own: started, ended, killed, and cleaned up after.

use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::engine::Options;
use crate::netns::NetNs;
use crate::poll::{eventually_within, within};
use crate::tools::built;

/// An arcad that the test started.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) child: Option<Child>,
    /// What keeps a mount namespace with an `/etc` of its own.
    pub(crate) mounts: Option<Child>,
    pub(crate) options: Options,
}

impl Own {
    /// Starts arcad and waits until it says that it is ready (sd_notify(3)).
    pub(crate) fn launch(&mut self, netns: &NetNs) {
        let keeper = self.own_etc();
        let root = self.directory.path();
        let notify = root.join("notify.sock");
        drop(std::fs::remove_file(&notify));
        let ready = UnixDatagram::bind(&notify).unwrap();
        ready
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(root.join("arcad.log"))
            .unwrap();
        let config = root.join("daemon.json");
        if !config.exists() {
            std::fs::write(&config, "{}").unwrap();
        }
        let flag = |name: &str, path: &str| format!("--{name}={}", root.join(path).display());
        let mut command = self.command(netns, keeper);
        let mut child = command
            .arg(format!(
                "--host=unix://{}",
                root.join("arca.sock").display()
            ))
            .args([flag("data-root", "data"), flag("exec-root", "exec")])
            .args([
                flag("pidfile", "arcad.pid"),
                flag("config-file", "daemon.json"),
            ])
            .args(["--group=root", "--debug"])
            .arg(format!("--cgroup-parent={}", cgroup_parent(root)))
            .args(&self.options.flags)
            .env("NOTIFY_SOCKET", &notify)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut buffer = [0; 4096];
        eventually_within(Duration::from_secs(60), "arcad gets ready", || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(root.join("arcad.log")).unwrap_or_default();
                panic!("arcad ended ({status}) at its start:\n{log}");
            }
            let count = ready.recv(&mut buffer).unwrap_or(0);
            String::from_utf8_lossy(&buffer[..count])
                .contains("READY=1")
                .then_some(())
        });
        self.child = Some(child);
    }

    fn command(&self, netns: &NetNs, keeper: Option<u32>) -> Command {
        let arcad = match &self.options.programs {
            Some(programs) => programs.join("arcad"),
            None => built("arcad"),
        };
        match keeper {
            Some(keeper) => {
                let mut command = netns.command("nsenter");
                command
                    .arg(format!("--mount=/proc/{keeper}/ns/mnt"))
                    .arg(arcad);
                command
            }
            None => netns.command(arcad),
        }
    }

    /// Makes a mount namespace with the files of [`Options::etc`] over the host's; returns the process that
    /// keeps it, across restarts of arcad.
    fn own_etc(&mut self) -> Option<u32> {
        if self.options.etc.is_empty() {
            return None;
        }
        if let Some(keeper) = &self.mounts {
            return Some(keeper.id());
        }
        let [upper, work] = ["etc", "etc-work"].map(|name| self.directory.path().join(name));
        for directory in [&upper, &work] {
            std::fs::create_dir_all(directory).unwrap();
        }
        for (name, contents) in &self.options.etc {
            std::fs::write(upper.join(name), contents).unwrap();
        }
        let script = format!(
            "mount -t overlay overlay -o lowerdir=/etc,upperdir={},workdir={} /etc && echo && exec sleep infinity",
            upper.display(),
            work.display()
        );
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation=slave", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        let mut output = keeper.stdout.take().unwrap();
        output
            .read_exact(&mut line)
            .expect("an /etc of the test's own");
        let id = keeper.id();
        self.mounts = Some(keeper);
        Some(id)
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    pub(crate) fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = i32::try_from(child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
        eventually_within(Duration::from_secs(60), "arcad ends", || {
            child.try_wait().unwrap()
        });
    }

    /// Ends what is left of the containers: shims, and whatever runs in the cgroups or under them.
    pub(crate) fn clean(&mut self) {
        let exec_root = self.directory.path().join("exec");
        for pid in processes_naming(&exec_root) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
        if let Some(mut keeper) = self.mounts.take() {
            drop(keeper.kill());
            drop(keeper.wait());
        }
        // Bind mounts of network namespaces would keep the directory busy.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root = self.directory.path().to_string_lossy().into_owned();
        for target in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
            if target.starts_with(&root) {
                rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).ok();
            }
        }
    }

    /// Removes the cgroup of all its containers, in every hierarchy. What was killed takes a moment to go.
    pub(crate) fn remove_cgroups(&self) {
        let top = Path::new("/sys/fs/cgroup");
        let name = cgroup_parent(self.directory.path());
        let hierarchies = std::fs::read_dir(top).into_iter().flatten().flatten();
        let hierarchies = hierarchies.map(|entry| entry.path());
        for hierarchy in hierarchies.chain([top.to_owned()]) {
            let group = hierarchy.join(name.trim_start_matches('/'));
            let gone = within(Duration::from_secs(5), || {
                remove_cgroup(&group).then_some(())
            });
            if gone.is_none() {
                eprintln!("{} stays", group.display());
            }
        }
    }
}

/// Ends what runs in a cgroup and below it, and removes it; whether it is gone.
fn remove_cgroup(group: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(group) else {
        return true;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let left = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in left.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    std::fs::remove_dir(group).is_ok()
}

/// The parent of the containers' cgroups of the engine in `root`: nobody else's are below it.
pub(crate) fn cgroup_parent(root: &Path) -> String {
    format!("/{}", root.file_name().unwrap().to_string_lossy())
}

/// Processes whose command line names the directory.
pub(crate) fn processes_naming(directory: &Path) -> Vec<i32> {
    let wanted = directory.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&wanted) {
            found.push(pid);
        }
    }
    found
}
