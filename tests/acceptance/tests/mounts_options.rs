//! Every option of a mount, and its effect in the container and on the host.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use arca_testkit::Engine;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::{Value, json};

/// A directory of the host with a memory file system mounted in it, at `inner`.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("inner")).unwrap();
        std::fs::write(directory.path().join("outside"), "outside").unwrap();
        let tree = Self { directory };
        mount_tmpfs(&tree.path().join("inner"));
        std::fs::write(tree.path().join("inner/file"), "inside").unwrap();
        tree
    }

    /// The same, where mounts spread as `kind` says.
    fn spreading(kind: MountPropagationFlags) -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount_tmpfs(directory.path());
        rustix::mount::mount_change(directory.path(), kind).unwrap();
        std::fs::create_dir(directory.path().join("inner")).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for place in [self.path().join("inner"), self.path().to_owned()] {
            while rustix::mount::unmount(&place, UnmountFlags::DETACH).is_ok() {}
        }
    }
}

fn mount_tmpfs(place: &Path) {
    rustix::mount::mount("tmpfs", place, "tmpfs", MountFlags::empty(), c"size=1m").unwrap();
}

/// Runs a script in a container with this configuration of the host; returns what it says.
fn run(engine: &Engine, host: &Value, script: &str) -> String {
    let (name, status, text) = try_run(engine, host, script);
    assert_eq!(status, 204, "{text}");
    let (_, ended) = engine
        .http()
        .post(&format!("/v1.51/containers/{name}/wait"), &json!(null));
    let output = engine.docker(&["logs", &name]).expect(0);
    assert_eq!(
        ended["StatusCode"], 0,
        "{} {}",
        output.stdout, output.stderr
    );
    output.stdout.trim_end().to_owned()
}

/// Creates and starts; returns the container's name, the status and the text of what failed.
fn try_run(engine: &Engine, host: &Value, script: &str) -> (String, u16, String) {
    let name = engine.name("mounts");
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host});
    let path = format!("/v1.51/containers/create?name={name}");
    let (mut status, mut answer) = engine.http().post(&path, &body);
    if status == 201 {
        let path = format!("/v1.51/containers/{name}/start");
        (status, answer) = engine.http().post(&path, &json!(null));
    }
    let text = answer["message"].as_str().unwrap_or_default().to_owned();
    (name, status, text)
}

fn mounts(mount: Value) -> Value {
    json!({"Mounts": [mount]})
}

fn bind(source: &str, more: Value) -> Value {
    let mut mount = json!({"Type": "bind", "Source": source, "Target": "/x"});
    for (key, value) in more.as_object().unwrap() {
        mount[key] = value.clone();
    }
    mounts(mount)
}

#[test]
fn binds_take_what_is_mounted_below_along_or_leave_it() {
    let engine = Engine::start();
    let tree = Tree::new();
    let look = "cat /x/inner/file 2>/dev/null || echo none";
    let all = bind(tree.text(), json!({}));
    assert_eq!(run(&engine, &all, look), "inside");
    let alone = bind(tree.text(), json!({"BindOptions": {"NonRecursive": true}}));
    assert_eq!(run(&engine, &alone, look), "none");
    let short = json!({"Binds": [format!("{}:/x", tree.text())]});
    assert_eq!(run(&engine, &short, look), "inside");
}

#[test]
fn read_only_goes_for_what_is_mounted_below_unless_it_must_not() {
    let engine = Engine::start();
    let tree = Tree::new();
    let script = "touch /x/new 2>/dev/null && echo outer; touch /x/inner/new 2>/dev/null && echo inner; true";
    let read_only = |options: Value| {
        let more = json!({"ReadOnly": true, "BindOptions": options});
        run(&engine, &bind(tree.text(), more), script)
    };
    assert_eq!(read_only(json!({})), "");
    assert_eq!(read_only(json!({"ReadOnlyForceRecursive": true})), "");
    assert_eq!(read_only(json!({"ReadOnlyNonRecursive": true})), "inner");
    let short = json!({"Binds": [format!("{}:/x:ro", tree.text())]});
    assert_eq!(run(&engine, &short, script), "");
    assert_eq!(
        run(&engine, &bind(tree.text(), json!({})), script),
        "outer\ninner"
    );
    let both = json!({"ReadOnlyForceRecursive": true, "ReadOnlyNonRecursive": true});
    let both = bind(tree.text(), json!({"ReadOnly": true, "BindOptions": both}));
    let (_, status, text) = try_run(&engine, &both, "true");
    // Dockerd notices at the start, with status 500.
    assert!([400, 500].contains(&status), "{status}");
    assert!(
        text.contains("ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
        "{text}"
    );
}

#[test]
fn mounts_spread_as_they_are_told() {
    let engine = Engine::start();
    for (propagation, kind, from_host, to_host) in [
        ("rprivate", MountPropagationFlags::SHARED, false, false),
        ("rslave", MountPropagationFlags::SHARED, true, false),
        ("rshared", MountPropagationFlags::SHARED, true, true),
    ] {
        let tree = Tree::spreading(kind);
        std::fs::create_dir(tree.path().join("theirs")).unwrap();
        let host = json!({
            "Privileged": true,
            "Mounts": [{"Type": "bind", "Source": tree.text(), "Target": "/x",
                        "BindOptions": {"Propagation": propagation}}]
        });
        let script = "mount -t tmpfs t /x/theirs && touch /x/theirs/there; echo ready; \
                      while ! [ -e /x/go ]; do sleep 0.05; done; ls /x/inner; umount /x/theirs";
        let (name, status, text) = try_run(&engine, &host, script);
        assert_eq!(status, 204, "{propagation}: {text}");
        arca_testkit::eventually("the container is ready", || {
            let said = engine.docker(&["logs", &name]).stdout;
            said.contains("ready").then_some(())
        });
        let arrived = tree.path().join("theirs/there").exists();
        assert_eq!(arrived, to_host, "{propagation}");
        mount_tmpfs(&tree.path().join("inner"));
        std::fs::write(tree.path().join("inner/late"), "").unwrap();
        std::fs::write(tree.path().join("go"), "").unwrap();
        engine.docker(&["wait", &name]).ok();
        let seen = engine.docker(&["logs", &name]).stdout.contains("late");
        assert_eq!(seen, from_host, "{propagation}");
        let shown = &engine.inspect(&name)["Mounts"][0]["Propagation"];
        assert_eq!(shown, propagation);
    }
}

#[test]
fn a_mount_cannot_spread_what_its_source_does_not() {
    let engine = Engine::start();
    let tree = Tree::spreading(MountPropagationFlags::PRIVATE);
    for (propagation, kind) in [("rshared", "shared"), ("slave", "shared or slave")] {
        let host = bind(
            tree.text(),
            json!({"BindOptions": {"Propagation": propagation}}),
        );
        let (_, status, text) = try_run(&engine, &host, "true");
        let place = tree.text();
        let expected = format!("path {place} is mounted on {place} but it is not a {kind} mount");
        assert_eq!((status, text), (500, expected));
    }
}

#[test]
fn files_sockets_and_devices_are_bound() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "content").unwrap();
    let socket = dir.path().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let host = json!({"Binds": [
        format!("{}:/etc/file", at("file")),
        format!("{}:/run/deep/socket", at("socket")),
        "/dev/null:/x/device",
        format!("{}:/etc/passwd:ro", at("file")),
    ]});
    let script = "cat /etc/file; echo more >> /etc/file; test -S /run/deep/socket && echo socket; \
                  test -c /x/device && echo device; cat /etc/passwd | head -c 7; \
                  echo x 2>/dev/null >> /etc/passwd || echo read-only";
    let said = run(&engine, &host, script);
    assert_eq!(said, "contentsocket\ndevice\ncontentread-only");
    assert_eq!(
        std::fs::read_to_string(at("file")).unwrap(),
        "contentmore\n"
    );
    let wrong = json!({"Binds": [format!("{}:/etc/passwd", dir.path().display())]});
    let (_, status, text) = try_run(&engine, &wrong, "true");
    assert!([400, 500].contains(&status), "{status}");
    assert!(
        text.contains("Are you trying to mount a directory onto a file"),
        "{text}"
    );
}

#[test]
fn missing_sources_are_made_where_that_is_wanted() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let short = json!({"Binds": [format!("{}:/x", at("a/b"))]});
    run(&engine, &short, "touch /x/made");
    assert!(dir.path().join("a/b/made").exists());
    let long = bind(&at("c"), json!({"BindOptions": {"CreateMountpoint": true}}));
    run(&engine, &long, "touch /x/made");
    assert!(dir.path().join("c/made").exists());
    let (_, status, text) = try_run(&engine, &bind(&at("d"), json!({})), "true");
    let expected = format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        at("d")
    );
    assert_eq!((status, text), (400, expected));
    assert!(!dir.path().join("d").exists());
}

#[test]
fn memory_has_size_mode_and_options() {
    let engine = Engine::start();
    let tmpfs =
        |options: Value| mounts(json!({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": options}));
    let look = "stat -c %a /x; grep ' /x ' /proc/mounts";
    let said = run(
        &engine,
        &tmpfs(json!({"SizeBytes": 1_048_576, "Mode": 0o700})),
        look,
    );
    assert!(said.starts_with("700\n"), "{said}");
    for option in ["noexec", "nosuid", "nodev", "size=1024k"] {
        assert!(said.contains(option), "{option}: {said}");
    }
    let said = run(&engine, &tmpfs(json!({})), look);
    assert!(said.starts_with("1777\n"), "{said}");
    let said = run(&engine, &tmpfs(json!({"Options": [["exec"]]})), look);
    assert!(!said.contains("noexec"), "{said}");
    let full = run(
        &engine,
        &tmpfs(json!({"SizeBytes": 65536})),
        "dd if=/dev/zero of=/x/f bs=1k count=128 2>/dev/null || stat -c %s /x/f",
    );
    assert_eq!(full, "65536");
    let short = json!({"Tmpfs": {"/x": "size=64k,mode=0750,uid=7,gid=8,exec", "/y": "ro"}});
    let script = "stat -c '%a %u:%g' /x; grep -c noexec /proc/mounts > /dev/null; \
                  grep ' /x ' /proc/mounts | grep -c noexec; touch /y/f 2>/dev/null || echo ro";
    assert_eq!(run(&engine, &short, script), "750 7:8\n0\nro");
}

#[test]
fn parts_of_volumes_are_mounted_and_cannot_lead_out() {
    let engine = Engine::start();
    let volume = engine.name("volume");
    let whole = json!({"Binds": [format!("{volume}:/v")]});
    let make = "mkdir -p /v/a/b; echo deep > /v/a/b/f; ln -s / /v/abs; ln -s ../../../.. /v/up; \
                ln -s a/b /v/link";
    run(&engine, &whole, make);
    let part = |subpath: &str| {
        mounts(json!({"Type": "volume", "Source": volume, "Target": "/x",
                      "VolumeOptions": {"Subpath": subpath}}))
    };
    assert_eq!(
        run(&engine, &part("a/b"), "cat /x/f; echo new > /x/new"),
        "deep"
    );
    assert_eq!(run(&engine, &part("a/b/f"), "cat /x"), "deep");
    assert_eq!(run(&engine, &part("link"), "cat /x/new"), "new");
    assert_eq!(run(&engine, &part("a/.."), "ls /x | wc -l"), "4");
    let (_, status, text) = try_run(&engine, &part("none"), "true");
    assert_eq!(status, 404);
    assert!(text.starts_with("cannot access path "), "{text}");
    assert!(
        text.ends_with("no such file or directory") || text.contains("No such file"),
        "{text}"
    );
    for out in ["abs", "abs/etc", "up", "up/etc"] {
        let (_, status, text) = try_run(&engine, &part(out), "ls /x");
        assert_ne!(status, 204, "{out}: {text}");
    }
    for text in ["/a", "..", "a/../../b"] {
        let (_, status, text) = try_run(&engine, &part(text), "true");
        let expected = "invalid mount config for type \"volume\": subpath must be a relative path \
                        within the volume";
        assert_eq!((status, text.as_str()), (400, expected));
    }
    engine.docker(&["volume", "rm", "-f", &volume]);
}

#[test]
fn volumes_are_filled_with_what_the_image_has() {
    let engine = Engine::start();
    let image = engine.name("image");
    let maker = engine.name("maker");
    let script = "mkdir -p /data/sub; echo x > /data/sub/f; chown 7:8 /data/sub/f; chmod 4751 /data/sub/f; \
                  chown 9:10 /data; chmod 1770 /data; ln -s f /data/sub/l; ln /data/sub/f /data/hard";
    engine
        .docker(&["run", "--name", &maker, "busybox", "sh", "-c", script])
        .expect(0);
    engine.docker(&["commit", &maker, &image]).expect(0);
    let look = "stat -c '%u:%g %a' /data /data/sub/f; readlink /data/sub/l; stat -c %h /data/hard; ls /data | wc -l";
    let expected = "9:10 1770\n7:8 4751\nf\n2\n2";
    let volume = |name: &str| engine.name(name);
    let (plain, kept) = (volume("plain"), volume("kept"));
    let run = |options: &[&str], script: &str| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend([image.as_str(), "sh", "-c", script]);
        engine.docker(&arguments).ok()
    };
    let mount = format!("{plain}:/data");
    assert_eq!(run(&["-v", &mount], look), expected);
    // What the container changed stays, and is not filled again.
    run(
        &["-v", &mount],
        "rm -r /data/sub /data/hard; echo y > /data/mine",
    );
    assert_eq!(run(&["-v", &mount], "ls /data"), "mine");
    assert_eq!(run(&["-v", "/data"], look), expected);
    let nocopy = format!("{kept}:/data:nocopy");
    assert_eq!(run(&["-v", &nocopy], "ls /data | wc -l"), "0");
    let long = format!("type=volume,src={kept},dst=/data,volume-nocopy");
    assert_eq!(run(&["--mount", &long], "ls /data | wc -l"), "0");
    engine.docker(&["volume", "rm", "-f", &plain, &kept]);
    engine.docker(&["rm", "-f", &maker]);
    engine.docker(&["rmi", "-f", &image]);
}

#[test]
fn volumes_of_mounts_are_made_as_they_say() {
    let engine = Engine::start();
    let volume = engine.name("volume");
    let host = mounts(
        json!({"Type": "volume", "Source": volume, "Target": "/x", "VolumeOptions": {
        "Labels": {"a": "b"},
        "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"}}}}),
    );
    let said = run(&engine, &host, "grep ' /x ' /proc/mounts");
    assert!(
        said.starts_with("tmpfs /x tmpfs") && said.contains("size=64k"),
        "{said}"
    );
    let (_, shown) = engine.http().get(&format!("/v1.51/volumes/{volume}"));
    assert_eq!(shown["Labels"], json!({"a": "b"}));
    assert_eq!(shown["Options"]["o"], "size=64k");
    let none = mounts(json!({"Type": "volume", "Target": "/x", "ReadOnly": true}));
    let (_, status, text) = try_run(&engine, &none, "true");
    let expected = "invalid mount config for type \"volume\": must not set ReadOnly mode when using \
                    anonymous volumes";
    assert_eq!((status, text.as_str()), (400, expected));
    let (name, ..) = try_run(
        &engine,
        &mounts(json!({"Type": "volume", "Target": "/x"})),
        "true",
    );
    engine.docker(&["wait", &name]).ok();
    let anonymous = engine.inspect(&name)["Mounts"][0]["Name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(anonymous.len(), 64);
    engine.docker(&["rm", "-v", &name]).expect(0);
    let (status, _) = engine.http().get(&format!("/v1.51/volumes/{anonymous}"));
    assert_eq!(status, 404);
    engine.docker(&["volume", "rm", "-f", &volume]);
}

#[test]
fn images_are_mounted_to_be_read() {
    let engine = Engine::start();
    let image = |options: Value| {
        let mut mount = json!({"Type": "image", "Source": "busybox", "Target": "/x"});
        if options != json!({}) {
            mount["ImageOptions"] = options;
        }
        mounts(mount)
    };
    let script = "cat /x/etc/group | head -1; touch /x/new 2>/dev/null || echo read-only";
    assert_eq!(
        run(&engine, &image(json!({})), script),
        "root:x:0:\nread-only"
    );
    let part = image(json!({"Subpath": "etc"}));
    assert_eq!(run(&engine, &part, "head -1 /x/group"), "root:x:0:");
    let file = image(json!({"Subpath": "etc/group"}));
    assert_eq!(run(&engine, &file, "head -1 /x"), "root:x:0:");
    let (_, status, _) = try_run(&engine, &image(json!({"Subpath": "none"})), "true");
    assert_ne!(status, 204);
    let other = mounts(json!({"Type": "image", "Source": "nosuch", "Target": "/x"}));
    let (_, status, text) = try_run(&engine, &other, "true");
    assert_eq!(
        (status, text.as_str()),
        (404, "No such image: nosuch:latest")
    );
    let (name, ..) = try_run(&engine, &image(json!({})), "true");
    engine.docker(&["wait", &name]).ok();
    let shown = &engine.inspect(&name)["Mounts"][0];
    assert_eq!(
        (&shown["Type"], &shown["RW"]),
        (&json!("image"), &json!(false))
    );
    let out = engine
        .docker(&["cp", &format!("{name}:/x/etc/group"), "-"])
        .expect(0);
    assert!(String::from_utf8_lossy(&out.raw).contains("root:x:0:"));
}

#[test]
fn inner_mounts_come_after_outer_ones_whatever_their_order() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    for name in ["outer", "middle", "inner"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join(name), "").unwrap();
    }
    let at = |name: &str, target: &str| format!("{}:{target}", dir.path().join(name).display());
    let host = json!({
        "Binds": [at("inner", "/x/a/b"), at("outer", "/x")],
        "Mounts": [{"Type": "bind", "Source": dir.path().join("middle"), "Target": "/x/a"}],
        "Tmpfs": {"/x/a/b/t": ""},
    });
    let said = run(
        &engine,
        &host,
        "ls /x /x/a /x/a/b | grep -v : | sort | xargs",
    );
    assert_eq!(said, "a b inner middle outer t");
    assert!(dir.path().join("outer/a").is_dir());
    for (host, place) in [
        (json!({"Binds": ["/tmp:/x", "/var:/x/"]}), "/x"),
        (
            json!({"Binds": ["/tmp:/x"], "Mounts": [{"Type": "tmpfs", "Target": "/x"}]}),
            "/x",
        ),
        (json!({"Binds": ["/tmp:/x"], "Tmpfs": {"/x": ""}}), "/x"),
        (
            json!({"Mounts": [{"Type": "tmpfs", "Target": "/x"}, {"Type": "tmpfs", "Target": "/x/"}]}),
            "/x/",
        ),
    ] {
        let (_, status, text) = try_run(&engine, &host, "true");
        assert_eq!(
            (status, text),
            (400, format!("Duplicate mount point: {place}"))
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_makes_no_sense_is_refused_in_dockers_words() {
    let engine = Engine::start();
    let of =
        |kind: &str, reason: &str| format!("invalid mount config for type \"{kind}\": {reason}");
    let mut cases = Vec::new();
    for (kind, option) in [
        ("bind", "VolumeOptions"),
        ("bind", "TmpfsOptions"),
        ("volume", "BindOptions"),
        ("tmpfs", "VolumeOptions"),
        ("image", "BindOptions"),
    ] {
        let mut mount = json!({"Type": kind, "Source": "/tmp", "Target": "/x"});
        if kind == "tmpfs" {
            mount["Source"] = json!("");
        }
        mount[option] = json!({});
        cases.push((
            mount,
            format!("{option} must not be specified on mount type \"{kind}\""),
        ));
    }
    for (mount, kind, reason) in [
        (
            json!({"Type": "foo", "Target": "/x"}),
            "foo",
            "mount type unknown",
        ),
        (json!({"Target": "/x"}), "", "mount type unknown"),
        (
            json!({"Type": "bind", "Target": "/x"}),
            "bind",
            "field Source must not be empty",
        ),
        (
            json!({"Type": "bind", "Source": "/tmp"}),
            "bind",
            "field Target must not be empty",
        ),
        (
            json!({"Type": "bind", "Source": "/tmp", "Target": "x"}),
            "bind",
            "invalid mount path: 'x' mount path must be absolute",
        ),
        (
            json!({"Type": "bind", "Source": "tmp", "Target": "/x"}),
            "bind",
            "invalid mount path: 'tmp' mount path must be absolute",
        ),
        (
            json!({"Type": "bind", "Source": "/tmp", "Target": "/"}),
            "bind",
            "invalid specification: destination can't be '/'",
        ),
        (
            json!({"Type": "bind", "Source": "/tmp", "Target": "/x", "BindOptions": {"Propagation": "foo"}}),
            "bind",
            "invalid propagation mode: foo",
        ),
        (
            json!({"Type": "tmpfs", "Source": "a", "Target": "/x"}),
            "tmpfs",
            "field Source must not be specified",
        ),
        (
            json!({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["uid", "1"]]}}),
            "tmpfs",
            "invalid option: uid",
        ),
        (
            json!({"Type": "volume", "Target": "/x", "VolumeOptions": {"Subpath": "a"}}),
            "volume",
            "must not set Subpath when using anonymous volumes",
        ),
        (
            json!({"Type": "image", "Target": "/x"}),
            "image",
            "field Source must not be empty",
        ),
        (
            json!({"Type": "bind", "Source": "/tmp", "Target": "/x", "ImageOptions": {}}),
            "bind",
            "field ImageOptions must not be specified",
        ),
    ] {
        cases.push((mount, of(kind, reason)));
    }
    for (mount, expected) in cases {
        let (_, status, text) = try_run(&engine, &mounts(mount), "true");
        assert_eq!((status, text), (400, expected));
    }
}

#[test]
fn texts_that_are_no_mounts_are_refused_in_dockers_words() {
    let engine = Engine::start();
    for (bind, expected) in [
        ("/tmp:/x:ro,rw", "invalid mode: ro,rw"),
        ("/tmp:/x:rro", "invalid mode: rro"),
        (":/x", "invalid volume specification: ':/x'"),
        ("a:/b:c:d", "invalid volume specification: 'a:/b:c:d'"),
        (
            "/tmp:/x:nocopy",
            "invalid volume specification: '/tmp:/x:nocopy': invalid mount config for type \"bind\": \
             field VolumeOptions must not be specified",
        ),
        (
            "name:/x:rshared",
            "invalid volume specification: 'name:/x:rshared': invalid mount config for type \
             \"volume\": field BindOptions must not be specified",
        ),
    ] {
        let (_, status, text) = try_run(&engine, &json!({"Binds": [bind]}), "true");
        // Dockerd calls these 500.
        assert!([400, 500].contains(&status), "{status}");
        assert_eq!(text, expected);
    }
    for (path, expected) in [
        ("x", "invalid mount path: 'x' mount path must be absolute"),
        ("/", "invalid specification: destination can't be '/'"),
    ] {
        let (_, status, text) = try_run(&engine, &json!({"Tmpfs": {path: ""}}), "true");
        assert_eq!((status, text.as_str()), (400, expected));
    }
}

#[test]
fn volumes_of_other_containers_come_along() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "bound").unwrap();
    let from = engine.name("from");
    let bind = format!("{}:/bound:ro", dir.path().display());
    let create = [
        "create", "--name", &from, "-v", "/volume", "-v", &bind, "busybox", "true",
    ];
    engine.docker(&create).expect(0);
    let script =
        "cat /bound/file; touch /bound/new 2>/dev/null || echo ro; touch /volume/new && echo rw";
    let host = |from: String| json!({"VolumesFrom": [from]});
    assert_eq!(run(&engine, &host(from.clone()), script), "boundro\nrw");
    let script = "touch /volume/other 2>/dev/null || echo ro; ls /volume";
    assert_eq!(run(&engine, &host(format!("{from}:ro")), script), "ro\nnew");
    for (from, expected) in [
        ("nosuch".to_owned(), "No such container: nosuch"),
        (
            String::new(),
            "volumes-from specification cannot be an empty string",
        ),
        (format!("{from}:b"), "invalid mode: b"),
        (format!("{from}:rslave"), "invalid mode: rslave"),
    ] {
        let (_, status, text) = try_run(&engine, &host(from), "true");
        // Dockerd gives some of them 500.
        assert!([400, 500].contains(&status), "{status}");
        assert_eq!(text, expected);
    }
}

/// Owners are shown as a user of the container and back: the option of API 1.56.
#[test]
fn owners_change_places_where_that_is_wanted() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source: PathBuf = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "").unwrap();
    for path in [source.clone(), source.join("file")] {
        std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let host = |mapping: Value| {
        bind(
            source.to_str().unwrap(),
            json!({"BindOptions": {"IDMapping": mapping}}),
        )
    };
    let script = "stat -c %u:%g /x /x/file; touch /x/made";
    let said = run(&engine, &host(json!({"Source": "match-user"})), script);
    assert_eq!(said, "0:0\n0:0");
    let made = std::fs::metadata(source.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1234, 2345));
    let other = host(json!({"Source": "match-user", "User": "7:8"}));
    assert_eq!(run(&engine, &other, "stat -c %u:%g /x"), "7:8");
    for source in ["", "userns", "foo"] {
        let (_, status, text) = try_run(&engine, &host(json!({"Source": source})), "true");
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("BindOptions.IDMapping.Source"), "{text}");
    }
}
