//! What is mounted in a container, in the words of the OCI.

use arca_types::IdMaps;

use super::oci::Mount;
use crate::Error;
use crate::model::{ContainerSpec, IpcMode, MountPoint, MountType};
use crate::mounting::Mounted;

/// Default size of `/dev/shm` in bytes.
pub(crate) const SHM_SIZE: i64 = 64 << 20;

/// Files that the engine makes for a container and mounts over those of the image.
#[derive(Debug, Clone)]
pub(crate) struct NetworkFiles<'a> {
    /// `/etc/resolv.conf`.
    pub(crate) resolv_conf: &'a str,
    /// `/etc/hostname`.
    pub(crate) hostname: &'a str,
    /// `/etc/hosts`.
    pub(crate) hosts: &'a str,
}

/// Everything that decides about the mounts.
#[derive(Debug, Clone)]
pub(crate) struct MountInput<'a> {
    /// Configuration.
    pub(crate) spec: &'a ContainerSpec,
    /// Mounts of the container.
    pub(crate) points: &'a [Mounted],
    /// Files of the network; `None` when the container has no network files of its own.
    pub(crate) files: Option<NetworkFiles<'a>>,
    /// The init program on the host, when one is wanted.
    pub(crate) init: Option<&'a str>,
    /// Where `/dev/shm` comes from when it is another container's or the host's.
    pub(crate) shm: Option<&'a str>,
    /// Whether the cgroup namespace is the container's own.
    pub(crate) private_cgroups: bool,
    /// Whether cgroups are writable though the container is not privileged.
    pub(crate) writable_cgroups: bool,
    /// How owners are mapped, in a container with a user namespace.
    pub(crate) ids: Option<&'a IdMaps>,
}

/// All mounts, in an order in which none hides another by accident.
///
/// # Errors
/// [`Error::Invalid`] for options of a tmpfs that are not understood.
pub(crate) fn of(input: &MountInput<'_>) -> Result<Vec<Mount>, Error> {
    let mut mounts = base(input);
    let mut own = Vec::new();
    for point in input.points {
        own.push(of_point(point));
    }
    for (path, options) in input.spec.host.tmpfs.iter().flatten() {
        own.push(of_tmpfs(path, options)?);
    }
    if let Some(files) = &input.files {
        let readonly = input.spec.host.readonly_rootfs;
        for (path, source) in [
            ("/etc/resolv.conf", files.resolv_conf),
            ("/etc/hostname", files.hostname),
            ("/etc/hosts", files.hosts),
        ] {
            if !own.iter().any(|mount| mount.destination == path) {
                let mut file = file(path, source, readonly);
                if let Some(ids) = input.ids {
                    file.map_owners(ids);
                }
                own.push(file);
            }
        }
    }
    mounts.retain(|mount| {
        !own.iter()
            .any(|other| other.destination == mount.destination)
    });
    own.sort_by_key(|mount| {
        mount
            .destination
            .split('/')
            .filter(|part| !part.is_empty())
            .count()
    });
    mounts.extend(own);
    if let Some(init) = input.init {
        mounts.push(mount("/sbin/docker-init", "bind", init, &["bind", "ro"]));
    }
    Ok(mounts)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
    }
}

fn file(path: &str, source: &str, readonly: bool) -> Mount {
    let mut mount = mount(path, "bind", source, &["rbind", "rprivate"]);
    if readonly {
        mount.options.push("ro".to_owned());
    }
    mount
}

/// The filesystems of the kernel, and `/dev`.
fn base(input: &MountInput<'_>) -> Vec<Mount> {
    let host = &input.spec.host;
    let mut sys = vec!["nosuid", "noexec", "nodev"];
    let mut cgroup = sys.clone();
    if !host.privileged {
        sys.push("ro");
        if !input.writable_cgroups {
            cgroup.insert(0, "ro");
        }
    }
    if input.private_cgroups {
        cgroup.push("rprivate");
    }
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/sys", "sysfs", "sysfs", &sys),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup),
    ];
    let options = ["nosuid", "noexec", "nodev"];
    mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &options));
    match (input.shm, &host.ipc_mode) {
        (Some(source), _) => mounts.push(mount("/dev/shm", "bind", source, &["rbind", "rprivate"])),
        (None, Some(IpcMode::None)) => {}
        (None, _) => {
            let size = if host.shm_size == 0 {
                SHM_SIZE
            } else {
                host.shm_size
            };
            let size = format!("size={size}");
            let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
            mounts.push(mount("/dev/shm", "tmpfs", "shm", &options));
        }
    }
    mounts
}

/// A bind mount, a volume, an image or a tmpfs of the container.
fn of_point(mounted: &Mounted) -> Mount {
    let point = &mounted.point;
    match point.kind {
        MountType::Tmpfs => return of_tmpfs_request(point),
        MountType::Image => return of_image(mounted),
        MountType::Bind | MountType::Volume => {}
    }
    let bind = point.bind();
    let recursive = !bind.is_some_and(|bind| bind.non_recursive);
    let mut options = vec![if recursive { "rbind" } else { "bind" }.to_owned()];
    if !point.rw {
        // Everything below too, which every kernel that arca runs on can do.
        let alone = bind.is_some_and(|bind| bind.read_only_non_recursive);
        options.push(if alone { "ro" } else { "rro" }.to_owned());
    }
    let propagation = match (point.propagation.as_str(), point.kind) {
        // What the host mounts and unmounts in there is seen, as with dockerd.
        ("", MountType::Volume) => "rslave",
        ("", _) => "rprivate",
        (given, _) => given,
    };
    options.push(propagation.to_owned());
    if !point.subpath().is_empty() {
        options.push(format!("arca.subpath={}", point.subpath()));
    }
    let mut mount = Mount {
        options,
        ..mount(&point.destination, "bind", &point.source, &[])
    };
    if let Some((users, groups)) = &mounted.ids {
        // What somebody has mounted in a volume stays as it is.
        let recursive = recursive && point.kind == MountType::Bind;
        mount
            .options
            .push(if recursive { "ridmap" } else { "idmap" }.to_owned());
        mount.uid_mappings.clone_from(users);
        mount.gid_mappings.clone_from(groups);
    }
    mount
}

/// The layers of an image, as an overlay that cannot be written to.
fn of_image(mounted: &Mounted) -> Mount {
    let point = &mounted.point;
    let mut mount = mount(
        &point.destination,
        "overlay",
        "overlay",
        &["ro", "rprivate"],
    );
    let layers = mounted.layers.iter();
    let layers = layers.map(|layer| format!("lowerdir+={}", layer.display()));
    mount.options.extend(layers);
    if let Some((users, groups)) = &mounted.ids {
        mount.uid_mappings.clone_from(users);
        mount.gid_mappings.clone_from(groups);
    }
    if !point.subpath().is_empty() {
        mount
            .options
            .push(format!("arca.subpath={}", point.subpath()));
    }
    mount
}

fn of_tmpfs_request(point: &MountPoint) -> Mount {
    let mut mount = mount(
        &point.destination,
        "tmpfs",
        "tmpfs",
        &["noexec", "nosuid", "nodev"],
    );
    let options = point
        .request
        .as_ref()
        .and_then(|request| request.tmpfs.as_ref());
    if let Some(tmpfs) = options {
        if tmpfs.size != 0 {
            mount.options.push(format!("size={}", tmpfs.size));
        }
        if tmpfs.mode != 0 {
            mount.options.push(format!("mode={:o}", tmpfs.mode));
        }
        for words in &tmpfs.options {
            let word = words.join("=");
            let opposite = format!("no{word}");
            mount.options.retain(|other| *other != opposite);
            mount.options.push(word);
        }
    }
    if !point.rw {
        mount.options.push("ro".to_owned());
    }
    mount
}

/// Flags of a tmpfs.
const FLAGS: [&str; 24] = [
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "defaults",
    "private",
    "rprivate",
];

/// What of a tmpfs has a value.
const VALUES: [&str; 7] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];

/// A tmpfs of `--tmpfs`: flags and a few values, the last word winning.
fn of_tmpfs(path: &str, options: &str) -> Result<Mount, Error> {
    let mut all = vec!["noexec".to_owned(), "nosuid".to_owned(), "nodev".to_owned()];
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = match option.split_once('=') {
            Some((name, _)) => VALUES.contains(&name),
            None => FLAGS.contains(&option),
        };
        if !known {
            return Err(Error::Invalid(format!("invalid tmpfs option \"{option}\"")));
        }
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        let opposite = match name.strip_prefix("no") {
            Some(rest) if FLAGS.contains(&rest) => rest.to_owned(),
            _ if name == "ro" => "rw".to_owned(),
            _ if name == "rw" => "ro".to_owned(),
            _ => format!("no{name}"),
        };
        all.retain(|other| {
            let other = other
                .split_once('=')
                .map_or(other.as_str(), |(name, _)| name);
            other != name && other != opposite
        });
        all.push(option.to_owned());
    }
    Ok(Mount {
        options: all,
        ..mount(path, "tmpfs", "tmpfs", &[])
    })
}

/// Checks the options of a tmpfs.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check_tmpfs(path: &str, options: &str) -> Result<(), Error> {
    of_tmpfs(path, options).map(|_mount| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostSpec;

    fn input(spec: &ContainerSpec) -> MountInput<'_> {
        MountInput {
            spec,
            points: &[],
            files: None,
            init: None,
            shm: None,
            private_cgroups: false,
            writable_cgroups: false,
            ids: None,
        }
    }

    #[test]
    fn the_defaults_are_dockers() {
        let spec = ContainerSpec::default();
        let mounts = of(&input(&spec)).unwrap();
        let names: Vec<&str> = mounts
            .iter()
            .map(|mount| mount.destination.as_str())
            .collect();
        let expected = [
            "/proc",
            "/dev",
            "/dev/pts",
            "/sys",
            "/sys/fs/cgroup",
            "/dev/mqueue",
            "/dev/shm",
        ];
        assert_eq!(names, expected);
        assert_eq!(mounts[6].options[4], "size=67108864");
        assert_eq!(mounts[3].options[3], "ro");
    }

    #[test]
    fn a_mount_of_the_container_replaces_one_of_ours() {
        let spec = ContainerSpec {
            host: HostSpec {
                tmpfs: Some([("/dev/shm".to_owned(), "size=1m,exec".to_owned())].into()),
                ..HostSpec::default()
            },
            ..ContainerSpec::default()
        };
        let mounts = of(&input(&spec)).unwrap();
        let shm: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.destination == "/dev/shm")
            .collect();
        assert_eq!(shm.len(), 1);
        assert_eq!(shm[0].options, ["nosuid", "nodev", "size=1m", "exec"]);
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        let spec = ContainerSpec::default();
        let point = |destination: &str| {
            Mounted::plain(MountPoint {
                kind: MountType::Bind,
                name: String::new(),
                source: "/src".into(),
                destination: destination.into(),
                driver: String::new(),
                mode: String::new(),
                rw: false,
                propagation: "rslave".into(),
                anonymous: false,
                copy_up: false,
                create_source: false,
                request: None,
                layers: None,
            })
        };
        let points = [point("/a/b"), point("/a")];
        let mounts = of(&MountInput {
            points: &points,
            ..input(&spec)
        })
        .unwrap();
        let own = &mounts[mounts.len() - 2..];
        assert_eq!(
            (own[0].destination.as_str(), own[1].destination.as_str()),
            ("/a", "/a/b")
        );
        assert_eq!(own[0].options, ["rbind", "rro", "rslave"]);
        for (kind, propagation) in [(MountType::Bind, "rprivate"), (MountType::Volume, "rslave")] {
            let mut silent = point("/a");
            silent.point = MountPoint {
                kind,
                propagation: String::new(),
                ..silent.point
            };
            assert_eq!(of_point(&silent).options, ["rbind", "rro", propagation]);
        }
    }

    #[test]
    fn an_unknown_option_of_a_tmpfs_is_refused() {
        let error = check_tmpfs("/a", "foo").unwrap_err();
        assert_eq!(error.to_string(), "invalid tmpfs option \"foo\"");
    }
}
