//! What comes of layers with hard content: the tree that a container sees, listed, against the listing
//! recorded from dockerd.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use arca_testkit::{Engine, rootfs};

/// The layers above busybox, each as what a shell makes.
const LAYERS: &[&str] = &[
    // Every type of file, in a directory that stays and in one that will be hidden.
    r#"mkdir -p hard/stays hard/goes hard/opaque/below hard/swap/dir
    for d in hard/stays hard/goes; do
      echo content > $d/file; mkdir $d/directory; echo x > $d/directory/inside
      ln -s ../stays/file $d/link; ln -s nowhere $d/dangling; mkfifo -m 640 $d/fifo
      mknod $d/char c 1 3; mknod $d/block b 7 200; chmod 606 $d/char
      echo two > $d/first; ln $d/first $d/second
      cp -p $d/file $d/setuid; chmod 6755 $d/setuid; mkdir -m 1777 $d/sticky; chown 1234:5678 $d/file
    done
    printf 'bytes' > "hard/stays/$(printf 'latin-\351-\377')"; : > 'hard/stays/a
    line'; : > 'hard/stays/ blank '
    truncate -s 1M hard/stays/sparse; echo end >> hard/stays/sparse
    mkdir -p "hard/long/$(printf '%0150d' 1)/$(printf '%0150d' 2)"; echo deep > "hard/long/$(printf '%0150d' 1)/$(printf '%0150d' 2)/file"
    ln -s "$(printf '%0200d' 3)" hard/long/symlink
    echo 1 > hard/opaque/one; echo 2 > hard/opaque/below/two
    echo file > hard/swap/file; echo x > hard/swap/dir/x
    echo same > hard/linked-a; ln hard/linked-a hard/linked-b; echo cap > hard/capable; echo attr > hard/attributes"#,
    // Whiteouts over every type, an opaque directory, files and directories in each other's place.
    r#"mkdir -p hard/goes hard/opaque hard/swap/file
    for n in file directory link dangling fifo char block first setuid sticky never; do : > hard/goes/.wh.$n; done
    : > hard/opaque/.wh..wh..opq; echo 3 > hard/opaque/three
    : > hard/swap/.wh.file; rmdir hard/swap/file; mkdir hard/swap/file; echo now > hard/swap/file/inside
    echo 'a file' > hard/swap/dir
    echo other > hard/linked-a; echo both > hard/new-a; ln hard/new-a hard/new-b"#,
    // And back.
    r#"mkdir -p hard/swap/dir hard/goes
    echo again > hard/swap/file; echo y > hard/swap/dir/y
    echo back > hard/goes/file; mkdir hard/goes/directory; echo z > hard/goes/directory/new
    : > hard/.wh.new-a"#,
    // Every type of file in the place of every other, and what the next layer looks at.
    r#"mkdir -p hard/types/kept hard/twice; cd hard/types
    for old in file directory link fifo char block; do for new in file directory link fifo char block; do
      name=$old-$new
      case $old in file) echo old > $name;; directory) mkdir $name; echo old > $name/old;;
        link) ln -s /hard/types/kept $name;; fifo) mkfifo $name;; char) mknod $name c 1 3;; block) mknod $name b 7 1;; esac
    done; done
    echo old > kept/old; ln -s kept through; echo old > ../twice/whiteout-first"#,
    r#"mkdir -p hard/types hard/twice; cd hard/types
    for old in file directory link fifo char block; do for new in file directory link fifo char block; do
      name=$old-$new
      case $new in file) echo new > $name;; directory) mkdir $name; echo new > $name/new;;
        link) ln -s nowhere $name;; fifo) mkfifo -m 600 $name;; char) mknod $name c 1 5;; block) mknod $name b 7 2;; esac
    done; done
    ln file-file file-hard; ln char-char char-hard; ln fifo-fifo fifo-hard; mkdir through; echo now > through/new
    : > ../twice/.wh.whiteout-first; echo new > ../twice/whiteout-first"#,
];

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes the archive of a layer out of what `script` makes.
fn layer(directory: &Path, number: usize, script: &str) -> PathBuf {
    let tree = directory.join(format!("tree{number}"));
    std::fs::create_dir(&tree).unwrap();
    let script = format!("set -e; umask 022; {script}");
    run(Command::new("bash")
        .arg("-c")
        .arg(script)
        .current_dir(&tree)
        .env("LC_ALL", "C"));
    let attribute = |name: &str, attribute: &str, value: &[u8]| {
        let path = tree.join("hard").join(name);
        if path.exists() {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, attribute, value, flags).unwrap();
        }
    };
    // cap_net_raw, effective and permitted (capabilities(7), version 2).
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    attribute("capable", "security.capability", &capability);
    attribute("attributes", "user.colour", b"blue\0green");
    archive(directory, number)
}

/// Times are of 2001, so that the archive is the same each time.
fn archive(directory: &Path, number: usize) -> PathBuf {
    let archive = directory.join(format!("layer{number}.tar"));
    run(Command::new("tar")
        .env("LC_ALL", "C")
        .arg("-C")
        .arg(directory.join(format!("tree{number}")))
        .args([
            "--format=posix",
            "--sort=name",
            "--mtime=@1000000000.5",
            "--numeric-owner",
        ])
        .args(["--xattrs", "--xattrs-include=*", "--sparse"])
        .args(["--pax-option=delete=atime,delete=ctime", "-cf"])
        .arg(&archive)
        .arg("."));
    archive
}

fn sum(path: &Path) -> String {
    let told = run(Command::new("sha256sum").arg(path));
    format!("sha256:{}", told.split(' ').next().unwrap())
}

/// Loads an image of these layers.
fn load(engine: &Engine, directory: &Path, name: &str, layers: &[PathBuf]) -> (i32, String) {
    let sums: Vec<_> = layers.iter().map(|path| sum(path)).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin:/usr/bin"], "StopSignal": "SIGKILL"},
        "rootfs": {"type": "layers", "diff_ids": sums},
    });
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let names: Vec<_> = layers
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [format!("{name}:latest")], "Layers": names}]);
    std::fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
    let image = directory.join("image.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(directory)
        .arg("-cf")
        .arg(&image)
        .args(["manifest.json", "config.json"])
        .args(&names));
    let loaded = engine.docker(&["load", "-i", image.to_str().unwrap()]);
    (loaded.code, loaded.stdout + &loaded.stderr)
}

/// Lists everything below `path`: type, mode, owner, links, size, time, device, attributes, content.
fn list(root: &Path, path: &Path, listing: &mut String) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let shown = path
        .strip_prefix(root)
        .unwrap()
        .as_os_str()
        .as_bytes()
        .escape_ascii();
    let kind = meta.file_type();
    write!(
        listing,
        "{shown} {:o} {}:{}",
        meta.mode(),
        meta.uid(),
        meta.gid()
    )
    .unwrap();
    if !kind.is_dir() {
        write!(listing, " links={} size={}", meta.nlink(), meta.size()).unwrap();
    }
    write!(listing, " time={}.{:09}", meta.mtime(), meta.mtime_nsec()).unwrap();
    if kind.is_char_device() || kind.is_block_device() {
        write!(listing, " device={:x}", meta.rdev()).unwrap();
    }
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        let value = value[..length].escape_ascii();
        write!(listing, " {}={value}", name.escape_ascii()).unwrap();
    }
    if kind.is_symlink() {
        let target = std::fs::read_link(path).unwrap();
        write!(
            listing,
            " -> {}",
            target.as_os_str().as_bytes().escape_ascii()
        )
        .unwrap();
    }
    if kind.is_file() {
        write!(listing, " {}", &sum(path)[7..19]).unwrap();
    }
    listing.push('\n');
    if kind.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for entry in entries {
            list(root, &entry, listing);
        }
    }
}

#[test]
fn the_tree_is_the_one_that_dockerd_makes() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let mut layers = vec![directory.path().join("base.tar")];
    std::fs::copy(rootfs("busybox"), &layers[0]).unwrap();
    for (number, script) in LAYERS.iter().enumerate() {
        layers.push(layer(directory.path(), number, script));
    }
    let name = engine.name("hard-layers");
    let (code, told) = load(&engine, directory.path(), &name, &layers);
    assert_eq!(code, 0, "{told}");
    engine.docker(&["run", "-d", "--name", &name, &name]).ok();
    let pid = engine.inspect(&name)["State"]["Pid"].as_u64().unwrap();
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mut listing = String::new();
    list(&root, &root.join("hard"), &mut listing);
    // A hole takes no room; dockerd fills it.
    let sparse = std::fs::metadata(root.join("hard/stays/sparse")).unwrap();
    assert!(!engine.is_own() || sparse.blocks() * 512 < sparse.size() / 2);
    engine.docker(&["rm", "-f", &name]).ok();
    engine.docker(&["rmi", &name]).ok();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/layers.txt");
    if std::env::var_os("ARCA_TEST_RECORD").is_some() && !engine.is_own() {
        std::fs::write(&golden, &listing).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap();
    for (ours, theirs) in listing.lines().zip(wanted.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(listing.lines().count(), wanted.lines().count());
}

#[test]
fn images_have_one_layer_or_as_many_as_a_mount_takes() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base.tar");
    std::fs::copy(rootfs("busybox"), &base).unwrap();
    let mut layers = vec![base];
    for number in 1..127 {
        let tree = directory.path().join(format!("tree{number}"));
        std::fs::create_dir_all(tree.join("many")).unwrap();
        std::fs::write(tree.join(format!("many/{number}")), number.to_string()).unwrap();
        layers.push(archive(directory.path(), number));
    }
    for count in [1, 40, 127] {
        let name = engine.name("many-layers");
        let (code, told) = load(&engine, directory.path(), &name, &layers[..count]);
        if count == 127 && !engine.is_own() {
            // dockerd has a limit of its own at 125.
            assert!(told.contains("max depth exceeded"), "{told}");
            continue;
        }
        assert_eq!(code, 0, "{told}");
        let script = "ls /many 2>/dev/null | wc -l";
        let seen = engine
            .docker(&["run", "--rm", &name, "sh", "-c", script])
            .ok();
        assert_eq!(seen, (count - 1).to_string());
        engine.docker(&["rmi", &name]).ok();
    }
}

#[test]
fn many_small_files_are_all_there() {
    let engine = Engine::start();
    let files: usize = match std::env::var("ARCA_TEST_FILES") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 5_000,
    };
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree0");
    for number in 0..files {
        let below = tree.join(format!("small/{}", number % 100));
        if number < 100 {
            std::fs::create_dir_all(&below).unwrap();
        }
        std::fs::write(below.join(number.to_string()), number.to_string()).unwrap();
    }
    let base = directory.path().join("base.tar");
    std::fs::copy(rootfs("busybox"), &base).unwrap();
    let layers = [base, archive(directory.path(), 0)];
    let name = engine.name("small-files");
    let (code, told) = load(&engine, directory.path(), &name, &layers);
    assert_eq!(code, 0, "{told}");
    let script = "find /small -type f | wc -l; cat /small/42/42";
    let seen = engine
        .docker(&["run", "--rm", &name, "sh", "-c", script])
        .ok();
    assert_eq!(seen, format!("{files}\n42"));
    engine.docker(&["rmi", &name]).ok();
}
