//! What the host offers: kernel features, cgroups, the firewall, disk space.

use std::path::Path;
use std::process::Command;

use crate::finding::Finding;

/// Below so many bytes pulling images is likely to fail.
const LITTLE_SPACE: u64 = 2 << 30;

/// Every check of the host.
pub(crate) fn check(data_root: &Path) -> Vec<Finding> {
    let mut findings = vec![
        root(),
        kernel(),
        namespaces(),
        seccomp(),
        overlay(),
        cgroups(),
        forwarding(),
    ];
    findings.extend([firewall(), legacy_iptables()]);
    findings.extend(helpers());
    findings.extend(disk(data_root));
    findings
}

fn root() -> Finding {
    Finding::needed(
        "user",
        rustix::process::geteuid().is_root(),
        "root",
        "arca has to run as root, and so has this check",
    )
}

fn kernel() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let text = format!("Linux {release}");
    match version {
        (0..=4, _) | (5, 0..=11) => {
            Finding::error("kernel", format!("{text}: 5.12 or later is needed"))
        }
        _ => Finding::ok("kernel", text),
    }
}

fn namespaces() -> Finding {
    let wanted = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    Finding::needed(
        "namespaces",
        missing.is_empty(),
        &wanted.join(", "),
        &format!("missing in the kernel: {}", missing.join(", ")),
    )
}

fn seccomp() -> Finding {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Finding::needed(
        "seccomp",
        status.contains("\nSeccomp:"),
        "filters are available",
        "the kernel has no CONFIG_SECCOMP: containers run only with --security-opt seccomp=unconfined",
    )
}

fn overlay() -> Finding {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.contains("\toverlay\n") {
        Finding::ok("overlay", "available")
    } else {
        Finding::warning(
            "overlay",
            "not loaded (modprobe overlay): without it images are copied for each container (vfs)",
        )
    }
}

fn cgroups() -> Finding {
    let base = Path::new("/sys/fs/cgroup");
    let unified = std::fs::read_to_string(base.join("cgroup.controllers"));
    let (kind, controllers) = match unified {
        Ok(controllers) => (
            "version 2",
            controllers.split_whitespace().map(str::to_owned).collect(),
        ),
        Err(_) => ("version 1", v1_controllers()),
    };
    let wanted = ["cpu", "cpuset", "memory", "pids"];
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|name| !controllers.iter().any(|have| have == name))
        .collect();
    if controllers.is_empty() {
        Finding::error("cgroups", "not mounted on /sys/fs/cgroup")
    } else if missing.is_empty() {
        Finding::ok("cgroups", format!("{kind}: {}", controllers.join(" ")))
    } else {
        Finding::warning(
            "cgroups",
            format!(
                "{kind}, without {}: those limits do not work",
                missing.join(", ")
            ),
        )
    }
}

fn v1_controllers() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<String> = mounts
        .lines()
        .filter_map(|line| line.split_once(" - cgroup "))
        .filter_map(|(_, rest)| rest.split(' ').nth(1))
        .flat_map(|options| options.split(','))
        .filter(|option| !["rw", "ro"].contains(option) && !option.contains('='))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

fn forwarding() -> Finding {
    let value = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    match value.trim() {
        "1" => Finding::ok("ip forwarding", "on"),
        "0" => Finding::ok(
            "ip forwarding",
            "off: arcad switches it on with its first bridge network",
        ),
        _ => Finding::error(
            "ip forwarding",
            "/proc/sys/net/ipv4/ip_forward cannot be read",
        ),
    }
}

/// nft only shows what is there: arcad talks to the kernel itself.
fn firewall() -> Finding {
    let what = "firewall";
    match Command::new("nft").args(["list", "tables"]).output() {
        Ok(output) if output.status.success() => {
            let tables = String::from_utf8_lossy(&output.stdout).lines().count();
            Finding::ok(what, format!("nftables works, {tables} tables"))
        }
        Ok(_) => Finding::error(
            what,
            "nft list tables fails: the kernel lacks nf_tables, or rights are missing",
        ),
        Err(error) => Finding::warning(
            what,
            format!(
                "not looked at (nft: {error}): arca does without nft, package nftables, which shows the rules"
            ),
        ),
    }
}

/// Programs of the host that some requests need, and what for.
const HELPERS: [(&str, &str); 5] = [
    ("ps", "docker top (package procps)"),
    ("git", "builds from git repositories"),
    (
        "ssh",
        "builds from git repositories by SSH (package openssh-client)",
    ),
    (
        "mkfs.ext4",
        "volumes of the driver block (package e2fsprogs)",
    ),
    ("apparmor_parser", "AppArmor profiles (package apparmor)"),
];

/// Says which of them are not here.
fn helpers() -> Vec<Finding> {
    let apparmor = Path::new("/sys/kernel/security/apparmor/profiles").exists();
    let wanted = HELPERS
        .iter()
        .filter(|(name, _)| apparmor || *name != "apparmor_parser");
    wanted
        .filter(|(name, _)| !is_installed(name))
        .map(|(name, what)| Finding::warning("program", format!("{name} is missing, for {what}")))
        .collect()
}

fn is_installed(name: &str) -> bool {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .any(|directory| Path::new(directory).join(name).exists())
}

/// Rules by iptables' old kernel interface, which nft does not show.
fn legacy_iptables() -> Finding {
    let what = "legacy iptables";
    let tables = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if !tables.lines().any(|table| table == "filter") {
        return Finding::ok(what, "not in use");
    }
    let rules = Command::new("iptables-legacy")
        .args(["-t", "filter", "-S", "FORWARD"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match rules {
        Ok(rules) if rules.contains("-P FORWARD DROP") => Finding::warning(
            what,
            "its chain FORWARD drops what it does not know, and with it containers' packets: \
             iptables-legacy -P FORWARD ACCEPT, or a rule for each bridge (-i and -o)",
        ),
        Ok(rules) => {
            let count = rules.lines().filter(|line| line.starts_with("-A")).count();
            let text = format!("in use, {count} rules for forwarded packets besides those of arca");
            Finding::warning(what, text)
        }
        Err(error) => Finding::warning(
            what,
            format!("in use, and its rules cannot be shown (iptables-legacy: {error})"),
        ),
    }
}

fn disk(data_root: &Path) -> Vec<Finding> {
    // The directory may not have been made yet; what counts is the file system it will be on.
    let existing = data_root
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let Ok(stat) = rustix::fs::statvfs(existing) else {
        return vec![Finding::error(
            "disk",
            format!("{}: statvfs fails", existing.display()),
        )];
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let text = format!("{} MiB free at {}", free >> 20, data_root.display());
    let mut findings = vec![if free < LITTLE_SPACE {
        Finding::warning(
            "disk",
            format!("{text}: docker system prune gives some back"),
        )
    } else {
        Finding::ok("disk", text)
    }];
    if stat.f_files > 0 && stat.f_favail < stat.f_files / 50 {
        findings.push(Finding::warning(
            "disk",
            format!("only {} inodes are free", stat.f_favail),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_looked_at() {
        let findings = check(Path::new("/nonexistent/arca"));
        let named: Vec<_> = findings
            .iter()
            .map(|finding| finding.what.as_str())
            .collect();
        for what in ["kernel", "cgroups", "overlay", "firewall", "disk"] {
            assert!(named.contains(&what), "{what}");
        }
    }
}
