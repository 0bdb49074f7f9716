//! Images go to registries.

use std::sync::Arc;

use arca_images::ImportRequest;
use arca_types::chain;
use tokio::sync::mpsc;

use crate::common;
use crate::kit::{Engine, Sample, digest, stream, tar};
use crate::served;
use crate::shelf::Taker;

#[tokio::test]
async fn what_was_pulled_is_pushed_byte_for_byte() {
    let sample = Sample::new(&["one", "two"]);
    let taker = Arc::new(Taker::default());
    taker.shelf.image("a/b", "v1", &sample);
    let server = taker.serve().await;
    let (engine, host) = (Engine::new(), server.address);
    engine.pull(&format!("{host}/a/b:v1")).await.unwrap();
    let (from, to) = (format!("{host}/a/b:v1"), format!("{host}/c"));
    engine.images.tag(&from, &to, "v2").await.unwrap();
    *taker.refusals.lock().unwrap() = 2;
    let (lines, outcome) = engine.push(&format!("{to}:v2")).await;
    outcome.unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("Retrying in 1 second")),
        "{lines:?}"
    );
    let last = format!("pushed v2: {}", sample.digest());
    assert_eq!(*lines.last().unwrap(), last);
    let taken = taker.taken.lock().unwrap();
    assert_eq!(taken["/v2/c/manifests/v2"], sample.manifest);
    for blob in sample.blobs.iter().chain([&sample.config]) {
        assert_eq!(taken[&format!("/v2/c/blobs/{}", digest(blob))], *blob);
    }
    assert!(server.lines().iter().any(|line| line.contains("from=a/b")));
}

#[tokio::test]
async fn an_index_is_pushed_whole_when_all_of_it_is_here() {
    let amd64 = Sample::with(&["one"], "amd64", "");
    let arm64 = Sample::with(&["one", "two"], "arm64", "");
    let taker = Arc::new(Taker::default());
    let samples = [("amd64", &amd64), ("arm64", &arm64)];
    let index = taker.shelf.index("a/b", "multi", &samples);
    let server = taker.serve().await;
    let (engine, name) = (Engine::new(), format!("{}/a/b:multi", server.address));
    engine.pull_for(&name, Some("linux/amd64")).await.unwrap();
    let (lines, outcome) = engine.push(&name).await;
    outcome.unwrap();
    let instead = format!("{} instead of {}", amd64.digest(), digest(&index));
    assert_eq!(*lines.last().unwrap(), instead);
    let pushed = |tag: &str| taker.taken.lock().unwrap()[tag].clone();
    assert_eq!(pushed("/v2/a/b/manifests/multi"), amd64.manifest);

    engine.pull_for(&name, Some("linux/arm64")).await.unwrap();
    let (lines, outcome) = engine.push(&name).await;
    outcome.unwrap();
    let last = format!("pushed multi: {}", digest(&index));
    assert_eq!(*lines.last().unwrap(), last);
    assert_eq!(pushed("/v2/a/b/manifests/multi"), index);
    let arm64 = (
        format!("/v2/a/b/manifests/{}", arm64.digest()),
        arm64.manifest,
    );
    assert_eq!(pushed(&arm64.0), arm64.1);
}

#[tokio::test]
async fn layers_that_are_not_compressed_are_once() {
    let taker = Arc::new(Taker::default());
    let server = taker.serve().await;
    let (engine, name) = (Engine::new(), format!("{}/made", server.address));
    let request = ImportRequest::new("-", (&name, "x"), "", &[], None).unwrap();
    let (sink, _lines) = mpsc::channel(100);
    let archive = stream(tar("file", &"content ".repeat(10_000)));
    engine
        .images
        .import(&request, archive, &sink)
        .await
        .unwrap();
    let (first, outcome) = engine.push(&format!("{name}:x")).await;
    outcome.unwrap();
    assert!(
        first.iter().any(|line| line.ends_with(": Pushed")),
        "{first:?}"
    );
    let manifest = taker.taken.lock().unwrap()["/v2/made/manifests/x"].clone();
    let manifest = String::from_utf8(manifest).unwrap();
    assert!(manifest.contains("layer.v1.tar+gzip"), "{manifest}");

    // What the push made is kept: the next one knows what the registry has, and a collection leaves it.
    engine.images.reclaim().await.unwrap();
    let engine = engine.restart();
    let (again, outcome) = engine.push(&format!("{name}:x")).await;
    outcome.unwrap();
    assert!(
        again
            .iter()
            .any(|line| line.ends_with("Layer already exists")),
        "{again:?}"
    );
    assert_eq!(again.last(), first.last());
    let patches = server
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("PATCH"));
    assert_eq!(patches.count(), 1);
}

#[tokio::test]
async fn a_registry_that_refuses_is_not_asked_again() {
    let sample = Sample::new(&["one"]);
    let server = common::Server::start(move |request| match request.method.as_str() {
        "HEAD" => common::Reply::new(404, ""),
        "POST" => common::Reply::new(
            403,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
        ),
        _ => common::Reply::new(200, "{}"),
    })
    .await;
    let (engine, source, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    drop(source);
    let to = format!("{}/x", server.address);
    engine
        .images
        .tag(&format!("{name}:v1"), &to, "y")
        .await
        .unwrap();
    let (_, outcome) = engine.push(&format!("{to}:y")).await;
    let error = outcome.unwrap_err();
    assert!(chain(&error).starts_with("denied"), "{}", chain(&error));
    let posts = server
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("POST"));
    assert_eq!(posts.count(), 1);
}
