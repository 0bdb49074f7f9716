//! The options of mount(8), as the options `o` of volumes have them.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags};

/// What is to be mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MountSpec {
    /// The device, or what the kind of file system takes for one.
    pub(super) device: String,
    /// The kind of file system; empty or `none` with a bind.
    pub(super) kind: String,
    flags: u32,
    propagation: Option<(u32, bool)>,
    /// What is the file system's own.
    pub(super) data: String,
}

/// What an option does to the flags.
enum Meaning {
    Set(MountFlags),
    Clear(MountFlags),
    Propagation(MountPropagationFlags, bool),
    Nothing,
}

fn meaning(option: &str) -> Option<Meaning> {
    use Meaning::{Clear, Nothing, Propagation, Set};
    use MountPropagationFlags as Spread;
    Some(match option {
        "defaults" => Nothing,
        "ro" => Set(MountFlags::RDONLY),
        "rw" => Clear(MountFlags::RDONLY),
        "nosuid" => Set(MountFlags::NOSUID),
        "suid" => Clear(MountFlags::NOSUID),
        "nodev" => Set(MountFlags::NODEV),
        "dev" => Clear(MountFlags::NODEV),
        "noexec" => Set(MountFlags::NOEXEC),
        "exec" => Clear(MountFlags::NOEXEC),
        "sync" => Set(MountFlags::SYNCHRONOUS),
        "async" => Clear(MountFlags::SYNCHRONOUS),
        "dirsync" => Set(MountFlags::DIRSYNC),
        "mand" => Set(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "nomand" => Clear(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "noatime" => Set(MountFlags::NOATIME),
        "atime" => Clear(MountFlags::NOATIME),
        "nodiratime" => Set(MountFlags::NODIRATIME),
        "diratime" => Clear(MountFlags::NODIRATIME),
        "relatime" => Set(MountFlags::RELATIME),
        "norelatime" => Clear(MountFlags::RELATIME),
        "strictatime" => Set(MountFlags::STRICTATIME),
        "nostrictatime" => Clear(MountFlags::STRICTATIME),
        "bind" => Set(MountFlags::BIND),
        "rbind" => Set(MountFlags::BIND | MountFlags::REC),
        "shared" => Propagation(Spread::SHARED, false),
        "rshared" => Propagation(Spread::SHARED, true),
        "slave" => Propagation(Spread::DOWNSTREAM, false),
        "rslave" => Propagation(Spread::DOWNSTREAM, true),
        "private" => Propagation(Spread::PRIVATE, false),
        "rprivate" => Propagation(Spread::PRIVATE, true),
        "unbindable" => Propagation(Spread::UNBINDABLE, false),
        "runbindable" => Propagation(Spread::UNBINDABLE, true),
        _ => return None,
    })
}

impl MountSpec {
    /// Reads options separated by commas; what mount(8) does not know is the file system's.
    pub(super) fn parse(device: &str, kind: &str, options: &str) -> Self {
        let mut spec = Self {
            device: device.to_owned(),
            kind: kind.to_owned(),
            ..Self::default()
        };
        let mut data = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match meaning(option) {
                Some(Meaning::Set(flags)) => spec.flags |= flags.bits(),
                Some(Meaning::Clear(flags)) => spec.flags &= !flags.bits(),
                Some(Meaning::Propagation(kind, all)) => {
                    spec.propagation = Some((kind.bits(), all));
                }
                Some(Meaning::Nothing) => {}
                None => data.push(option),
            }
        }
        spec.data = data.join(",");
        spec
    }

    fn is_bind(&self) -> bool {
        self.flags & MountFlags::BIND.bits() != 0
    }

    /// Mounts it on `target`. When a step fails, nothing is left mounted.
    ///
    /// # Errors
    /// What mount(2) says, in the words of dockerd.
    pub(super) fn mount(&self, target: &Path) -> Result<(), String> {
        self.try_mount(target)
            .map_err(|error| self.failure(target, &error))
    }

    fn try_mount(&self, target: &Path) -> io::Result<()> {
        let data = CString::new(self.data.as_str())?;
        let data = (!self.data.is_empty()).then_some(data.as_c_str());
        let flags = MountFlags::from_bits_retain(self.flags);
        rustix::mount::mount(
            self.device.as_str(),
            target,
            self.kind.as_str(),
            flags,
            data,
        )?;
        self.finish(target, flags).inspect_err(|_error| {
            if let Err(error) = super::unmount(target) {
                tracing::warn!(%error, path = %target.display(), "cannot be taken back");
            }
        })
    }

    /// A bind takes neither attributes nor propagation at once.
    fn finish(&self, target: &Path, flags: MountFlags) -> io::Result<()> {
        let attributes = flags - MountFlags::BIND - MountFlags::REC;
        if self.is_bind() && !attributes.is_empty() {
            let flags = flags | MountFlags::BIND;
            rustix::mount::mount_remount(target, flags, c"")?;
        }
        if let Some((kind, all)) = self.propagation {
            let mut kind = MountPropagationFlags::from_bits_retain(kind);
            if all {
                kind |= MountPropagationFlags::REC;
            }
            rustix::mount::mount_change(target, kind)?;
        }
        Ok(())
    }

    fn failure(&self, target: &Path, error: &io::Error) -> String {
        let mut text = format!("mount {}:{}", self.device, target.display());
        if self.flags != 0 {
            text.push_str(&format!(", flags: {:#x}", self.flags));
        }
        if !self.data.is_empty() {
            text.push_str(&format!(", data: {}", without_password(&self.data)));
        }
        format!("{text}: {}", os_text(error))
    }
}

/// Options as people may read them.
fn without_password(data: &str) -> String {
    let shown = data.split(',').map(|option| match option.split_once('=') {
        Some((key @ ("password" | "pass" | "password2"), _)) => format!("{key}=********"),
        _ => option.to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// An error of the operating system in the words of Go.
pub(super) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_those_of_the_file_system() {
        let spec = MountSpec::parse(
            "tmpfs",
            "tmpfs",
            "size=1m,ro,noexec,exec,uid=7,rslave,defaults",
        );
        assert_eq!(spec.flags, MountFlags::RDONLY.bits());
        assert_eq!(spec.data, "size=1m,uid=7");
        let propagation = MountPropagationFlags::DOWNSTREAM.bits();
        assert_eq!(spec.propagation, Some((propagation, true)));
        assert!(MountSpec::parse("/a", "none", "bind").is_bind());
    }

    #[test]
    fn failures_are_in_dockers_words_and_keep_secrets() {
        let failed = |spec: &MountSpec| spec.mount(Path::new("/proc/self/none")).unwrap_err();
        let bind = MountSpec::parse("/nonexist", "none", "bind");
        assert_eq!(
            failed(&bind),
            "mount /nonexist:/proc/self/none, flags: 0x1000: no such file or directory"
        );
        let share = MountSpec::parse("//host/share", "cifs", "user=a,password=secret");
        let text = failed(&share);
        assert!(text.contains("data: user=a,password=********: "), "{text}");
    }
}
