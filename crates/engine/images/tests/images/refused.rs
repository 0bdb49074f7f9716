//! What registries say that is not so.

use std::sync::Arc;

use arca_types::{Classify as _, ErrorKind, chain};

use crate::kit::{Engine, INDEX, MANIFEST, Sample, digest};
use crate::shelf::Shelf;
use crate::{assert_nothing_is_left, served};

#[tokio::test]
async fn content_that_is_not_what_it_says_leaves_nothing_behind() {
    let sample = Sample::new(&["one", "two"]);
    for (what, wanted) in [
        (
            "layer",
            format!(
                "filesystem layer verification failed for digest {}",
                digest(&sample.blobs[1])
            ),
        ),
        (
            "config",
            format!(
                "image config verification failed for digest {}",
                digest(&sample.config)
            ),
        ),
        (
            "manifest",
            format!(
                "manifest verification failed for digest {}",
                sample.digest()
            ),
        ),
    ] {
        let shelf = Arc::new(Shelf::default());
        shelf.image("a/b", "v1", &sample);
        let spoil = |bytes: &[u8]| {
            let mut spoilt = bytes.to_vec();
            let last = spoilt.len() - 1;
            spoilt[last] ^= 1;
            spoilt
        };
        match what {
            "layer" => shelf.blob("a/b", &digest(&sample.blobs[1]), &spoil(&sample.blobs[1])),
            "config" => shelf.blob("a/b", &digest(&sample.config), &spoil(&sample.config)),
            _ => {
                let spoilt = spoil(&sample.manifest);
                shelf.manifest("a/b", &sample.digest().to_string(), MANIFEST, &spoilt);
            }
        }
        let server = shelf.serve().await;
        let engine = Engine::new();
        let error = engine
            .pull(&format!("{}/a/b:v1", server.address))
            .await
            .unwrap_err();
        assert_eq!(chain(&error), wanted, "{what}");
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn lies_about_layers_are_refused() {
    let honest = Sample::new(&["one", "two"]);
    let config = String::from_utf8(honest.config.clone()).unwrap();
    let first = digest(&honest.layers[0]).to_string();
    let swapped = config.replacen(&first, &digest(b"x").to_string(), 1);
    let fewer = config
        .replacen(&format!("\"{first}\","), "", 1)
        .replace(r#"{"created_by":"ADD one"},"#, "");
    let none = r#"{"architecture":"amd64","os":"linux"}"#.to_owned();
    for (config, wanted) in [
        (
            swapped,
            format!(
                "invalid diffID for layer 0: expected \"{}\", got \"{first}\"",
                digest(b"x")
            ),
        ),
        (
            fewer,
            "the image has 2 layers and its configuration 1".to_owned(),
        ),
        (none, "invalid image JSON, no RootFS key".to_owned()),
    ] {
        let sample = Sample::of(config.into_bytes(), honest.layers.clone());
        let (engine, _server, name) = served(&[("v1", &sample)]).await;
        let error = engine.pull(&format!("{name}:v1")).await.unwrap_err();
        assert_eq!(chain(&error), wanted);
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_not_found() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let error = engine.pull(&format!("{name}:nosuch")).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!("manifest for {name}:nosuch not found: manifest unknown: manifest unknown")
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn documents_in_disguise_are_refused() {
    let shelf = Arc::new(Shelf::default());
    shelf.manifest(
        "a/b",
        "old",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        br#"{"schemaVersion":1}"#,
    );
    shelf.manifest(
        "a/b",
        "both",
        INDEX,
        br#"{"schemaVersion":2,"manifests":[],"config":{}}"#,
    );
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b", server.address);
    let error = engine.pull(&format!("{name}:old")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("[DEPRECATION NOTICE] Docker Image Format v1"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::InvalidParameter);
    assert!(engine.pull(&format!("{name}:both")).await.is_err());
}
