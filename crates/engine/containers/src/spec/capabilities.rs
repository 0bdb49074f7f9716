//! Which capabilities a container has (capabilities(7)).

use crate::Error;

/// What a container has unless it says otherwise.
const DEFAULT: [&str; 14] = [
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
    "CAP_AUDIT_WRITE",
];

/// All that Linux has, by number.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Brings names into one form: upper case with `CAP_`, or `ALL`.
///
/// # Errors
/// [`Error::Invalid`] for a name that Linux does not know; `field` says where it came from.
pub(crate) fn normalize(names: &[String], field: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let mut name = name.to_ascii_uppercase();
        if name != "ALL" {
            if !name.starts_with("CAP_") {
                name.insert_str(0, "CAP_");
            }
            if !ALL.contains(&name.as_str()) {
                let text = format!("invalid {field}: unknown capability: \"{name}\"");
                return Err(Error::Invalid(text));
            }
        }
        found.push(name);
    }
    Ok(found)
}

/// The set of a container: of `available`, in the order of dockerd's lists.
pub(crate) fn of(
    privileged: bool,
    add: &[String],
    drop: &[String],
    available: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let has = |list: &[String], name: &str| list.iter().any(|other| other == name);
    let everything = || ALL.iter().filter(|name| available(name));
    if privileged {
        return everything().map(|name| (*name).to_owned()).collect();
    }
    if add.is_empty() && drop.is_empty() {
        return DEFAULT
            .iter()
            .filter(|n| available(n))
            .map(|n| (*n).to_owned())
            .collect();
    }
    if has(add, "ALL") {
        return everything()
            .filter(|n| !has(drop, n))
            .map(|n| (*n).to_owned())
            .collect();
    }
    let mut set: Vec<String> = if has(drop, "ALL") {
        Vec::new()
    } else {
        DEFAULT
            .iter()
            .filter(|n| !has(drop, n))
            .map(|n| (*n).to_owned())
            .collect()
    };
    for name in add {
        if !has(&set, name) && (has(drop, "ALL") || !has(drop, name)) {
            set.push(name.clone());
        }
    }
    set.retain(|name| available(name));
    set
}

/// The bounding set of this process (`/proc/self/status`, `CapBnd`), which no container can exceed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounding(u64);

impl Bounding {
    /// Reads it from the text of `/proc/self/status`; everything where it is not told.
    pub(crate) fn parse(status: &str) -> Self {
        let bits = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:"))
            .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        Self(bits.unwrap_or(u64::MAX))
    }

    /// Whether it holds a capability.
    pub(crate) fn has(self, name: &str) -> bool {
        ALL.iter()
            .position(|other| *other == name)
            .is_some_and(|bit| self.0 >> bit & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let add = normalize(&owned(add), "CapAdd").unwrap();
        let drop = normalize(&owned(drop), "CapDrop").unwrap();
        of(false, &add, &drop, &|_name| true)
    }

    #[test]
    fn defaults_are_dockers() {
        assert_eq!(set(&[], &[]), DEFAULT);
    }

    #[test]
    fn added_ones_come_last_and_dropped_ones_are_gone() {
        let found = set(&["net_admin"], &["CHOWN"]);
        assert_eq!(found.len(), 14);
        assert_eq!(found.last().unwrap(), "CAP_NET_ADMIN");
        assert!(!found.contains(&"CAP_CHOWN".to_owned()));
    }

    #[test]
    fn all_can_be_dropped_and_some_added() {
        assert_eq!(set(&["CAP_CHOWN"], &["ALL"]), ["CAP_CHOWN"]);
        assert_eq!(set(&["ALL"], &["CAP_BPF"]).len(), 40);
    }

    #[test]
    fn an_unknown_name_is_refused_in_dockers_words() {
        let error = normalize(&["FOO".into()], "CapAdd").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid CapAdd: unknown capability: \"CAP_FOO\""
        );
    }

    #[test]
    fn what_the_daemon_lacks_no_container_gets() {
        let bounding = Bounding::parse("Name:\tx\nCapBnd:\t0000000000000001\n");
        let found = of(true, &[], &[], &|name| bounding.has(name));
        assert_eq!(found, ["CAP_CHOWN"]);
    }
}
