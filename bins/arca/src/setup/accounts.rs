//! Who may use the engine: the group of its socket, its members, and their docker context.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The group of the socket, as Docker has it.
const GROUP: &str = "docker";
/// Where the engine listens.
const HOST: &str = "unix:///run/arca.sock";

/// Makes the group when it is missing.
///
/// # Errors
/// It cannot be made.
pub(crate) fn group() -> anyhow::Result<()> {
    if field("group", GROUP, 0).is_some() {
        return Ok(());
    }
    run(Command::new("groupadd").args(["--system", GROUP]))
}

/// Makes a user a member of the group.
///
/// # Errors
/// There is no such user, or membership cannot be given.
pub(crate) fn member(user: &str) -> anyhow::Result<()> {
    if user == "root" {
        return Ok(());
    }
    run(Command::new("usermod").args(["--append", "--groups", GROUP, "--", user]))?;
    println!("{user} is in the group {GROUP}: this counts from the next login on");
    Ok(())
}

/// Who called sudo.
pub(crate) fn caller() -> Option<String> {
    std::env::var("SUDO_USER")
        .ok()
        .filter(|name| !name.is_empty())
}

/// Makes the docker context `arca` for a user (root when nobody is named), or says how.
pub(crate) fn context(user: Option<&str>) {
    let by_hand = "docker context create arca --docker host=unix:///run/arca.sock";
    let made = create_context(user.unwrap_or("root"));
    match made {
        Ok(()) => println!("use it with: docker --context arca (or: docker context use arca)"),
        Err(error) => println!("no docker context was made ({error:#}); by hand: {by_hand}"),
    }
}

fn create_context(user: &str) -> anyhow::Result<()> {
    if run(docker(user)?.args(["context", "inspect", "arca"])).is_ok() {
        return Ok(());
    }
    run(docker(user)?.args([
        "context",
        "create",
        "arca",
        "--description=arca container engine",
        &format!("--docker=host={HOST}"),
    ]))
}

/// Removes the docker context of a user (root when nobody is named), if it is the one that setup made.
pub(crate) fn forget_context(user: Option<&str>) {
    let user = user.unwrap_or("root");
    let shown = docker(user).and_then(|mut docker| {
        let shown = [
            "context",
            "inspect",
            "-f",
            "{{.Endpoints.docker.Host}}",
            "arca",
        ];
        Ok(docker.args(shown).stdin(Stdio::null()).output()?)
    });
    if !shown.is_ok_and(|output| output.stdout.trim_ascii() == HOST.as_bytes()) {
        return;
    }
    let removed =
        docker(user).and_then(|mut docker| run(docker.args(["context", "rm", "-f", "arca"])));
    if let Err(error) = removed {
        println!("the docker context arca of {user} stays ({error:#})");
    }
}

/// The docker client as a user runs it.
fn docker(user: &str) -> anyhow::Result<Command> {
    let number = |place| field("passwd", user, place).and_then(|text| text.parse::<u32>().ok());
    let (uid, gid) = (
        number(2).with_context(|| format!("no user {user}"))?,
        number(3).with_context(|| format!("no user {user}"))?,
    );
    let home = field("passwd", user, 5).with_context(|| format!("no user {user}"))?;
    let mut command = Command::new("docker");
    command.env("HOME", &home).current_dir("/");
    command
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_CONFIG");
    command.uid(uid).gid(gid);
    Ok(command)
}

/// A field of the line of a name, of what the host's name service knows.
fn field(database: &str, name: &str, place: usize) -> Option<String> {
    let output = Command::new("getent")
        .args([database, name])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.split(':').nth(place)?.to_owned())
}

/// Runs a program of the host to its end.
///
/// # Errors
/// It cannot be started, or fails; what it said is told.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, said.trim());
    }
    Ok(())
}
