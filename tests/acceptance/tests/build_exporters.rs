//! Options of exporters: times and compression of the layers that leave a build.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use arca_testkit::{Engine, Output, Registry};
use serde_json::Value;

const EPOCH: u64 = 1_000_000_000;

fn context(dockerfile: &str) -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let file = std::fs::File::create(context.path().join("old")).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH - 100);
    file.set_modified(old).unwrap();
    context
}

/// A JSON document of an OCI layout in an archive.
fn document(archive: &Path, path: &str) -> Value {
    let mut tar = Command::new("tar");
    let read = tar.arg("xOf").arg(archive).arg(path).output().unwrap();
    serde_json::from_slice(&read.stdout).unwrap()
}

/// The path of the blob that a descriptor is about.
fn blob(descriptor: &Value) -> String {
    format!(
        "blobs/{}",
        descriptor["digest"].as_str().unwrap().replace(':', "/")
    )
}

/// The layers of the image in an archive, as its manifest names them.
fn layers(archive: &Path) -> Vec<Value> {
    let index = document(archive, "index.json");
    let manifest = document(archive, &blob(&index["manifests"][0]));
    manifest["layers"].as_array().unwrap().clone()
}

/// Each run of this makes a file of another time, and changes directories.
const AT_ANY_TIME: &str = "FROM busybox:latest\n\
     RUN echo made > /etc/made && touch -d @$((1500000000 + $(od -An -N2 -tu2 /dev/urandom))) /etc/made\n\
     COPY old /old\nWORKDIR /a/b\n";

/// Builds anew what is made at any time, with an epoch.
fn made_anew(engine: &Engine, context: &Path, output: &str) -> Output {
    let epoch = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let options = ["--no-cache", "--build-arg", &epoch, "-o", output];
    engine.buildx_build(context, &options).expect(0)
}

#[test]
fn the_same_steps_give_the_same_image_when_its_times_are_rewritten() {
    let engine = Engine::start();
    let (dir, image) = (context(AT_ANY_TIME), engine.name("rewritten"));
    let output = format!("type=image,name={image},rewrite-timestamp=true");
    let inspect = |name: &str, format: &str| {
        let arguments = ["image", "inspect", "--format", format, name];
        engine.docker(&arguments).ok()
    };
    let ids = [(); 2].map(|()| {
        made_anew(&engine, dir.path(), &output);
        inspect(&image, "{{.Id}}")
    });
    let of = |name: &str| inspect(name, "{{index .RootFS.Layers 0}}");
    assert_eq!(of(&image), of("busybox:latest"));
    let mut arguments = vec!["run", "--rm", &image, "stat", "-c", "%Y"];
    arguments.extend(["/etc/made", "/etc", "/old", "/a/b"]);
    let times = engine.docker(&arguments).ok();
    engine.docker(&["rmi", &image]).ok();
    if !engine.is_own() {
        // dockerd does so with containerd's image store only, and passes the option over without it.
        assert_ne!(ids[0], ids[1]);
        return;
    }
    assert_eq!(ids[0], ids[1]);
    let old = EPOCH - 100;
    assert_eq!(times, format!("{EPOCH}\n{EPOCH}\n{old}\n{EPOCH}"));
}

#[test]
fn the_same_steps_give_the_same_archive_when_its_times_are_rewritten() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd makes archives with containerd's image store only.
        return;
    }
    let (dir, results) = (context(AT_ANY_TIME), tempfile::tempdir().unwrap());
    for kind in ["oci", "docker"] {
        let archives = ["1", "2"].map(|number| results.path().join(format!("{kind}{number}")));
        for archive in &archives {
            let output = format!(
                "type={kind},dest={},rewrite-timestamp=true",
                archive.display()
            );
            let told = made_anew(&engine, dir.path(), &output).stderr;
            let line = format!("rewriting layers with source-date-epoch {EPOCH}");
            assert!(told.contains(&line), "{told}");
        }
        let [one, other] = archives.each_ref().map(|path| std::fs::read(path).unwrap());
        assert!(one == other, "{kind}");
        let noted = layers(&archives[0]);
        let note = |layer: &Value| {
            let note = &layer["annotations"]["buildkit/rewritten-timestamp"];
            note.as_str().map(str::to_owned)
        };
        let noted: Vec<_> = noted.iter().map(note).collect();
        let rewritten = Some(EPOCH.to_string());
        assert_eq!(noted, [&[None], &vec![rewritten; 3][..]].concat());
    }
    // Without a time there is nothing to be written; people are told.
    let place = results.path().join("x");
    let output = format!("type=oci,dest={},rewrite-timestamp=true", place.display());
    let told = engine
        .buildx_build(dir.path(), &["-o", &output])
        .expect(0)
        .stderr;
    assert!(told.contains("no source-date-epoch was found"), "{told}");
}

/// The first bytes of a layer in an archive.
fn begin(archive: &Path, layer: &Value) -> Vec<u8> {
    let mut tar = Command::new("tar");
    let read = tar.arg("xOf").arg(archive).arg(blob(layer));
    read.output().unwrap().stdout[..4].to_vec()
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const COMPRESSED: &str =
    "FROM busybox:latest\nRUN seq 100000 > /numbers\nCMD [\"wc\", \"-l\", \"/numbers\"]\n";

/// Exporter, options, how media types end and layers begin.
const FORMS: [(&str, &str, &str, &[u8]); 6] = [
    ("oci", "", "+gzip", &GZIP),
    (
        "docker",
        ",compression=gzip,compression-level=1",
        "+gzip",
        &GZIP,
    ),
    (
        "oci",
        ",compression=gzip,compression-level=9",
        "+gzip",
        &GZIP,
    ),
    ("docker", ",compression=zstd", "+zstd", &ZSTD),
    (
        "oci",
        ",compression=zstd,compression-level=1",
        "+zstd",
        &ZSTD,
    ),
    (
        "oci",
        ",compression=uncompressed,force-compression=true",
        ".tar",
        b"numb",
    ),
];

#[test]
fn layers_in_archives_are_compressed_as_they_are_asked_to_be() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd makes archives with containerd's image store only.
        return;
    }
    let (dir, results) = (context(COMPRESSED), tempfile::tempdir().unwrap());
    let mut sizes = std::collections::BTreeMap::new();
    for (kind, options, end, begins) in FORMS {
        let archive = results.path().join(format!("{}.tar", sizes.len()));
        let image = engine.name("compressed");
        let output = format!("type={kind},dest={}{options}", archive.display());
        engine
            .buildx_build(dir.path(), &["-t", &image, "-o", &output])
            .expect(0);
        let all = layers(&archive);
        for layer in &all {
            let media_type = layer["mediaType"].as_str().unwrap();
            assert!(media_type.ends_with(end), "{options}: {media_type}");
        }
        assert!(begin(&archive, &all[1]).starts_with(begins), "{options}");
        sizes.insert(options, all[1]["size"].as_u64().unwrap());
        let load = ["load", "-i", archive.to_str().unwrap()];
        engine.docker(&load).expect(0);
        let counted = engine.docker(&["run", "--rm", &image]).ok();
        assert_eq!(counted, "100000 /numbers", "{options}");
        engine.docker(&["rmi", &image]).ok();
    }
    let size = |options: &str| sizes[options];
    let levels = [
        ",compression=gzip,compression-level=1",
        "",
        ",compression=gzip,compression-level=9",
    ];
    assert!(size(levels[0]) > size(levels[2]), "{sizes:?}");
    assert!(size(levels[0]) > size(levels[1]), "{sizes:?}");
    let fast = ",compression=zstd,compression-level=1";
    assert!(size(fast) > size(",compression=zstd"), "{sizes:?}");
    let place = results.path().join("refused");
    let output = format!(
        "type=oci,dest={},compression=zstd,compression-level=23",
        place.display()
    );
    let refused = engine
        .buildx_build(dir.path(), &["-o", &output])
        .expect(1)
        .stderr;
    assert!(
        refused.contains("outside the range of [0, 22]"),
        "{refused}"
    );
}

#[test]
fn images_are_pushed_as_they_are_asked_to_be_compressed() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd does so with containerd's image store only, and passes the options over without it.
        return;
    }
    let registry = Registry::start(&engine);
    let (dir, results) = (context(COMPRESSED), tempfile::tempdir().unwrap());
    // What was pulled is saved as it came.
    let saved = results.path().join("saved");
    let pushed = |tag: &str, options: &str| {
        let image = registry.image(tag);
        let output = format!("type=image,name={image},push=true{options}");
        engine.buildx_build(dir.path(), &["-o", &output]).expect(0);
        engine.docker(&["rmi", "-f", &image]).ok();
        engine.docker(&["pull", "-q", &image]).ok();
        let counted = engine.docker(&["run", "--rm", &image]).ok();
        assert_eq!(counted, "100000 /numbers", "{options}");
        let save = ["save", "-o", saved.to_str().unwrap(), &image];
        engine.docker(&save).expect(0);
        engine.docker(&["rmi", "-f", &image]).ok();
        let layer = layers(&saved).swap_remove(1);
        let kind = layer["mediaType"].as_str().unwrap();
        let kind = kind.rsplit(['+', '.']).next().unwrap().to_owned();
        (kind, layer["size"].as_u64().unwrap())
    };
    let usual = pushed("app:usual", "");
    let zstd = pushed("app:zstd", ",compression=zstd,compression-level=19");
    let fast = pushed("app:fast", ",compression=gzip,compression-level=1");
    assert_eq!(
        (usual.0.as_str(), zstd.0.as_str(), fast.0.as_str()),
        ("gzip", "zstd", "gzip")
    );
    assert!(
        fast.1 > usual.1 && usual.1 > zstd.1,
        "{fast:?} {usual:?} {zstd:?}"
    );
}
