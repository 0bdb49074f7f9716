//! Options of exporters: times and compression of the layers that leave a build.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use arca_testkit::{Engine, Output};
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

fn build(engine: &Engine, context: &Path, options: &[&str]) -> Output {
    let mut arguments = vec!["buildx", "build", "--progress=plain"];
    arguments.extend(options);
    arguments.push(context.to_str().unwrap());
    engine.docker(&arguments)
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
    build(engine, context, &options).expect(0)
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
    let told = build(&engine, dir.path(), &["-o", &output])
        .expect(0)
        .stderr;
    assert!(told.contains("no source-date-epoch was found"), "{told}");
}
