//! Content that is fetched, over connections and from servers that fail.

use std::sync::atomic::{AtomicU32, Ordering};

use arca_registry::{Auth, Config, Error, Registry};
use arca_types::chain;

use crate::common::{Reply, Server};
use crate::{blob, config, download, remote};

#[tokio::test]
async fn a_broken_download_goes_on_where_it_ended() {
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let whole = content.clone();
    let server = Server::start(move |request| {
        let from = request.header("range").map(|range| {
            range
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .unwrap()
        });
        let (from, status) = from.map_or((0, 200), |from: usize| (from, 206));
        let rest = whole[from..].to_vec();
        let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
        let cut = (rest.len() > 300_000).then_some(300_000);
        Reply {
            cut,
            ..Reply::new(status, rest).with("content-range", range)
        }
    })
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let (bytes, retries) = download(&remote, &blob(&content)).await.unwrap();
    assert!(bytes == content);
    assert_eq!(retries, 2);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_again_from_the_start() {
    let content = vec![7_u8; 500_000];
    let whole = content.clone();
    let asked = AtomicU32::new(0);
    let server = Server::start(move |_| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        Reply {
            cut: first.then_some(123_456),
            ..Reply::new(200, whole.clone())
        }
    })
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let (bytes, retries) = download(&remote, &blob(&content)).await.unwrap();
    assert!(bytes == content);
    assert_eq!(retries, 1);
}

#[tokio::test]
async fn an_overloaded_server_is_asked_five_times() {
    let server = Server::start(|_| Reply::new(503, "")).await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let error = download(&remote, &blob(b"x")).await.unwrap_err();
    assert_eq!(
        chain(&error),
        "received unexpected HTTP status: 503 Service Unavailable"
    );
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn a_missing_blob_is_asked_for_once() {
    let server = Server::start(|_| {
        Reply::new(
            404,
            r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
        )
    })
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    assert!(download(&remote, &blob(b"x")).await.is_err());
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    let server = Server::start(|_| Reply::new(200, vec![0; 100])).await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let mut descriptor = blob(b"x");
    for size in [99, 101] {
        descriptor.size = size;
        let error = download(&remote, &descriptor).await.unwrap_err();
        assert!(
            matches!(error, Error::BlobSize { actual: 100, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn downloads_have_a_limit_over_all() {
    let registry = Registry::new(Config {
        max_downloads: 2,
        ..config()
    });
    let slots = [
        registry.try_download_slot().unwrap(),
        registry.try_download_slot().unwrap(),
    ];
    assert!(registry.clone().try_download_slot().is_none());
    drop(slots);
    registry.download_slot().await.unwrap();
}
