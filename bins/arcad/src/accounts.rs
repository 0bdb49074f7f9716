//! `userns-remap`: whose subordinate IDs containers get (subuid(5), subgid(5)). The texts are dockerd's.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};
use arca_types::{IdMaps, IdRange};

/// The user that `default` stands for.
const DEFAULT: &str = "dockremap";
/// Where subordinate IDs begin when nobody has any, and how many a new user gets.
const FIRST: u32 = 100_000;
const COUNT: u32 = 65_536;

/// Finds the IDs that `userns-remap` names; `None` when containers are not to have any.
///
/// # Errors
/// There is no such user or group, or it has no subordinate IDs.
pub(crate) fn find(value: &str) -> anyhow::Result<Option<IdMaps>> {
    if value.is_empty() {
        return Ok(None);
    }
    let etc = Path::new("/etc");
    if value == "default" && user(etc, DEFAULT).is_none() {
        make_default(etc).with_context(|| format!("Error during {DEFAULT:?} user creation"))?;
    }
    let user = user_of(etc, value)?;
    if user.name == "root" {
        tracing::warn!(
            "User namespaces: root cannot be remapped with itself; user namespaces are OFF"
        );
        return Ok(None);
    }
    maps(etc, &user)
        .map(Some)
        .context("Can't create ID mappings")
}

/// A user.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    id: u32,
}

/// The user that `USER` or `USER:GROUP` names; there has to be such a group, too.
fn user_of(etc: &Path, value: &str) -> anyhow::Result<User> {
    let parts: Vec<&str> = value.split(':').collect();
    let (name, group_name) = match *parts.as_slice() {
        [name] => (name, None),
        [name, group] => (name, Some(group)),
        _ => bail!("Invalid user/group specification in --userns-remap: {value:?}"),
    };
    let name = if name == "default" { DEFAULT } else { name };
    let none = |of: &str| anyhow!("no matching entries in {of} file");
    let is_number = name.parse::<i32>().is_ok();
    let found = user(etc, name).ok_or_else(|| none("passwd"));
    let found = found.with_context(|| {
        if is_number {
            format!("Uid {name} has no entry in /etc/passwd")
        } else {
            format!("Error during uid lookup for {name:?}")
        }
    })?;
    let (wanted, what) = match group_name {
        Some(group) if group.parse::<i32>().is_err() => (
            group,
            format!("Error during groupname lookup for {group:?}"),
        ),
        Some(group) => (group, format!("Gid {group} has no entry in /etc/passwd")),
        None if is_number => (name, format!("Gid {name} has no entry in /etc/group")),
        None => (name, format!("Error during gid lookup for {name:?}")),
    };
    if entry(etc, "group", wanted).is_none() {
        return Err(none("group").context(what));
    }
    Ok(found)
}

fn user(etc: &Path, name: &str) -> Option<User> {
    let fields = entry(etc, "passwd", name)?;
    Some(User {
        name: fields.first()?.clone(),
        id: fields.get(2)?.parse().ok()?,
    })
}

/// The entry with this name or number: of the file, else of what the host's name service knows.
fn entry(etc: &Path, database: &str, wanted: &str) -> Option<Vec<String>> {
    let is_wanted = |fields: &Vec<String>| {
        let is = |field: Option<&String>| field.is_some_and(|field| field == wanted);
        is(fields.first()) || is(fields.get(2))
    };
    let text = std::fs::read_to_string(etc.join(database)).unwrap_or_default();
    lines(&text).find(is_wanted).or_else(|| {
        let mut getent = Command::new("getent");
        let output = getent.args([database, "--", wanted]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        lines(&text).find(is_wanted)
    })
}

fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').map(str::to_owned).collect())
}

/// The user's subordinate IDs, one range after the other.
fn maps(etc: &Path, user: &User) -> anyhow::Result<IdMaps> {
    let ranges = |file: &str| {
        let mut inside = 0_u32;
        let mut all = Vec::new();
        for (owner, outside, size) in subordinate(etc, file)? {
            if owner == user.name || owner == user.id.to_string() {
                all.push(IdRange {
                    inside,
                    outside,
                    size,
                });
                inside = inside.checked_add(size).context("too many IDs")?;
            }
        }
        if all.is_empty() {
            bail!("no {file} ranges found for user {:?}", user.name);
        }
        Ok(all)
    };
    Ok(IdMaps {
        users: ranges("subuid")?,
        groups: ranges("subgid")?,
    })
}

/// Reads a file of subordinate IDs: owner, first, count.
fn subordinate(etc: &Path, file: &str) -> anyhow::Result<Vec<(String, u32, u32)>> {
    let path = etc.join(file);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let parse = |fields: Vec<String>| match fields.as_slice() {
        [owner, first, count] => Ok((owner.clone(), first.parse()?, count.parse()?)),
        _ => bail!("invalid line in {}: {}", path.display(), fields.join(":")),
    };
    lines(&text).map(parse).collect()
}

/// Makes the user for `default`, with subordinate IDs that nobody has.
fn make_default(etc: &Path) -> anyhow::Result<()> {
    run(Command::new("useradd").args([
        "--system",
        "--user-group",
        "--no-create-home",
        "--shell=/bin/false",
        DEFAULT,
    ]))?;
    for (file, flag) in [("subuid", "--add-subuids"), ("subgid", "--add-subgids")] {
        let taken = subordinate(etc, file)?;
        if taken.iter().any(|(owner, ..)| owner == DEFAULT) {
            continue;
        }
        let first = free(&taken);
        let range = format!("{first}-{}", u64::from(first) + u64::from(COUNT) - 1);
        run(Command::new("usermod").args([flag, &range, DEFAULT]))?;
    }
    Ok(())
}

/// The first range that overlaps no other.
fn free(taken: &[(String, u32, u32)]) -> u32 {
    let mut taken: Vec<(u32, u32)> = taken.iter().map(|(_, first, n)| (*first, *n)).collect();
    taken.sort_unstable();
    taken.into_iter().fold(FIRST, |at, (first, count)| {
        let end = first.saturating_add(count);
        let overlaps = at < end && first < at.saturating_add(COUNT);
        if overlaps { end } else { at }
    })
}

fn run(command: &mut Command) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn etc() -> tempfile::TempDir {
        let etc = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "passwd",
                "root:x:0:0::/root:/bin/sh\nme:x:1234:1235::/:/bin/sh\nyou:x:77:1235::/:/bin/sh\n",
            ),
            ("group", "root:x:0:\nme:x:1235:\nothers:x:1234:\n"),
            ("subuid", "# here\nme:200000:10\nyou:1:2\n1234:300000:5\n"),
            ("subgid", "me:400000:65536\n"),
        ] {
            std::fs::write(etc.path().join(file), text).unwrap();
        }
        etc
    }

    #[test]
    fn users_and_groups_are_named_or_numbered() {
        let etc = etc();
        let me = || User {
            name: "me".to_owned(),
            id: 1234,
        };
        for value in ["me", "1234", "me:others", "1234:1235", "me:1234"] {
            assert_eq!(user_of(etc.path(), value).unwrap(), me(), "{value}");
        }
        for (value, text) in [
            (
                "a:b:c",
                "Invalid user/group specification in --userns-remap: \"a:b:c\"",
            ),
            (
                "no-such-user",
                "Error during uid lookup for \"no-such-user\": no matching entries in passwd file",
            ),
            (
                "999888777",
                "Uid 999888777 has no entry in /etc/passwd: no matching entries in passwd file",
            ),
            (
                "you",
                "Error during gid lookup for \"you\": no matching entries in group file",
            ),
            (
                "77",
                "Gid 77 has no entry in /etc/group: no matching entries in group file",
            ),
            (
                "me:no-such-group",
                "Error during groupname lookup for \"no-such-group\": no matching entries in group file",
            ),
        ] {
            // The host's own name service does not know them either.
            let error = user_of(etc.path(), value).unwrap_err();
            assert_eq!(format!("{error:#}"), text);
        }
    }

    #[test]
    fn ranges_follow_each_other() {
        let etc = etc();
        let me = user_of(etc.path(), "me").unwrap();
        let found = maps(etc.path(), &me).unwrap();
        let shown: Vec<String> = found.users.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0:200000:10", "10:300000:5"]);
        assert_eq!(found.groups.len(), 1);
        let you = user(etc.path(), "you").unwrap();
        let error = maps(etc.path(), &you).unwrap_err();
        assert_eq!(error.to_string(), "no subgid ranges found for user \"you\"");
    }

    #[test]
    fn a_new_range_overlaps_no_other() {
        let taken = |all: &[(u32, u32)]| {
            let all: Vec<_> = all.iter().map(|(a, b)| (String::new(), *a, *b)).collect();
            free(&all)
        };
        assert_eq!(taken(&[]), 100_000);
        assert_eq!(taken(&[(165_536, 10), (100_000, 65_536)]), 165_546);
        assert_eq!(taken(&[(1, 2), (300_000, 1)]), 100_000);
    }
}
