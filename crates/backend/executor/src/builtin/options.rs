//! The options of a mount (config.md, "Linux mount options").

use arca_sys::mount_attr::MountChange;

/// What the options of one mount ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// It is a bind mount: `Some(true)` with everything mounted below the source.
    pub(super) bind: Option<bool>,
    /// Attributes of the mount itself.
    pub(super) change: MountChange,
    /// Attributes of the mount and of those below it (`rro`, ..).
    pub(super) recursive: MountChange,
    /// The propagation type, and whether it goes for mounts below too.
    pub(super) propagation: Option<(u64, bool)>,
    /// Everything else is the filesystem's.
    pub(super) data: Vec<String>,
}

// linux/mount.h
const RDONLY: u64 = 0x01;
const NOSUID: u64 = 0x02;
const NODEV: u64 = 0x04;
const NOEXEC: u64 = 0x08;
const ATIME: u64 = 0x70;
const RELATIME: u64 = 0x00;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x0020_0000;

pub(super) const UNBINDABLE: u64 = 1 << 17;
pub(super) const PRIVATE: u64 = 1 << 18;
pub(super) const SLAVE: u64 = 1 << 19;
pub(super) const SHARED: u64 = 1 << 20;

/// Returns the change that makes a mount read-only.
pub(super) const fn read_only() -> MountChange {
    MountChange {
        set: RDONLY,
        clear: 0,
        propagation: 0,
    }
}

/// Returns the change that sets a propagation type.
pub(super) const fn propagate(propagation: u64) -> MountChange {
    MountChange {
        set: 0,
        clear: 0,
        propagation,
    }
}

impl Options {
    /// Reads the options in their order; the last of two that contradict counts.
    pub(super) fn parse(kind: Option<&str>, options: &[String]) -> Self {
        let mut parsed = Self::default();
        if kind == Some("bind") {
            parsed.bind = Some(false);
        }
        for option in options {
            parsed.take(option);
        }
        parsed
    }

    fn take(&mut self, option: &str) {
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            // Mappings of owners are told by the mount itself.
            "defaults" | "" | "idmap" | "ridmap" => {}
            _ => {
                if let Some(propagation) = propagation(option) {
                    self.propagation = Some(propagation);
                } else if let Some((set, clear)) = attribute(option) {
                    add(&mut self.change, set, clear);
                } else if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
                    add(&mut self.recursive, set, clear);
                } else {
                    self.data.push(option.to_owned());
                }
            }
        }
    }

    /// The names of `MS_*` for a message, as runc prints them.
    pub(super) fn flag_names(&self) -> String {
        let mut names = Vec::new();
        for (bit, name) in [
            (RDONLY, "MS_RDONLY"),
            (NOSUID, "MS_NOSUID"),
            (NODEV, "MS_NODEV"),
            (NOEXEC, "MS_NOEXEC"),
        ] {
            if self.change.set & bit != 0 {
                names.push(name);
            }
        }
        match self.bind {
            Some(true) => names.extend(["MS_BIND", "MS_REC"]),
            Some(false) => names.push("MS_BIND"),
            None => {}
        }
        names.join("|")
    }
}

fn propagation(option: &str) -> Option<(u64, bool)> {
    Some(match option {
        "private" => (PRIVATE, false),
        "rprivate" => (PRIVATE, true),
        "shared" => (SHARED, false),
        "rshared" => (SHARED, true),
        "slave" => (SLAVE, false),
        "rslave" => (SLAVE, true),
        "unbindable" => (UNBINDABLE, false),
        "runbindable" => (UNBINDABLE, true),
        _ => return None,
    })
}

/// The bits that an option sets and clears.
fn attribute(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "nosuid" => (NOSUID, 0),
        "suid" => (0, NOSUID),
        "nodev" => (NODEV, 0),
        "dev" => (0, NODEV),
        "noexec" => (NOEXEC, 0),
        "exec" => (0, NOEXEC),
        "nodiratime" => (NODIRATIME, 0),
        "diratime" => (0, NODIRATIME),
        "relatime" | "atime" | "nostrictatime" => (RELATIME, ATIME),
        "noatime" | "norelatime" => (NOATIME, ATIME),
        "strictatime" => (STRICTATIME, ATIME),
        "nosymfollow" => (NOSYMFOLLOW, 0),
        "symfollow" => (0, NOSYMFOLLOW),
        _ => return None,
    })
}

fn add(change: &mut MountChange, set: u64, clear: u64) {
    change.set = change.set & !clear | set;
    // The three kinds of access time are one field, which is cleared as a whole to be set.
    change.clear = change.clear & !set | clear;
    if clear == ATIME {
        change.clear |= ATIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Option<&str>, options: &[&str]) -> Options {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        Options::parse(kind, &options)
    }

    #[test]
    fn a_bind_has_its_attributes_and_its_propagation() {
        let options = parse(Some("bind"), &["rbind", "ro", "rslave", "nosuid", "suid"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.propagation, Some((SLAVE, true)));
        assert_eq!(
            options.change,
            MountChange {
                set: RDONLY,
                clear: NOSUID,
                propagation: 0
            }
        );
        assert!(options.recursive.is_empty() && options.data.is_empty());
        assert_eq!(options.flag_names(), "MS_RDONLY|MS_BIND|MS_REC");
    }

    #[test]
    fn recursive_attributes_are_told_from_those_that_begin_with_r() {
        let options = parse(None, &["rro", "rnoexec", "relatime", "rw"]);
        assert_eq!(options.recursive.set, RDONLY | NOEXEC);
        assert_eq!(
            options.change,
            MountChange {
                set: 0,
                clear: ATIME | RDONLY,
                propagation: 0
            }
        );
    }

    #[test]
    fn the_access_time_is_one_field() {
        let options = parse(
            Some("tmpfs"),
            &["noatime", "strictatime", "size=64k", "mode=755"],
        );
        assert_eq!(options.change.set, STRICTATIME);
        assert_eq!(options.change.clear & ATIME, ATIME);
        assert_eq!(options.data, ["size=64k", "mode=755"]);
    }

    #[test]
    fn options_alone_make_a_bind() {
        assert_eq!(parse(None, &["bind"]).bind, Some(false));
        assert_eq!(parse(Some("tmpfs"), &["ro"]).bind, None);
    }
}
