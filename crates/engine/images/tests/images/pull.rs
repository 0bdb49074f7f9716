//! Images come from registries.

use std::sync::Arc;

use arca_images::{InspectOptions, RemoveOptions};

use crate::kit::{Engine, Sample, digest, text};
use crate::shelf::Shelf;
use crate::{assert_nothing_is_left, served};

#[tokio::test]
async fn a_pulled_image_is_there_by_all_its_names() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let lines = engine.pull(&format!("{name}:v1")).await.unwrap();
    let lines: Vec<_> = lines.iter().map(text).collect();
    assert_eq!(lines[0], "v1: Pulling from a/b");
    let short = digest(&sample.blobs[0]).short().to_owned();
    for step in [
        "Pulling fs layer",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
    ] {
        assert!(
            lines.contains(&format!("{short}: {step}")),
            "{step}: {lines:?}"
        );
    }
    let end: Vec<_> = lines.iter().rev().take(2).rev().cloned().collect();
    let digest = sample.digest();
    assert_eq!(
        end,
        [
            format!("Digest: {digest}"),
            format!("Status: Downloaded newer image for {name}:v1")
        ]
    );
    let id = sample.id();
    for text in [
        format!("{name}:v1"),
        format!("{name}@{digest}"),
        id.clone(),
        id[7..19].to_owned(),
    ] {
        let image = engine.images.resolve(&text, None).await.unwrap();
        assert_eq!(image.id.to_string(), id, "{text}");
    }
    let inspected = engine
        .images
        .inspect(&format!("{name}:v1"), &InspectOptions::default())
        .await
        .unwrap();
    assert_eq!(inspected.repo_tags, [format!("{name}:v1")]);
    assert_eq!(inspected.repo_digests, [format!("{name}@{digest}")]);
    assert_eq!(inspected.size, 28);
    assert_eq!(inspected.config.config.cmd, Some(vec!["sh".to_owned()]));
    assert_eq!(inspected.last_tagged, None);
}

#[tokio::test]
async fn an_unchanged_pull_is_one_round_trip() {
    let sample = Sample::new(&["one"]);
    let (engine, server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let before = server.lines().len();
    let lines = engine.pull(&format!("{name}:v1")).await.unwrap();
    assert_eq!(server.lines()[before..], ["HEAD /v2/a/b/manifests/v1"]);
    let lines: Vec<_> = lines.iter().map(text).collect();
    assert_eq!(
        lines,
        [
            "v1: Pulling from a/b".to_owned(),
            format!("Digest: {}", sample.digest()),
            format!("Status: Image is up to date for {name}:v1")
        ]
    );
}

#[tokio::test]
async fn layers_that_are_here_are_not_fetched() {
    let (first, second) = (Sample::new(&["one"]), Sample::new(&["one", "two"]));
    let (engine, server, name) = served(&[("v1", &first), ("v2", &second)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let before = server.lines().len();
    let lines = engine.pull(&format!("{name}:v2")).await.unwrap();
    let shared = digest(&first.blobs[0]);
    assert!(
        lines
            .iter()
            .map(text)
            .any(|line| line == format!("{}: Already exists", shared.short()))
    );
    assert!(
        !server.lines()[before..]
            .iter()
            .any(|line| line.contains(shared.as_str()))
    );
    let sizes: Vec<_> = engine
        .list(&[])
        .into_iter()
        .map(|summary| summary.shared_size)
        .collect();
    assert_eq!(sizes, [Some(14), Some(14)]);
}

#[tokio::test]
async fn two_pulls_at_a_time_fetch_each_layer_once() {
    let sample = Sample::new(&["one", "two", "three"]);
    let (engine, server, name) = served(&[("v1", &sample), ("v2", &sample)]).await;
    let (first, second) = (format!("{name}:v1"), format!("{name}:v2"));
    let (one, two) = tokio::join!(engine.pull(&first), engine.pull(&second));
    one.unwrap();
    two.unwrap();
    for blob in &sample.blobs {
        let digest = digest(blob).to_string();
        let fetched = server
            .lines()
            .iter()
            .filter(|line| line.contains(&digest))
            .count();
        assert_eq!(fetched, 1);
    }
    assert_eq!(engine.tags(), [first, second]);
}

#[tokio::test]
async fn all_tags_of_a_repository_are_pulled() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample), ("v2", &sample)]).await;
    let lines = engine.pull(&name).await.unwrap();
    assert_eq!(
        text(lines.last().unwrap()),
        format!("Status: Downloaded newer image for {name}")
    );
    assert_eq!(engine.tags(), [format!("{name}:v1"), format!("{name}:v2")]);
}

#[tokio::test]
async fn the_hosts_platform_is_chosen_and_another_one_kept_beside_it() {
    let (host, other) = (
        Sample::with(&["one"], "amd64", ""),
        Sample::with(&["two"], "s390x", ""),
    );
    let shelf = Arc::new(Shelf::default());
    let index = shelf.index("a/b", "v1", &[("s390x", &other), ("amd64", &host)]);
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    engine.pull(&name).await.unwrap();
    let id = |platform: Option<&str>| {
        let platform = platform.map(|platform| platform.parse().unwrap());
        let images = engine.images.clone();
        let name = name.clone();
        async move {
            images
                .resolve(&name, platform.as_ref())
                .await
                .map(|image| image.id.to_string())
        }
    };
    if std::env::consts::ARCH == "x86_64" {
        assert_eq!(id(None).await.unwrap(), host.id());
    }
    let error = id(Some("linux/s390x")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "image with reference {name} was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)"
        )
    );
    engine.pull_for(&name, Some("linux/s390x")).await.unwrap();
    assert_eq!(id(Some("linux/s390x")).await.unwrap(), other.id());
    assert_eq!(id(None).await.unwrap(), host.id());
    let image = engine.images.resolve(&name, None).await.unwrap();
    assert_eq!(
        image.repo_digests,
        [format!("{}/a/b@{}", server.address, digest(&index))]
    );
    assert_eq!(
        engine.storage.read_blob(&digest(&index)).await.unwrap(),
        index
    );

    let error = engine
        .pull_for(&name, Some("linux/riscv64"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/riscv64 in the manifest list entries"
    );
    engine
        .images
        .remove(&name, &RemoveOptions::default())
        .await
        .unwrap();
    assert_eq!(engine.images.count(), 0);
}

#[tokio::test]
async fn an_image_for_another_platform_is_warned_of() {
    let sample = Sample::with(&["one"], "amd64", "");
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let lines = engine
        .pull_for(&format!("{name}:v1"), Some("linux/s390x"))
        .await
        .unwrap();
    assert_eq!(
        text(lines.last().unwrap()),
        format!(
            "WARNING: image with reference {name}:v1 was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)"
        )
    );
}

#[tokio::test]
async fn a_tag_that_moved_leaves_the_old_image_nameless() {
    let (old, new) = (Sample::new(&["one"]), Sample::new(&["one", "two"]));
    let shelf = Arc::new(Shelf::default());
    shelf.image("a/b", "v1", &old);
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    engine.pull(&name).await.unwrap();
    shelf.image("a/b", "v1", &new);
    let lines = engine.pull(&name).await.unwrap();
    assert_eq!(
        text(lines.last().unwrap()),
        format!("Status: Downloaded newer image for {name}")
    );
    assert_eq!(
        engine
            .images
            .resolve(&name, None)
            .await
            .unwrap()
            .id
            .to_string(),
        new.id()
    );
    let dangling = engine.list(&[("dangling", "true")]);
    assert_eq!(dangling.len(), 1);
    assert_eq!(dangling[0].id.to_string(), old.id());
    assert_eq!(
        (dangling[0].repo_tags.len(), dangling[0].repo_digests.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let before = engine
        .images
        .resolve(&format!("{name}:v1"), None)
        .await
        .unwrap();
    let engine = engine.restart();
    engine.images.reclaim().await.unwrap();
    let after = engine
        .images
        .resolve(&format!("{name}:v1"), None)
        .await
        .unwrap();
    assert_eq!(before, after);
    for layer in &after.layers {
        assert!(engine.storage.layer(layer).is_some());
    }
}

#[tokio::test]
async fn what_a_crash_left_of_a_pull_is_reclaimed() {
    let sample = Sample::new(&["one"]);
    let engine = Engine::new();
    {
        let lease = engine.storage.lease();
        let source = arca_storage::LayerSource::default();
        let mut ingest = engine.storage.ingest_layer(&lease, source);
        ingest.write(sample.blobs[0].clone().into()).await.unwrap();
        ingest.finish().await.unwrap();
        engine
            .storage
            .put_blob(&lease, None, &sample.config)
            .await
            .unwrap();
    }
    let engine = engine.restart();
    engine.images.reclaim().await.unwrap();
    assert_nothing_is_left(&engine, &sample);
}
