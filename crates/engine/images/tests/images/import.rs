//! File systems become images.

use arca_images::{ImportRequest, InspectOptions};
use arca_types::chain;
use tokio::sync::mpsc;

use crate::common;
use crate::kit::{Engine, digest, stream, tar, text};

#[tokio::test]
async fn a_file_system_is_imported() {
    let engine = Engine::new();
    let changes = ["CMD foo bar".to_owned(), "LABEL a=b".to_owned()];
    let request = ImportRequest::new("-", ("imp", "x"), "hello", &changes, None).unwrap();
    let (sink, mut lines) = mpsc::channel(10);
    let content = tar("etc/hostname", "box");
    let id = engine
        .images
        .import(&request, stream(crate::kit::gzip(&content)), &sink)
        .await
        .unwrap();
    assert_eq!(text(&lines.recv().await.unwrap()), id.to_string());
    let inspected = engine
        .images
        .inspect("imp:x", &InspectOptions::default())
        .await
        .unwrap();
    assert_eq!(inspected.id, id);
    assert_eq!(inspected.layers, [digest(&content).into()]);
    assert_eq!(inspected.config.comment, "hello");
    assert_eq!(
        inspected.config.config.cmd.as_ref().unwrap().join(" "),
        "/bin/sh -c foo bar"
    );
    assert!(inspected.last_tagged.is_some());
    let history = engine.images.history("imp:x", None).await.unwrap();
    assert_eq!(
        (history.len(), history[0].size, history[0].id.clone()),
        (1, 3, Some(id))
    );
    for (repo, changes, wanted) in [
        (
            "IMP",
            vec![],
            "invalid reference format: repository name (library/IMP) must be lowercase",
        ),
        (
            "imp",
            vec!["RUN x".to_owned()],
            "RUN is not a valid change command",
        ),
    ] {
        let error = ImportRequest::new("-", (repo, ""), "", &changes, None).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[tokio::test]
async fn a_file_system_is_imported_from_an_address() {
    let content = tar("etc/hostname", "box");
    let served = content.clone();
    let server = common::Server::start(move |request| match request.path.as_str() {
        "/rootfs.tar" => common::Reply::new(200, served.clone()),
        _ => common::Reply::new(404, "nope"),
    })
    .await;
    let engine = Engine::new();
    let (sink, mut lines) = mpsc::channel(10);
    let address = format!("{}/rootfs.tar", server.address);
    let request = ImportRequest::new(&address, ("imp", ""), "", &[], None).unwrap();
    engine
        .images
        .import_from(&request, &address, &sink)
        .await
        .unwrap();
    assert_eq!(
        text(&lines.recv().await.unwrap()),
        format!("Downloading from {address}")
    );
    let inspected = engine
        .images
        .inspect("imp", &InspectOptions::default())
        .await
        .unwrap();
    assert_eq!(inspected.layers, [digest(&content).into()]);
    assert_eq!(inspected.config.comment, format!("Imported from {address}"));
    let wrong = format!("{}/x", server.address);
    let error = engine
        .images
        .import_from(&request, &wrong, &sink)
        .await
        .unwrap_err();
    assert_eq!(
        chain(&error),
        format!("failed to GET http://{wrong} with status 404 Not Found: nope")
    );
}
