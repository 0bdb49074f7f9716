//! Device nodes of a container and the rules for them.

use std::fs;
use std::path::Path;

use rustix::fs::{FileType, Mode, lstat, major, minor, stat};

use super::oci::{Device, DeviceRule};
use crate::Error;
use crate::model::DeviceMapping;

/// What any container may use: null, zero, full, random, urandom, tty, console, ptmx, pts; the rest
/// is made by the runtime.
pub(crate) fn default_rules() -> Vec<DeviceRule> {
    let mut rules = vec![rule(false, None, None, None, "rwm")];
    for (major, minor) in [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)] {
        rules.push(rule(true, Some('c'), Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(false, Some('c'), Some(10), Some(229), "rwm"));
    rules
}

/// The rules of a privileged container: everything.
pub(crate) fn all_rules() -> Vec<DeviceRule> {
    vec![rule(true, None, None, None, "rwm")]
}

/// The rule that allows one device.
pub(crate) fn allow(kind: char, major: u32, minor: u32, access: &str) -> DeviceRule {
    rule(
        true,
        Some(kind),
        Some(major.into()),
        Some(minor.into()),
        access,
    )
}

fn rule(
    allow: bool,
    kind: Option<char>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> DeviceRule {
    DeviceRule {
        allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    }
}

/// Parses a rule of the devices cgroup, `c 1:3 rwm` or `a *:* rwm`.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse_rule(text: &str) -> Result<DeviceRule, Error> {
    let invalid = || Error::Invalid(format!("invalid device cgroup rule format: '{text}'"));
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>()[..] else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(-1),
        digits => digits
            .parse::<u32>()
            .map(i64::from)
            .map_err(|_error| invalid()),
    };
    let kind = match kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(invalid()),
    };
    if access.is_empty() || access.chars().any(|c| !"rwm".contains(c)) {
        return Err(invalid());
    }
    Ok(rule(
        true,
        Some(kind),
        Some(number(major)?),
        Some(number(minor)?),
        access,
    ))
}

/// The nodes and rules for a device, or for all devices in a directory.
///
/// # Errors
/// [`Error::Failed`] with dockerd's text when there is no device at the path.
pub(crate) fn of_mapping(mapping: &DeviceMapping) -> Result<(Vec<Device>, Vec<DeviceRule>), Error> {
    let target = if mapping.path_in_container.is_empty() {
        &mapping.path_on_host
    } else {
        &mapping.path_in_container
    };
    let access = if mapping.cgroup_permissions.is_empty() {
        "rwm"
    } else {
        mapping.cgroup_permissions.as_str()
    };
    let host = Path::new(&mapping.path_on_host);
    let nodes = match node(host, target) {
        Some(node) => vec![node],
        None => below(host, target),
    };
    if nodes.is_empty() {
        let reason = if host.exists() {
            "not a device node"
        } else {
            "no such file or directory"
        };
        return Err(Error::Failed(format!(
            "error gathering device information while adding custom device \"{}\": {reason}",
            mapping.path_on_host
        )));
    }
    let rules = nodes
        .iter()
        .map(|node| {
            rule(
                true,
                Some(node.kind),
                Some(node.major.into()),
                Some(node.minor.into()),
                access,
            )
        })
        .collect();
    Ok((nodes, rules))
}

/// All devices of the host, for a privileged container.
pub(crate) fn of_host() -> Vec<Device> {
    let mut nodes = Vec::new();
    walk(Path::new("/dev"), &mut |path| {
        let Some(text) = path.to_str() else { return };
        if text != "/dev/console"
            && let Some(node) = link_less_node(path, text)
        {
            nodes.push(node);
        }
    });
    nodes.sort_by(|a, b| a.path.cmp(&b.path));
    nodes
}

/// The devices in a directory of the host, shown below `target`.
fn below(dir: &Path, target: &str) -> Vec<Device> {
    let mut nodes = Vec::new();
    walk(dir, &mut |path| {
        let Ok(rest) = path.strip_prefix(dir) else {
            return;
        };
        if let Some(target) = Path::new(target).join(rest).to_str()
            && let Some(node) = link_less_node(path, target)
        {
            nodes.push(node);
        }
    });
    nodes
}

/// Visits what is in `dir` and below, leaving out what belongs to one mount namespace.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts"];
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            if !OWN.iter().any(|name| entry.file_name() == *name) {
                walk(&entry.path(), visit);
            }
        } else if !kind.is_symlink() {
            visit(&entry.path());
        }
    }
}

/// The node at `path`, following symbolic links.
fn node(path: &Path, target: &str) -> Option<Device> {
    describe(stat(path).ok()?, target)
}

fn link_less_node(path: &Path, target: &str) -> Option<Device> {
    describe(lstat(path).ok()?, target)
}

fn describe(found: rustix::fs::Stat, target: &str) -> Option<Device> {
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => return None,
    };
    Some(Device {
        path: target.to_owned(),
        kind,
        major: major(found.st_rdev),
        minor: minor(found.st_rdev),
        file_mode: Mode::from_raw_mode(found.st_mode).as_raw_mode() & 0o777,
        uid: found.st_uid,
        gid: found.st_gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_as_dockerd_does() {
        let found = parse_rule("c 1:* rw").unwrap();
        assert_eq!(found, rule(true, Some('c'), Some(1), Some(-1), "rw"));
        for bad in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 q", "c 1:3  r"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_is_described_under_its_name_in_the_container() {
        let mapping = DeviceMapping {
            path_on_host: "/dev/null".into(),
            path_in_container: "/dev/nothing".into(),
            cgroup_permissions: "r".into(),
        };
        let (nodes, rules) = of_mapping(&mapping).unwrap();
        assert_eq!(
            (nodes[0].path.as_str(), nodes[0].major, nodes[0].minor),
            ("/dev/nothing", 1, 3)
        );
        assert_eq!(rules[0].access, "r");
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let mapping = DeviceMapping {
            path_on_host: "/proc/version".into(),
            ..Default::default()
        };
        assert!(
            of_mapping(&mapping)
                .unwrap_err()
                .to_string()
                .contains("not a device node")
        );
    }
}
