//! What each option of a mount does, as the kernel's table of the container's mounts says on the host.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "what a test needs fails the test where it stands; a table is one piece"
)]

use std::path::{Path, PathBuf};

use arca_testkit::Engine;
use rustix::fs::XattrFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::{Value, json};

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug)]
struct Mount {
    root: String,
    options: Vec<String>,
    /// `shared`, `master`, both or nothing.
    spreads: Vec<String>,
    kind: String,
    of_file_system: Vec<String>,
}

impl Mount {
    /// What is mounted last at `place` in the mount namespace of a process.
    fn at(pid: &str, place: &str) -> Option<Self> {
        let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let mut found = None;
        for line in table.lines() {
            let (front, back) = line.split_once(" - ").unwrap();
            let front: Vec<&str> = front.split(' ').collect();
            let back: Vec<&str> = back.split(' ').collect();
            let words = |text: &str| text.split(',').map(str::to_owned).collect();
            if front[4] == place {
                let spreads = front[6..].iter();
                found = Some(Self {
                    root: front[3].to_owned(),
                    options: words(front[5]),
                    spreads: spreads
                        .map(|field| field.split(':').next().unwrap().to_owned())
                        .collect(),
                    kind: back[0].to_owned(),
                    of_file_system: words(back.last().unwrap()),
                });
            }
        }
        found
    }

    fn has(&self, option: &str) -> bool {
        let all = self.options.iter().chain(&self.of_file_system);
        all.into_iter().any(|own| own == option)
    }
}

/// A directory of the host that shares its mounts, with a memory file system in it, at `inner`.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        rustix::mount::mount_bind(tree.path(), tree.path()).unwrap();
        rustix::mount::mount_change(tree.path(), MountPropagationFlags::SHARED).unwrap();
        let inner = tree.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        rustix::mount::mount("tmpfs", &inner, "tmpfs", MountFlags::empty(), c"size=1m").unwrap();
        tree
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for place in [self.path().join("inner"), self.path().to_owned()] {
            while rustix::mount::unmount(&place, UnmountFlags::DETACH).is_ok() {}
        }
    }
}

/// A container that waits, and the process ID of its init on the host.
fn started(engine: &Engine, host: &Value) -> (String, String) {
    let name = engine.name("effects");
    let body =
        json!({"Image": "busybox", "Cmd": ["sleep", "600"], "StopTimeout": 0, "HostConfig": host});
    let path = format!("/v1.51/containers/create?name={name}");
    let (status, answer) = engine.http().post(&path, &body);
    assert_eq!(status, 201, "{answer} {host}");
    let (status, answer) = engine
        .http()
        .post(&format!("/v1.51/containers/{name}/start"), &json!(null));
    assert_eq!(status, 204, "{answer} {host}");
    let pid = engine.inspect(&name)["State"]["Pid"].to_string();
    (name, pid)
}

/// The mounts of one container at `/x` and at `/x/inner`.
fn mounted(engine: &Engine, host: &Value) -> (Mount, Option<Mount>) {
    let (name, pid) = started(engine, host);
    let found = Mount::at(&pid, "/x");
    assert!(found.is_some(), "nothing at /x: {host}");
    let found = found.unwrap();
    let inner = Mount::at(&pid, "/x/inner");
    engine.docker(&["rm", "-f", "-v", &name]).expect(0);
    (found, inner)
}

#[test]
fn every_option_of_a_bind_is_in_the_kernels_table() {
    let engine = Engine::start();
    let tree = Tree::new();
    let none: &[&str] = &[];
    let bind = |options: Value, read_only: bool| {
        json!({"Mounts": [{"Type": "bind", "Source": tree.path(), "Target": "/x",
                           "ReadOnly": read_only, "BindOptions": options}]})
    };
    let short = |mode: &str| json!({"Binds": [format!("{}:/x{mode}", tree.text())]});
    // What is asked for, how the mount spreads, and whether it and the one below it are read-only.
    for (host, spreads, read_only, inner) in [
        (bind(json!({}), false), none, false, Some(false)),
        (bind(json!({}), true), none, true, Some(true)),
        (
            bind(json!({"Propagation": "private"}), false),
            none,
            false,
            Some(false),
        ),
        (
            bind(json!({"Propagation": "rprivate"}), false),
            none,
            false,
            Some(false),
        ),
        (
            bind(json!({"Propagation": "slave"}), false),
            &["master"],
            false,
            Some(false),
        ),
        (
            bind(json!({"Propagation": "rslave"}), false),
            &["master"],
            false,
            Some(false),
        ),
        (
            bind(json!({"Propagation": "shared"}), false),
            &["shared"],
            false,
            Some(false),
        ),
        (
            bind(json!({"Propagation": "rshared"}), false),
            &["shared"],
            false,
            Some(false),
        ),
        (
            bind(json!({"NonRecursive": true}), false),
            none,
            false,
            None,
        ),
        (bind(json!({"NonRecursive": true}), true), none, true, None),
        (
            bind(json!({"ReadOnlyNonRecursive": true}), true),
            none,
            true,
            Some(false),
        ),
        (
            bind(
                json!({"ReadOnlyForceRecursive": true, "Propagation": "rprivate"}),
                true,
            ),
            none,
            true,
            Some(true),
        ),
        (short(""), none, false, Some(false)),
        (short(":rw"), none, false, Some(false)),
        (short(":ro"), none, true, Some(true)),
        (short(":ro,rslave"), &["master"], true, Some(true)),
        (short(":shared"), &["shared"], false, Some(false)),
        (short(":z"), none, false, Some(false)),
        (short(":ro,Z"), none, true, Some(true)),
        (short(":cached"), none, false, Some(false)),
        (short(":delegated,ro"), none, true, Some(true)),
        (short(":consistent"), none, false, Some(false)),
    ] {
        let (found, below) = mounted(&engine, &host);
        assert_eq!(found.spreads, spreads, "{host}");
        assert_eq!(found.has("ro"), read_only, "{host} {found:?}");
        let below = below.map(|mount| mount.options.iter().any(|option| option == "ro"));
        assert_eq!(below, inner, "{host}");
    }
}

#[test]
fn every_option_of_memory_is_in_the_kernels_table() {
    let engine = Engine::start();
    let long = |options: Value| json!({"Mounts": [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": options}]});
    let short = |options: &str| json!({"Tmpfs": {"/x": options}});
    for (host, there, missing) in [
        (
            long(json!({})),
            &["nosuid", "nodev", "noexec", "rw"][..],
            &["ro"][..],
        ),
        (long(json!({"SizeBytes": 1 << 20})), &["size=1024k"], &[]),
        (long(json!({"Mode": 0o700})), &["mode=700"], &[]),
        (
            long(json!({"Options": [["exec"]]})),
            &["nosuid", "nodev"],
            &["noexec"],
        ),
        (short(""), &["nosuid", "nodev", "noexec"], &[]),
        (
            short("size=64k,mode=0750,uid=7,gid=8"),
            &["size=64k", "mode=750", "uid=7", "gid=8"],
            &[],
        ),
        (
            short("exec,suid,dev"),
            &["rw"],
            &["noexec", "nosuid", "nodev"],
        ),
        (short("ro"), &["ro"], &["rw"]),
        (short("nr_inodes=7"), &["nr_inodes=7"], &[]),
    ] {
        let (found, _) = mounted(&engine, &host);
        assert_eq!(found.kind, "tmpfs");
        for option in there {
            assert!(found.has(option), "{option}: {host} {found:?}");
        }
        for option in missing {
            let own = found.options.iter().any(|own| own == option);
            assert!(!own, "{option}: {host} {found:?}");
        }
    }
    let read_only = json!({"Mounts": [{"Type": "tmpfs", "Target": "/x", "ReadOnly": true}]});
    let (found, _) = mounted(&engine, &read_only);
    assert!(found.has("ro"), "{found:?}");
}

#[test]
fn volumes_and_images_are_in_the_kernels_table() {
    let engine = Engine::start();
    let volume = engine.name("volume");
    let make = format!("{volume}:/v");
    engine
        .docker(&[
            "run", "--rm", "-v", &make, "busybox", "mkdir", "-p", "/v/a/b",
        ])
        .expect(0);
    let long = |more: Value| {
        let mut mount = json!({"Type": "volume", "Source": volume, "Target": "/x"});
        for (key, value) in more.as_object().unwrap() {
            mount[key] = value.clone();
        }
        json!({"Mounts": [mount]})
    };
    let short = |mode: &str| json!({"Binds": [format!("{volume}:/x{mode}")]});
    for (host, end, read_only) in [
        (long(json!({})), "/_data", false),
        (long(json!({"ReadOnly": true})), "/_data", true),
        (
            long(json!({"VolumeOptions": {"Subpath": "a/b"}})),
            "/_data/a/b",
            false,
        ),
        (
            long(json!({"ReadOnly": true, "VolumeOptions": {"Subpath": "a"}})),
            "/_data/a",
            true,
        ),
        (short(""), "/_data", false),
        (short(":ro"), "/_data", true),
        (short(":rw,z"), "/_data", false),
        (short(":ro,nocopy"), "/_data", true),
    ] {
        let (found, _) = mounted(&engine, &host);
        assert!(
            found.root.ends_with(&format!("/{volume}{end}")),
            "{host} {found:?}"
        );
        assert_eq!(found.has("ro"), read_only, "{host} {found:?}");
    }
    engine.docker(&["volume", "rm", &volume]).expect(0);
    let image = json!({"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/x"}]});
    let (found, _) = mounted(&engine, &image);
    assert_eq!(found.kind, "overlay");
    assert!(
        found.options.iter().any(|option| option == "ro"),
        "{found:?}"
    );
    // The root itself.
    let (name, pid) = started(
        &engine,
        &json!({"ReadonlyRootfs": true, "Tmpfs": {"/x": ""}}),
    );
    assert!(
        Mount::at(&pid, "/")
            .unwrap()
            .options
            .contains(&"ro".to_owned())
    );
    assert!(
        Mount::at(&pid, "/x")
            .unwrap()
            .options
            .contains(&"rw".to_owned())
    );
    engine.docker(&["rm", "-f", &name]).expect(0);
}

#[test]
fn the_command_line_asks_for_the_same() {
    let engine = Engine::start();
    let tree = Tree::new();
    let text = tree.text();
    let volume = engine.name("volume");
    let from = engine.name("from");
    let bound = format!("{text}:/x");
    engine
        .docker(&["create", "--name", &from, "-v", &bound, "busybox"])
        .expect(0);
    let from_read_only = format!("{from}:ro");
    let bind = |more: &str| format!("type=bind,src={text},dst=/x{more}");
    // The options of `docker run`, and what the mount is: how it spreads, and what has to be read-only.
    for (options, spreads, read_only, inner) in [
        (
            vec!["--mount".to_owned(), bind("")],
            &[][..],
            false,
            Some(false),
        ),
        (
            vec!["--mount".to_owned(), bind(",readonly")],
            &[],
            true,
            Some(true),
        ),
        (
            vec!["--mount".to_owned(), bind(",ro,bind-recursive=writable")],
            &[],
            true,
            Some(false),
        ),
        (
            vec![
                "--mount".to_owned(),
                bind(",ro,bind-recursive=readonly,bind-propagation=rprivate"),
            ],
            &[],
            true,
            Some(true),
        ),
        (
            vec!["--mount".to_owned(), bind(",bind-recursive=disabled")],
            &[],
            false,
            None,
        ),
        (
            vec!["--mount".to_owned(), bind(",bind-propagation=rslave")],
            &["master"],
            false,
            Some(false),
        ),
        (
            vec!["-v".to_owned(), format!("{bound}:ro,rshared")],
            &["shared"],
            true,
            Some(true),
        ),
        (
            vec!["--volumes-from".to_owned(), from.clone()],
            &[],
            false,
            Some(false),
        ),
        (
            vec!["--volumes-from".to_owned(), from_read_only],
            &[],
            true,
            Some(true),
        ),
        (
            vec![
                "--mount".to_owned(),
                format!("type=volume,src={volume},dst=/x,ro,volume-label=a=b"),
            ],
            &[],
            true,
            None,
        ),
        (
            vec![
                "--volume-driver".to_owned(),
                "local".to_owned(),
                "-v".to_owned(),
                "/x".to_owned(),
            ],
            &[],
            false,
            None,
        ),
        (
            vec!["--tmpfs".to_owned(), "/x:ro,size=64k".to_owned()],
            &[],
            true,
            None,
        ),
        (
            vec![
                "--mount".to_owned(),
                "type=tmpfs,dst=/x,tmpfs-size=64k,tmpfs-mode=0700".to_owned(),
            ],
            &[],
            false,
            None,
        ),
        (
            vec![
                "--mount".to_owned(),
                "type=image,src=busybox,dst=/x".to_owned(),
            ],
            &[],
            true,
            None,
        ),
    ] {
        let name = engine.name("effects");
        let mut rest: Vec<&str> = options.iter().map(String::as_str).collect();
        rest.extend(["busybox", "sleep", "600"]);
        engine.run_detached(&name, &rest).expect(0);
        let pid = engine.inspect(&name)["State"]["Pid"].to_string();
        let found = Mount::at(&pid, "/x").unwrap();
        // A volume follows the mounts of the host where the data root's spread: those of dockerd's do.
        if !found.root.ends_with("/_data") {
            assert_eq!(found.spreads, spreads, "{options:?}");
        }
        assert_eq!(found.has("ro"), read_only, "{options:?} {found:?}");
        let below = Mount::at(&pid, "/x/inner");
        let below = below.map(|mount| mount.options.iter().any(|option| option == "ro"));
        assert_eq!(below, inner, "{options:?}");
        if options[1].contains("tmpfs-size") {
            assert!(found.has("size=64k") && found.has("mode=700"), "{found:?}");
        }
        engine.docker(&["rm", "-f", "-v", &name]).expect(0);
    }
    let (_, shown) = engine.http().get(&format!("/v1.51/volumes/{volume}"));
    assert_eq!(shown["Labels"], json!({"a": "b"}));
    engine.docker(&["volume", "rm", &volume]).expect(0);
}

#[test]
fn attributes_of_the_images_files_come_into_a_volume() {
    // A capability of version 2: cap_net_bind_service, effective (linux/capability.h).
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let engine = Engine::start();
    let (maker, image) = (engine.name("maker"), engine.name("image"));
    let script = "mkdir /data; echo x > /data/f; touch -d '2001-02-03 04:05:06' /data/f; sleep 600";
    engine
        .run_detached(&maker, &["busybox", "sh", "-c", script])
        .expect(0);
    arca_testkit::eventually("the file is there", || {
        let there = engine.docker(&["exec", &maker, "test", "-s", "/data/f"]);
        (there.code == 0).then_some(())
    });
    let pid = engine.inspect(&maker)["State"]["Pid"].to_string();
    let root = PathBuf::from(format!("/proc/{pid}/root/data"));
    let file = root.join("f");
    rustix::fs::setxattr(&file, "user.arca", b"kept", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(
        &file,
        "security.capability",
        capability,
        XattrFlags::empty(),
    )
    .unwrap();
    engine.docker(&["commit", &maker, &image]).expect(0);
    let volume = engine.name("volume");
    let mount = format!("{volume}:/data");
    engine
        .docker(&["run", "--rm", "-v", &mount, &image, "true"])
        .expect(0);
    let (_, shown) = engine.http().get(&format!("/v1.51/volumes/{volume}"));
    let data = PathBuf::from(shown["Mountpoint"].as_str().unwrap());
    let value = |path: &Path, name: &str| {
        let mut buffer = vec![0; 64];
        let length = rustix::fs::getxattr(path, name, buffer.as_mut_slice()).unwrap_or(0);
        buffer.truncate(length);
        buffer
    };
    assert_eq!(value(&data.join("f"), "security.capability"), capability);
    // Dockerd's images have no attributes of users.
    if engine.is_own() {
        assert_eq!(value(&data.join("f"), "user.arca"), b"kept");
    }
    let time = std::fs::metadata(data.join("f")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&time), 981_173_106);
    engine.docker(&["rm", "-f", &maker]).expect(0);
    engine.docker(&["volume", "rm", &volume]).expect(0);
    engine.docker(&["rmi", &image]).expect(0);
}
