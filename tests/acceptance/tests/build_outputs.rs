//! What goes into builds and what comes out of them: contexts on standard input, archives of images, caches
//! in images and registries, the history, errors with their lines.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use arca_testkit::{Engine, Options, Registry, eventually};

fn context(dockerfile: &str) -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.path().join("file"), "file\n").unwrap();
    context
}

/// The members of an archive.
fn members(archive: &Path) -> Vec<String> {
    let listed = Command::new("tar").arg("tf").arg(archive).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn an_error_shows_the_lines_that_it_is_about() {
    let engine = Engine::start();
    for (dockerfile, lines) in [
        (
            "FROM busybox:latest\nRUN true\nRUN exit 7\n",
            ["Dockerfile:3", "   3 | >>> RUN exit 7"],
        ),
        (
            "FROM busybox:latest\nFOO\nRUN true\n",
            ["Dockerfile:2", "   2 | >>> FOO"],
        ),
        (
            "FROM busybox:latest\nCOPY nothing /\n",
            ["Dockerfile:2", "   2 | >>> COPY nothing /"],
        ),
    ] {
        let built = engine
            .buildx_build(context(dockerfile).path(), &[])
            .expect(1);
        for line in lines {
            assert!(built.stderr.contains(line), "{line}: {}", built.stderr);
        }
    }
}

#[test]
fn an_archive_or_a_dockerfile_comes_on_standard_input() {
    let engine = Engine::start();
    let dir = context("FROM busybox:latest\nCOPY file /file\nCMD [\"cat\", \"/file\"]\n");
    for compression in ["", "z"] {
        let image = engine.name("stdin");
        let mut tar = Command::new("tar");
        let tar = tar.arg(format!("c{compression}")).arg("-C").arg(dir.path());
        let archive = tar.args(["-f", "-", "."]).output().unwrap();
        assert!(archive.status.success());
        let arguments = ["buildx", "build", "-t", &image, "-"];
        engine.docker_with(&arguments, &archive.stdout).expect(0);
        assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "file");
        engine.docker(&["rmi", &image]).ok();
    }
    let image = engine.name("stdin");
    let dockerfile = b"FROM busybox:latest\nCMD [\"echo\", \"piped\"]\n";
    let arguments = ["buildx", "build", "-t", &image, "-"];
    engine.docker_with(&arguments, dockerfile).expect(0);
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "piped");
    let path = dir.path().to_str().unwrap();
    let arguments = ["buildx", "build", "-t", &image, "-f", "-", path];
    let dockerfile = b"FROM busybox:latest\nCOPY file /\nCMD [\"cat\", \"file\"]\n";
    engine.docker_with(&arguments, dockerfile).expect(0);
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "file");
    engine.docker(&["rmi", &image]).ok();
}

#[test]
fn images_are_sent_as_archives_and_several_outputs_are_made_at_once() {
    let engine = Engine::start();
    let (dir, results) = (
        context("FROM busybox:latest\nCOPY file /file\nCMD [\"cat\", \"/file\"]\n"),
        tempfile::tempdir().unwrap(),
    );
    let image = engine.name("archived");
    let place = |name: &str| results.path().join(name);
    let output = |kind: &str, path: &PathBuf| format!("type={kind},dest={}", path.display());
    let (docker, oci, files) = (place("docker.tar"), place("oci.tar"), place("files.tar"));
    let outputs = [
        output("docker", &docker),
        output("oci", &oci),
        output("tar", &files),
    ];
    let mut options = vec!["-t", image.as_str(), "--annotation", "colour=red"];
    for output in &outputs {
        options.extend(["-o", output]);
    }
    let built = engine.buildx_build(dir.path(), &options);
    if !engine.is_own() {
        // dockerd does so with containerd's image store only, and then without annotations in Docker's.
        assert!(built.expect(1).stderr.contains("is not supported"));
        return;
    }
    built.expect(0);
    assert!(members(&files).contains(&"file".to_owned()));
    assert!(members(&docker).contains(&"manifest.json".to_owned()));
    let of_oci = members(&oci);
    assert!(of_oci.contains(&"index.json".to_owned()), "{of_oci:?}");
    assert!(!of_oci.contains(&"manifest.json".to_owned()), "{of_oci:?}");
    for archive in [&docker, &oci] {
        let archive = archive.to_str().unwrap();
        let loaded = engine.docker(&["load", "-i", archive]).ok();
        assert!(loaded.contains(&image), "{loaded}");
        assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "file");
        engine.docker(&["rmi", &image]).ok();
    }
    let manifest = Command::new("sh")
        .arg("-c")
        .arg(r#"tar xOf "$0" --wildcards 'blobs/sha256/*' | grep -a -o '"colour":"red"'"#)
        .arg(&oci)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&manifest.stdout),
        "\"colour\":\"red\"\n"
    );
    let output = dir.path().join("refused.tar").display().to_string();
    let output = format!("type=oci,dest={output},compression=estargz");
    let refused = engine.buildx_build(dir.path(), &["-o", &output]);
    assert!(
        refused
            .expect(1)
            .stderr
            .contains("compression=estargz is not supported")
    );
}

#[test]
fn an_oci_layout_is_an_image_to_build_on() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd does so with containerd's image store only.
        return;
    }
    let dir = context("FROM scratch\nCOPY file /file\n");
    let layout = tempfile::tempdir().unwrap();
    let (archive, layout) = (layout.path().join("a.tar"), layout.path().join("layout"));
    let output = format!("type=oci,dest={}", archive.display());
    engine
        .buildx_build(dir.path(), &["-t", "layout:1", "-o", &output])
        .expect(0);
    std::fs::create_dir(&layout).unwrap();
    let mut tar = Command::new("tar");
    let tar = tar.arg("xf").arg(&archive).arg("-C").arg(&layout);
    assert!(tar.status().unwrap().success());
    engine.docker(&["buildx", "prune", "-af"]).ok();
    let (image, above) = (
        engine.name("on-layout"),
        context(
            "FROM base\nCOPY --from=busybox:latest /bin/busybox /cat\nCMD [\"/cat\", \"/file\"]\n",
        ),
    );
    let base = format!("base=oci-layout://{}:1", layout.display());
    let options = ["-t", image.as_str(), "--build-context", &base];
    engine.buildx_build(above.path(), &options).expect(0);
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "file");
}

const STEPS: &str = "FROM busybox:latest AS made\nRUN echo made > /made && echo more > /more\n\
     FROM busybox:latest\nCOPY --from=made /made /\nCOPY file /\nRUN cat /made /file > /all\nCMD [\"cat\", \"/all\"]\n";

#[test]
fn a_cache_travels_in_images_and_through_registries() {
    let engine = Engine::start();
    if !engine.is_own() {
        // The cache of a shared engine is not pruned.
        return;
    }
    let registry = Registry::start(&engine);
    let dir = context(STEPS);
    let (inline, whole) = (registry.image("app:1"), registry.image("cache:1"));
    let into = format!("type=registry,ref={whole},mode=max");
    let options = [
        "-t",
        inline.as_str(),
        "--push",
        "--cache-to=type=inline",
        "--cache-to",
        &into,
    ];
    engine.buildx_build(dir.path(), &options).expect(0);
    let forget = || {
        engine.docker(&["rmi", "-f", &inline]).expect(0);
        engine.docker(&["buildx", "prune", "-af"]).ok();
    };
    // Of the image: its own steps; of the whole cache: those of the other stage as well.
    for (cache, cached) in [(&inline, 4), (&whole, 5)] {
        forget();
        let fresh = engine.buildx_build(dir.path(), &["-t", &inline]);
        assert_eq!(fresh.expect(0).stderr.matches("CACHED").count(), 0);
        forget();
        let from = format!("type=registry,ref={cache}");
        let again = engine.buildx_build(dir.path(), &["-t", &inline, "--cache-from", &from]);
        let told = again.expect(0).stderr;
        assert!(told.contains("importing cache manifest from"), "{told}");
        assert_eq!(told.matches("CACHED").count(), cached, "{told}");
        assert_eq!(engine.docker(&["run", "--rm", &inline]).ok(), "made\nfile");
    }
    // What cannot be had fails nothing.
    let from = format!("type=registry,ref={}", registry.image("none:1"));
    engine
        .buildx_build(dir.path(), &["--cache-from", &from])
        .expect(0);
}

#[test]
fn a_cache_travels_in_directories() {
    let engine = Engine::start();
    if !engine.is_own() {
        // The cache of a shared engine is not pruned.
        return;
    }
    let (dir, place, image) = (
        context(STEPS),
        tempfile::tempdir().unwrap(),
        engine.name("local"),
    );
    let place = place.path().display();
    let forget = || {
        engine.docker(&["rmi", "-f", &image]).expect(0);
        engine.docker(&["buildx", "prune", "-af"]).ok();
    };
    // Of the image: its own steps; with the other stage: all.
    for (mode, cached) in [("min", 4), ("max", 5)] {
        let into = format!("type=local,dest={place}/{mode},mode={mode}");
        engine
            .buildx_build(dir.path(), &["-t", &image, "--cache-to", &into])
            .expect(0);
        forget();
        let from = format!("type=local,src={place}/{mode}");
        let options = ["-t", image.as_str(), "--cache-from", &from];
        let told = engine.buildx_build(dir.path(), &options).expect(0).stderr;
        assert!(
            told.contains("importing cache manifest from local:"),
            "{told}"
        );
        assert_eq!(told.matches("CACHED").count(), cached, "{mode}: {told}");
        assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "made\nfile");
        forget();
    }
    // Written once more, over what is there; what is not there fails nothing.
    let into = format!("type=local,dest={place}/max,mode=max");
    engine
        .buildx_build(dir.path(), &["--cache-to", &into])
        .expect(0);
    let from = format!("type=local,src={place}/none");
    engine
        .buildx_build(dir.path(), &["--cache-from", &from])
        .expect(0);
}

#[test]
fn files_that_leave_have_the_time_that_was_asked_for() {
    let engine = Engine::start();
    let dir = context("FROM scratch\nCOPY file /d/\n");
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let out = tempfile::tempdir().unwrap();
    let place = out.path().display();
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1234567890"];
    let into = |output: &str| {
        let options = [&epoch[..], &["--output", output]].concat();
        engine.buildx_build(dir.path(), &options)
    };
    into(&format!("type=local,dest={place}/tree")).expect(0);
    into(&format!("type=tar,dest={place}/tar")).expect(0);
    let time = |name: &str| {
        let found = std::fs::symlink_metadata(out.path().join("tree").join(name));
        found.unwrap().mtime()
    };
    assert_eq!([time("d"), time("d/file")], [1_234_567_890; 2]);
    let mut list = Command::new("tar");
    let list = list.args(["--utc", "--full-time", "-tvf"]);
    let listed = list.arg(out.path().join("tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.matches("2009-02-13 23:31:30").count(), 2, "{listed}");
    let refused = into(&format!(
        "type=tar,dest={place}/not,source-date-epoch=tomorrow"
    ));
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("invalid source-date-epoch:"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_base_that_is_not_here_is_fetched() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let [base, none] = ["base:1", "none:1"].map(|name| registry.image(name));
    let local = engine.name("local");
    let labelled = context("FROM busybox:latest\nLABEL of=base\n");
    engine.buildx_build(labelled.path(), &["-t", &base]).ok();
    engine.docker(&["push", &base]).ok();
    engine.docker(&["rmi", &base]).ok();
    let steps = format!("FROM {base} AS one\nFROM {base}\nCOPY --from={base} /bin/sh /copied\n");
    let built = engine.buildx_build(context(&steps).path(), &["-t", &local]);
    let told = built.expect(0).stderr;
    // Once, though three lines name it.
    let loads = format!("[internal] load metadata for {base}");
    assert_eq!(told.matches(&loads).count(), 1, "{told}");
    let label = ["image", "inspect", "-f", "{{.Config.Labels.of}}", &local];
    assert_eq!(engine.docker(&label).ok(), "base");

    let metadata = format!("{none}: failed to resolve source metadata for {none}");
    for (dockerfile, why) in [
        (format!("FROM {none}\n"), format!("{none}: not found")),
        (
            format!("FROM busybox\nCOPY --from={none} / /\n"),
            format!("{none}: not found"),
        ),
    ] {
        let failed = engine.buildx_build(context(&dockerfile).path(), &[]);
        let told = failed.expect(1).stderr;
        let expected = format!("failed to solve: {metadata}: {why}");
        assert!(told.contains(&expected), "{expected}: {told}");
    }
}

#[test]
fn builds_are_remembered_over_restarts() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd 28.5.2 may end with a panic when the history is listed while another build is removed.
        return;
    }
    let dir = context("FROM busybox:latest\nARG N\nRUN echo \"seen $N\"\n");
    let (number, ids) = (engine.name("n"), tempfile::tempdir().unwrap());
    let (metadata, argument) = (ids.path().join("metadata"), format!("N={number}"));
    let options = [
        "--build-arg",
        argument.as_str(),
        "--metadata-file",
        metadata.to_str().unwrap(),
    ];
    engine.buildx_build(dir.path(), &options).expect(0);
    let metadata = std::fs::read_to_string(metadata).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let name = metadata["buildx.build.ref"].as_str().unwrap();
    let id = name.rsplit('/').next().unwrap();
    engine.stop();
    engine.launch();
    let listed = engine
        .docker(&["buildx", "history", "ls", "--no-trunc"])
        .ok();
    let line = listed.lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("Completed"), "{line}");
    let logs = engine.docker(&["buildx", "history", "logs", "--progress=plain", id]);
    let logs = logs.expect(0);
    let seen = format!("seen {number}");
    assert!(logs.stderr.contains(&seen) || logs.stdout.contains(&seen));
    engine.docker(&["buildx", "history", "rm", id]).ok();
    let listed = engine
        .docker(&["buildx", "history", "ls", "--no-trunc"])
        .ok();
    assert!(!listed.contains(id), "{listed}");
}

#[test]
fn the_cache_keeps_to_its_rules() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("daemon.json");
    let rules =
        r#"{"builder":{"gc":{"policy":[{"filter":["type=regular"],"maxUsedSpace":"100kb"}]}}}"#;
    std::fs::write(&file, rules).unwrap();
    let engine = Engine::start_with(Options {
        flags: vec![format!("--config-file={}", file.display())],
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    let shown = engine.docker(&["buildx", "inspect"]).ok();
    assert!(
        shown.contains("Max Used Space: 97.66KiB") || shown.contains("100KiB"),
        "{shown}"
    );
    let of_a_megabyte = "RUN dd if=/dev/urandom of=/big bs=1M count=1\n";
    let dockerfile = format!("FROM busybox:latest\n{of_a_megabyte}RUN echo small > /small\n");
    engine
        .buildx_build(context(&dockerfile).path(), &["-o", "type=cacheonly"])
        .expect(0);
    eventually("the cache is trimmed", || {
        let used = engine.docker(&["buildx", "du", "--verbose"]).ok();
        (!used.contains("of=/big")).then_some(())
    });
}

#[test]
fn what_cannot_be_built_here_is_refused_before_anything_runs() {
    let engine = Engine::start();
    let dir = context("FROM scratch\nCOPY file /\nRUN [\"/file\"]\n");
    if engine.is_own() {
        let foreign = engine
            .buildx_build(dir.path(), &["--platform", "linux/loong64"])
            .expect(1);
        let told = "programs of linux/loong64 cannot be run on this host";
        assert!(foreign.stderr.contains(told), "{}", foreign.stderr);
        assert!(!foreign.stderr.contains("COPY file / DONE"));
    }
    let many = engine.buildx_build(dir.path(), &["--platform", "linux/amd64,linux/arm64"]);
    let many = many.expect(1).stderr;
    assert!(
        many.contains("ulti-platform build is not supported"),
        "{many}"
    );
    // Nothing is made up: there are no attestations without containerd's image store.
    let attested = engine
        .buildx_build(dir.path(), &["--provenance=true"])
        .expect(1)
        .stderr;
    assert!(attested.contains("ttestation"), "{attested}");
}
