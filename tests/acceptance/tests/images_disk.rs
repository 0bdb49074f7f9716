//! `docker system df` against the disk: the sizes are those of the files, each inode once, without
//! directories, and what is reclaimed is freed.
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "what a test needs fails the test where it stands, and a story is told in one piece"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use arca_testkit::{Engine, MadeImage, MadeLayer, Options, write_archive};
use serde_json::Value;

/// The bytes of all entries below but directories, each inode once, by find(1).
fn measure(directory: &Path) -> u64 {
    let mut find = Command::new("find");
    find.arg(directory)
        .args(["!", "-type", "d", "-printf", "%D %i %s\n"]);
    let output = find.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut inodes = BTreeMap::new();
    for line in text.lines() {
        let (inode, size) = line.rsplit_once(' ').unwrap();
        inodes.insert(inode.to_owned(), size.parse::<u64>().unwrap());
    }
    inodes.values().sum()
}

/// What the disk holds for it, by du(1).
fn allocated(directory: &Path) -> u64 {
    let output = Command::new("du").arg("-sk").arg(directory).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split('\t').next().unwrap().parse().unwrap()
}

/// The unpacked layers of images: their directories.
fn layers(engine: &Engine) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(engine.data_root().join("layers")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.ends_with("init") && !path.ends_with("empty"))
        .collect()
}

/// A layer whose size is easily got wrong: links, holes, whiteouts, and names that come twice.
fn hard_layer(directory: &Path) -> std::path::PathBuf {
    let script = r#"set -e; mkdir tree; cd tree
        printf 1234567 > file; ln file link; ln -s a/long/target symbolic
        truncate -s 1M sparse; echo end >> sparse; mkdir below; mkfifo below/fifo; mknod below/null c 1 3
        printf hidden > .wh.nothing; printf first > twice
        tar --sparse --xattrs -cf ../layer.tar .
        printf 'second, and longer' > twice; rm file; printf other > file
        tar --append -f ../layer.tar ./twice ./file"#;
    let status = Command::new("bash")
        .args(["-c", script])
        .current_dir(directory)
        .status();
    assert!(status.unwrap().success());
    directory.join("layer.tar")
}

fn usage(engine: &Engine) -> Value {
    let (status, usage) = engine.http().get("/v1.51/system/df");
    assert_eq!(status, 200, "{usage}");
    usage
}

fn sum(list: &Value, field: &str) -> u64 {
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| entry[field].as_u64().unwrap()).sum()
}

#[test]
fn what_df_tells_is_on_the_disk_and_what_prune_reclaims_is_freed() {
    let engine = Engine::start_with(Options {
        no_images: true,
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    let root = engine.data_root();
    let at_first = allocated(&root.join("layers")) + allocated(&root.join("blobs"));
    let layer = |seed| MadeLayer {
        seed,
        size: 400_000 + seed,
    };
    let image = |name: &str, layers: &[u64]| MadeImage {
        name: name.to_owned(),
        layers: layers.iter().copied().map(layer).collect(),
    };
    let images = [image("one:v1", &[1, 2]), image("two:v1", &[1, 3, 4])];
    let mut archive = Vec::new();
    write_archive(&images, &mut archive).unwrap();
    engine.docker_with(&["load"], &archive).expect(0);
    let directory = tempfile::tempdir().unwrap();
    let hard = hard_layer(directory.path());
    engine
        .docker(&["import", hard.to_str().unwrap(), "hard:v1"])
        .ok();

    let told = usage(&engine);
    let on_disk: u64 = layers(&engine).iter().map(|path| measure(path)).sum();
    assert_eq!(told["LayersSize"], on_disk, "{told}");
    let by_name = |name: &str| {
        let images = told["Images"].as_array().unwrap();
        let found = images.iter().find(|image| image["RepoTags"][0] == name);
        let image = found.unwrap();
        (
            image["Size"].as_u64().unwrap(),
            image["SharedSize"].as_u64().unwrap(),
        )
    };
    assert_eq!(by_name("one:v1"), (800_003, 400_001));
    assert_eq!(by_name("two:v1"), (1_200_008, 400_001));
    let size = 18 + 5 + 7 + 13 + (1 << 20) + 4;
    assert_eq!(by_name("hard:v1"), (size, 0));
    // What is shared is there once.
    let unique = sum(&told["Images"], "Size") - sum(&told["Images"], "SharedSize");
    assert_eq!(unique + 400_001, on_disk);

    // Where they are, inspect shows.
    let (_, image) = engine.http().get("/v1.51/images/one:v1/json");
    let graph = &image["GraphDriver"];
    assert_eq!(graph["Name"], "overlay2");
    for (directory, seed) in [("LowerDir", 1), ("UpperDir", 2)] {
        let path = Path::new(graph["Data"][directory].as_str().unwrap());
        assert!(path.join(layer(seed).file()).exists(), "{image}");
    }

    // A container and a volume.
    engine.docker(&["volume", "create", "stuff"]).ok();
    let volume = engine.docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", "stuff"]);
    let volume = std::path::PathBuf::from(volume.ok());
    engine
        .docker(&["create", "--name=user", "-v", "stuff:/stuff", "one:v1"])
        .ok();
    for (to, bytes) in [("user:/written", 70_000), ("user:/stuff/kept", 50_000)] {
        let file = directory.path().join("file");
        std::fs::write(&file, vec![7; bytes]).unwrap();
        engine.docker(&["cp", file.to_str().unwrap(), to]).ok();
    }
    let told = usage(&engine);
    let upper = engine.inspect("user")["GraphDriver"]["Data"]["UpperDir"].clone();
    let upper = measure(Path::new(upper.as_str().unwrap()));
    assert!(upper >= 70_000);
    let container = &told["Containers"][0];
    assert_eq!(container["SizeRw"], upper);
    assert_eq!(container["SizeRootFs"], upper + 800_003);
    assert_eq!(told["Volumes"][0]["UsageData"]["Size"], measure(&volume));
    assert_eq!(told["Volumes"][0]["UsageData"]["RefCount"], 1);
    let table = engine
        .docker(&[
            "system",
            "df",
            "--format",
            "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}",
        ])
        .ok();
    // All but one image, of which a part is another's too.
    assert!(table.starts_with("Images 3 1 2.249MB (84%)"), "{table}");

    // All that is told to be reclaimed is gone.
    let filters = "%7B%22dangling%22%3A%5B%22false%22%5D%7D";
    let prune = |path: &str| {
        let (status, pruned) = engine.http().post(path, &Value::Null);
        assert_eq!(status, 200, "{pruned}");
        pruned["SpaceReclaimed"].as_u64().unwrap()
    };
    let freed = prune(&format!("/v1.51/images/prune?filters={filters}"));
    assert_eq!(freed, on_disk - 800_003);
    assert_eq!(prune("/v1.51/containers/prune"), upper);
    assert_eq!(
        prune(&format!("/v1.51/images/prune?filters={filters}")),
        800_003
    );
    let all = "%7B%22all%22%3A%5B%22true%22%5D%7D";
    assert_eq!(
        prune(&format!("/v1.51/volumes/prune?filters={all}")),
        50_000
    );
    assert_eq!(engine.kept_content(), [0, 0]);
    let told = usage(&engine);
    assert_eq!(told["LayersSize"], 0, "{told}");
    let at_last = allocated(&root.join("layers")) + allocated(&root.join("blobs"));
    assert!(
        at_last <= at_first + 64,
        "{at_first} KiB, then {at_last} KiB"
    );
}
