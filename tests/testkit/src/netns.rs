//! A network namespace of the test's own.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tools::{found, run};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A named network namespace with `lo` up; removed when dropped.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    path: PathBuf,
}

impl NetNs {
    /// An address in the namespace that is not loopback, for "a host address".
    pub const HOST_ADDRESS: &'static str = "198.51.100.1";

    /// Makes one.
    #[expect(
        clippy::new_without_default,
        reason = "making one has effects on the host"
    )]
    pub fn new() -> Self {
        let name = format!(
            "arca-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        run(Command::new(found("ip")).args(["netns", "add", &name]));
        let path = Path::new("/run/netns").join(&name);
        let this = Self { name, path };
        run(this.command("ip").args(["link", "set", "lo", "up"]));
        run(this.command("ip").args([
            "address",
            "add",
            &format!("{}/32", Self::HOST_ADDRESS),
            "dev",
            "lo",
        ]));
        this
    }

    /// The name that `ip netns` knows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs in the namespace (and in nothing else that is new).
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let program = if program.is_absolute() {
            program.to_owned()
        } else {
            found(program.to_str().unwrap())
        };
        let mut command = Command::new(found("nsenter"));
        command
            .arg(format!("--net={}", self.path.display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `work` on a thread that is in the namespace.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_named_netns(&self.path, work)
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Runs `work` on a thread that is in the network namespace behind `path`.
pub(crate) fn in_named_netns<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(path).unwrap();
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network).unwrap();
                work()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Drop for NetNs {
    fn drop(&mut self) {
        // A failing test may be unwinding: report, never panic twice.
        let done = Command::new(found("ip"))
            .args(["netns", "delete", &self.name])
            .status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} was not removed", self.name);
        }
    }
}
