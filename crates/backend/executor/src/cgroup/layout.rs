//! Which cgroup hierarchies this host has, and where: from `/proc/self/mountinfo`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::CgroupPaths;
use crate::error::{Context, ExecError};

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its controllers, or its name: `["cpu", "cpuacct"]`, `["name=systemd"]`.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

/// All hierarchies of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// v1; empty on a host with v2 alone.
    pub(crate) v1: Vec<Hierarchy>,
    /// v2.
    pub(crate) unified: Option<PathBuf>,
}

impl Layout {
    /// Reads the layout of the host.
    pub(crate) fn read() -> Result<Self, ExecError> {
        let text =
            fs::read_to_string("/proc/self/mountinfo").context(|| "open /proc/self/mountinfo")?;
        let layout = Self::parse(&text);
        if layout.v1.is_empty() && layout.unified.is_none() {
            return Err(ExecError::other("no cgroup hierarchy is mounted"));
        }
        Ok(layout)
    }

    /// Finds the hierarchies in the text of mountinfo (proc_pid_mountinfo(5)).
    fn parse(text: &str) -> Self {
        let mut layout = Self::default();
        for line in text.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = mount.split(' ').nth(4).map(unescape) else {
                continue;
            };
            let mut filesystem = filesystem.split(' ');
            match filesystem.next() {
                Some("cgroup2") if layout.unified.is_none() => layout.unified = Some(point),
                Some("cgroup") => {
                    let options = filesystem.nth(1).unwrap_or_default();
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|option| is_controller(option))
                        .map(str::to_owned)
                        .collect();
                    let known = layout.v1.iter().any(|one| one.controllers == controllers);
                    if !known && !controllers.is_empty() {
                        layout.v1.push(Hierarchy {
                            controllers,
                            mount: point,
                        });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Returns where `path` is in each hierarchy. `path` cannot leave them.
    pub(crate) fn paths(&self, path: &str) -> Result<CgroupPaths, ExecError> {
        let mut relative = PathBuf::new();
        for component in Path::new(path).components() {
            match component {
                Component::Normal(name) => relative.push(name),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(ExecError::other(format!("invalid cgroup path {path}")));
                }
            }
        }
        if relative.as_os_str().is_empty() {
            return Err(ExecError::other(format!("invalid cgroup path {path}")));
        }
        let v1 = self.v1.iter().flat_map(|hierarchy| {
            let dir = hierarchy.mount.join(&relative);
            hierarchy
                .controllers
                .iter()
                .map(move |name| (name.clone(), dir.clone()))
        });
        let unified = self.unified.as_ref().map(|mount| mount.join(&relative));
        Ok(CgroupPaths {
            v1: v1.collect(),
            unified,
            unit: None,
        })
    }

    /// Returns where the hierarchy of a v1 controller is mounted.
    pub(super) fn mount_of(&self, controller: &str) -> &Path {
        let has = |one: &&Hierarchy| one.controllers.iter().any(|name| name == controller);
        self.v1
            .iter()
            .find(has)
            .map_or(Path::new("/"), |one| &one.mount)
    }

    /// Returns where the unified hierarchy is mounted.
    pub(super) fn unified_mount(&self) -> &Path {
        self.unified.as_deref().unwrap_or(Path::new("/"))
    }
}

fn is_controller(option: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    !OTHERS.contains(&option) && !option.starts_with("release_agent=") && !option.is_empty()
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &str) -> PathBuf {
    let plain = field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n");
    PathBuf::from(plain.replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 29 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 29 0:30 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory,release_agent=/x
32 29 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
33 29 0:31 / /mnt/again rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 29 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
35 29 0:33 / /a\\040b rw - tmpfs tmpfs rw
";

    #[test]
    fn hierarchies_are_found_once_each() {
        let layout = Layout::parse(HYBRID);
        let mounts: Vec<_> = layout
            .v1
            .iter()
            .map(|one| one.mount.display().to_string())
            .collect();
        assert_eq!(
            mounts,
            [
                "/sys/fs/cgroup/cpu,cpuacct",
                "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/systemd"
            ]
        );
        assert_eq!(layout.v1[2].controllers, ["name=systemd"]);
        assert_eq!(
            layout.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
    }

    #[test]
    fn a_path_is_the_same_in_each_hierarchy_and_stays_inside() {
        let layout = Layout::parse(HYBRID);
        let paths = layout.paths("/docker/one").unwrap();
        assert_eq!(
            paths.v1["cpuacct"],
            Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/one")
        );
        assert_eq!(
            paths.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified/docker/one"))
        );
        assert!(!paths.is_v2());
        for wrong in ["", "/", "/a/../b", ".."] {
            layout.paths(wrong).unwrap_err();
        }
    }
}
