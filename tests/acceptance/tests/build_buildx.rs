//! `docker build` by buildx: BuildKit's services on `/grpc` and `/session`.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;

use arca_testkit::{Engine, Output};

const DOCKERFILE: &str = r#"FROM busybox:latest AS base
ARG WHO=world
RUN --mount=type=secret,id=token,env=TOKEN --mount=type=cache,target=/cache sh -c 'echo "hello $WHO ${TOKEN:+with a token}" > /msg'
FROM base AS files
COPY --chmod=640 sub /sub
FROM scratch AS out
COPY --from=files /msg /sub/file /
FROM files
ENV A=b
CMD ["cat", "/msg"]
"#;

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A context with the Dockerfile above.
fn context() -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    write(&context.path().join("Dockerfile"), DOCKERFILE);
    write(&context.path().join(".dockerignore"), "token\n");
    write(&context.path().join("sub/file"), "one\n");
    write(&context.path().join("token"), "sesame");
    context
}

fn build(engine: &Engine, context: &Path, options: &[&str]) -> Output {
    let secret = format!("id=token,src={}", context.join("token").display());
    engine.buildx_build(context, &[&["--secret", &secret], options].concat())
}

#[test]
fn stages_secrets_and_cache_mounts_make_an_image() {
    let engine = Engine::start();
    let (context, image) = (context(), engine.name("built"));
    let first = build(
        &engine,
        context.path(),
        &["-t", &image, "--build-arg", "WHO=arca"],
    );
    assert!(!first.expect(0).stderr.contains("sesame"));
    let ran = engine.docker(&["run", "--rm", &image]).ok();
    assert_eq!(ran, "hello arca with a token");
    let listed = ["run", "--rm", &image, "stat", "-c", "%a %u", "/sub/file"];
    assert_eq!(engine.docker(&listed).ok(), "640 0");

    // A new time changes nothing, a new byte does.
    let id = || {
        engine
            .docker(&["image", "inspect", "-f", "{{.Id}}", &image])
            .ok()
    };
    let before = id();
    write(&context.path().join("sub/file"), "one\n");
    let again = build(
        &engine,
        context.path(),
        &["-t", &image, "--build-arg", "WHO=arca"],
    );
    assert!(again.expect(0).stderr.contains("CACHED"));
    assert_eq!(id(), before);
    write(&context.path().join("sub/file"), "two\n");
    build(
        &engine,
        context.path(),
        &["-t", &image, "--build-arg", "WHO=arca"],
    )
    .expect(0);
    assert_ne!(id(), before);
    engine.docker(&["image", "rm", "-f", &image]).ok();
}

#[test]
fn files_are_sent_to_the_client() {
    let engine = Engine::start();
    let (context, results) = (context(), tempfile::tempdir().unwrap());
    let directory = results.path().join("directory");
    let output = format!("type=local,dest={}", directory.display());
    build(&engine, context.path(), &["--target", "out", "-o", &output]).expect(0);
    assert_eq!(
        std::fs::read_to_string(directory.join("file")).unwrap(),
        "one\n"
    );
    let archive = results.path().join("archive.tar");
    let output = format!("type=tar,dest={}", archive.display());
    build(&engine, context.path(), &["--target", "out", "-o", &output]).expect(0);
    assert!(std::fs::metadata(archive).unwrap().len() > 1024);
}

#[test]
fn what_is_wrong_is_said_in_buildkits_words() {
    let engine = Engine::start();
    let context = tempfile::tempdir().unwrap();
    let dockerfile = context.path().join("Dockerfile");
    for (text, expected) in [
        (
            "FROM busybox:latest\nFOO\n",
            "dockerfile parse error on line 2: unknown instruction: FOO",
        ),
        (
            "FROM busybox:latest\nRUN exit 7\n",
            "process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7",
        ),
        (
            "FROM busybox:latest\nCOPY nothing /\n",
            "\"/nothing\": not found",
        ),
    ] {
        write(&dockerfile, text);
        let built = engine.docker(&["buildx", "build", context.path().to_str().unwrap()]);
        assert_eq!(
            built.expect(1).stderr.matches(expected).count().min(1),
            1,
            "{expected}"
        );
    }
    write(&dockerfile, "from busybox:latest\nMAINTAINER me\n");
    let checked = engine.docker(&[
        "buildx",
        "build",
        "--check",
        context.path().to_str().unwrap(),
    ]);
    assert!(
        checked.stdout.contains("MaintainerDeprecated"),
        "{}",
        checked.stdout
    );
}

#[test]
fn the_cache_is_told_and_pruned() {
    let engine = Engine::start();
    if !engine.is_own() {
        // The cache of a shared engine is not pruned.
        return;
    }
    let context = context();
    build(&engine, context.path(), &[]).expect(0);
    assert!(engine.docker(&["buildx", "du"]).ok().contains("Total:"));
    let history = engine.docker(&["buildx", "history", "ls"]).ok();
    assert!(history.contains("Completed"), "{history}");
    let pruned = engine.docker(&["buildx", "prune", "-af"]).ok();
    assert!(pruned.contains("Total:"), "{pruned}");
}

#[test]
fn past_builds_are_found_by_how_they_went_and_when() {
    let engine = Engine::start();
    let context = context();
    build(&engine, context.path(), &[]).expect(0);
    std::fs::write(
        context.path().join("Dockerfile"),
        "FROM busybox\nRUN exit 7\n",
    )
    .unwrap();
    assert_ne!(build(&engine, context.path(), &[]).code, 0);
    let found = |filters: &[&str]| {
        let mut arguments = vec!["buildx", "history", "ls", "--format", "{{.Status}}"];
        for filter in filters {
            arguments.extend(["--filter", filter]);
        }
        let text = engine.docker(&arguments).ok();
        text.lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let [completed, error] = ["Completed", "Error"].map(str::to_owned);
    assert_eq!(found(&["status=completed"]), [completed.clone()].into());
    let failed = found(&["status=error"]);
    assert!(
        failed.contains(&error) && !failed.contains(&completed),
        "{failed:?}"
    );
    assert!(!found(&["status!=completed"]).contains(&completed));
    let recent = found(&["startedAt>1h"]);
    assert!(
        recent.contains(&completed) && recent.contains(&error),
        "{recent:?}"
    );
    assert!(found(&["startedAt<8760h"]).is_empty());
    assert!(found(&["duration>8h"]).is_empty());
    // Several filters all hold.
    assert!(found(&["status=error", "duration>8h"]).is_empty());
    let refused = engine.docker(&["buildx", "history", "ls", "--filter", "colour=blue"]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("unsupported filter"),
        "{}",
        refused.stderr
    );
}
