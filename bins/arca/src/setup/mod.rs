//! `arca setup`: installs the engine on a host that runs systemd, and takes it away again.

mod accounts;
mod files;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap_complete::Shell;

use crate::completion::script;
use files::Manifest;

/// The programs of the engine; they find each other by lying side by side.
const PROGRAMS: [&str; 5] = ["arcad", "arca-shim", "arca-init", "arca-dns", "arca"];

/// What is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Takes away what setup installed. Containers run on until they are stopped; data stays.
    #[arg(long)]
    uninstall: bool,
    /// With --uninstall: removes images, containers, volumes and configuration, too.
    #[arg(long, requires = "uninstall")]
    purge: bool,
    /// Where programs and completions go.
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Installs below this directory, for another machine: no accounts are made and nothing is started.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Links Docker's own socket, /run/docker.sock, to the engine's.
    #[arg(long)]
    docker_socket: bool,
    /// Starts nothing.
    #[arg(long)]
    no_start: bool,
    /// Who may use the engine, and gets a docker context for it (default: who called sudo).
    #[arg(long)]
    user: Option<String>,
}

/// Installs or uninstalls. Returns whether everything asked for was done.
///
/// # Errors
/// What could not be written, made or started.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    if !options.prefix.is_absolute() || !options.root.is_absolute() {
        bail!("--prefix and --root: absolute paths are needed");
    }
    let on_this_host = options.root == Path::new("/");
    if on_this_host && !rustix::process::geteuid().is_root() {
        bail!("setup needs root: sudo arca setup");
    }
    if options.uninstall {
        return uninstall(options, on_this_host);
    }
    install(options, on_this_host).map(|()| true)
}

fn install(options: &Options, on_this_host: bool) -> anyhow::Result<()> {
    if on_this_host && options.docker_socket {
        systemd::check_docker_socket()?;
    }
    if on_this_host && !options.no_start && !systemd::runs() {
        bail!(
            "systemd does not run here, which is to start the engine: with --no-start everything else is installed"
        );
    }
    let mut manifest = Manifest::open(&options.root)?;
    let bin = options.prefix.join("bin");
    let written = write(&mut manifest, options, &bin);
    // Also when it failed half way: what is there can be taken away again.
    manifest.save()?;
    written?;
    if !on_this_host {
        return Ok(());
    }
    accounts::group()?;
    let user = options.user.clone().or_else(accounts::caller);
    if let Some(user) = &user {
        accounts::member(user)?;
    }
    if !options.no_start {
        systemd::start()?;
        println!("the engine answers at unix:///run/arca.sock");
    } else if systemd::runs() {
        println!("start the engine with: systemctl enable --now arca.socket");
    } else {
        println!("start the engine with: {}/arcad", bin.display());
    }
    accounts::context(user.as_deref());
    Ok(())
}

/// Programs, completions and units.
fn write(manifest: &mut Manifest, options: &Options, bin: &Path) -> anyhow::Result<()> {
    programs(manifest, bin)?;
    for (shell, path) in [
        (Shell::Bash, "share/bash-completion/completions/arca"),
        (Shell::Zsh, "share/zsh/site-functions/_arca"),
        (Shell::Fish, "share/fish/vendor_completions.d/arca.fish"),
    ] {
        manifest.write(&options.prefix.join(path), &script(shell), 0o644)?;
    }
    systemd::write_units(manifest, bin, options.docker_socket)
}

/// Copies the programs that lie beside this one, unless it runs from where they go.
fn programs(manifest: &mut Manifest, bin: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("where is this program?")?;
    let from = own.parent().context("where is this program?")?;
    if manifest.at(bin).canonicalize().is_ok_and(|to| to == from) {
        return Ok(());
    }
    for program in PROGRAMS {
        let path = from.join(program);
        let content = std::fs::read(&path).with_context(|| {
            format!("{}: build it with scripts/build --release", path.display())
        })?;
        manifest.write(&bin.join(program), &content, 0o755)?;
    }
    Ok(())
}

fn uninstall(options: &Options, on_this_host: bool) -> anyhow::Result<bool> {
    let running = if on_this_host { shims()? } else { 0 };
    if options.purge && running > 0 {
        bail!("{running} containers run: stop them before their data is removed");
    }
    if on_this_host && systemd::runs() {
        systemd::stop();
    }
    // While the program is there that can do it.
    let torn_down = !on_this_host || running > 0 || teardown();
    let mut manifest = Manifest::open(&options.root)?;
    let kept = manifest.remove_all()?;
    for path in &kept {
        println!("kept, because it was changed: {}", path.display());
    }
    if on_this_host && systemd::runs() {
        systemd::reload()?;
    }
    if on_this_host {
        let user = options.user.clone().or_else(accounts::caller);
        accounts::forget_context(user.as_deref());
    }
    if options.purge {
        for directory in ["/var/lib/arca", "/etc/arca", "/run/arca"] {
            files::remove_tree(&manifest.at(Path::new(directory)))?;
        }
    } else if running > 0 {
        println!("{running} containers run on; the engine finds them when it is installed again");
    }
    Ok(kept.is_empty() && torn_down)
}

/// Has the daemon's program remove its networks from the kernel; whether it could.
fn teardown() -> bool {
    let own = std::env::current_exe().unwrap_or_default();
    let done = accounts::run(Command::new(own.with_file_name("arcad")).arg("--teardown"));
    if let Err(error) = &done {
        eprintln!("arca: networks stay until the host boots: {error:#}");
    }
    done.is_ok()
}

/// How many shims of the engine at the usual place run.
fn shims() -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        let line =
            std::fs::read(entry.context("/proc")?.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        count += usize::from(
            program.ends_with(b"arca-shim") && words.any(|word| word.starts_with(b"/run/arca/")),
        );
    }
    Ok(count)
}
