//! The text of the default profile (apparmor.d(5)): equal in effect to dockerd's.
//!
//! Inside of a container everything is allowed that capabilities, namespaces, the system call filter
//! and read-only mounts allow, but for what would reach the host: mounting, and writing to the parts
//! of `/proc` and `/sys` that are not the container's own.

use std::path::Path;

/// Where profiles include from.
const INCLUDES: &str = "/etc/apparmor.d";

/// Who may send signals to a container besides itself: processes without a profile, and runtimes on
/// distributions that confine those.
const SENDERS: [&str; 3] = ["unconfined", "runc", "crun"];

/// Paths below `/proc` that must not be written to: files in `/proc` itself; directories whose name
/// is neither a process ID nor `sys`; of `/proc/sys` all but `kernel/shm*`.
const PROC_WRITES: [&str; 4] = [
    "*",
    "{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/**",
    "sys/[^k]**",
    "sys/kernel/{?,??,[^s][^h][^m]**}",
];

/// Paths below `/sys` that must not be written to: all but `fs/cgroup`.
const SYS_WRITES: [&str; 5] = [
    "[^f]*/**",
    "f[^s]*/**",
    "fs/[^c]*/**",
    "fs/c[^g]*/**",
    "fs/cg[^r]*/**",
];

/// Paths that must not even be read.
const HIDDEN: [&str; 5] = [
    "@{PROC}/sysrq-trigger",
    "@{PROC}/kcore",
    "/sys/firmware/**",
    "/sys/devices/virtual/powercap/**",
    "/sys/kernel/security/**",
];

/// The profile `name` for containers of a daemon that runs under `daemon`.
pub(crate) fn text(name: &str, daemon: &str) -> String {
    render(name, daemon, Path::new(INCLUDES))
}

fn render(name: &str, daemon: &str, includes: &Path) -> String {
    let mut text = String::new();
    if includes.join("tunables/global").exists() {
        text.push_str("#include <tunables/global>\n");
    } else {
        text.push_str("@{PROC}=/proc/\n");
    }
    line(
        &mut text,
        &format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{"),
    );
    if includes.join("abstractions/base").exists() {
        text.push_str("  #include <abstractions/base>\n");
    }
    for allowed in ["network", "capability", "file", "umount"] {
        line(&mut text, &format!("  {allowed},"));
    }
    for sender in SENDERS {
        line(&mut text, &format!("  signal (receive) peer={sender},"));
    }
    if !SENDERS.contains(&daemon) {
        line(&mut text, &format!("  signal (receive) peer=\"{daemon}\","));
    }
    line(&mut text, &format!("  signal (send,receive) peer={name},"));
    for path in PROC_WRITES {
        line(&mut text, &format!("  deny @{{PROC}}/{path} w,"));
    }
    for path in SYS_WRITES {
        line(&mut text, &format!("  deny /sys/{path} wklx,"));
    }
    for path in HIDDEN {
        line(&mut text, &format!("  deny {path} rwklx,"));
    }
    text.push_str("  deny mount,\n");
    line(
        &mut text,
        &format!("  ptrace (trace,read,tracedby,readby) peer={name},"),
    );
    text.push_str("}\n");
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_stands_alone_where_there_is_nothing_to_include() {
        let text = render("docker-default", "unconfined", Path::new("/nowhere"));
        assert!(text.starts_with("@{PROC}=/proc/\nprofile docker-default flags="));
        assert!(!text.contains("#include"));
        assert_eq!(text.matches("signal (receive)").count(), 3);
        for rule in [
            "  deny mount,\n",
            "  deny @{PROC}/kcore rwklx,\n",
            "  deny /sys/[^f]*/** wklx,\n",
            "  deny @{PROC}/sys/[^k]** w,\n",
            "  signal (send,receive) peer=docker-default,\n",
        ] {
            assert!(text.contains(rule), "{rule}");
        }
    }

    #[test]
    fn a_confined_daemon_may_send_signals() {
        let text = render("docker-default", "/usr/bin/arcad", Path::new("/nowhere"));
        assert!(text.contains("  signal (receive) peer=\"/usr/bin/arcad\",\n"));
    }
}
