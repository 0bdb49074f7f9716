//! Content that is pushed.

use arca_registry::Auth;

use crate::common::{Reply, Server};
use crate::{blob, remote};

#[tokio::test]
async fn content_is_pushed_to_where_the_registry_wants_it() {
    let server = Server::start(
        |request| match (request.method.as_str(), request.path.as_str()) {
            ("HEAD", _) => Reply::new(404, ""),
            ("POST", _) => Reply::new(202, "").with("location", "/v2/a/b/blobs/uploads/id?state=s"),
            _ => Reply::new(201, ""),
        },
    )
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let content = b"content".to_vec();
    let descriptor = blob(&content);
    assert!(!remote.has_blob(&descriptor.digest).await.unwrap());
    let stream = futures_util::stream::iter([Ok(bytes::Bytes::from(content.clone()))]);
    remote.push_blob(&descriptor, stream).await.unwrap();
    let put = server
        .requests()
        .into_iter()
        .find(|request| request.method == "PUT")
        .unwrap();
    assert_eq!(put.body, content);
    assert_eq!(
        put.path,
        format!(
            "/v2/a/b/blobs/uploads/id?state=s&digest=sha256%3A{}",
            descriptor.digest.hex()
        )
    );
}

#[tokio::test]
async fn content_of_unknown_size_is_streamed_and_then_named() {
    let server = Server::start(
        |request| match (request.method.as_str(), request.path.as_str()) {
            ("POST", _) => Reply::new(202, "").with("location", "/v2/a/b/blobs/uploads/id"),
            ("PATCH", _) => Reply::new(202, "").with("location", "/v2/a/b/blobs/uploads/id?_s=2"),
            _ => Reply::new(201, ""),
        },
    )
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let upload = remote.begin_upload().await.unwrap();
    let parts = [&b"con"[..], b"tent"].map(|part| Ok(bytes::Bytes::from_static(part)));
    let upload = remote
        .upload_stream(upload, futures_util::stream::iter(parts))
        .await
        .unwrap();
    let descriptor = blob(b"content");
    remote.end_upload(upload, &descriptor.digest).await.unwrap();
    let requests = server.requests();
    let of = |method: &str| requests.iter().find(|request| request.method == method);
    assert_eq!(of("PATCH").unwrap().body, b"content");
    let put = of("PUT").unwrap();
    assert!(put.body.is_empty());
    assert!(
        put.path
            .starts_with("/v2/a/b/blobs/uploads/id?_s=2&digest=sha256%3A"),
        "{}",
        put.path
    );
}
