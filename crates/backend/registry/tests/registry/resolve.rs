//! What names stand for.

use arca_registry::{Auth, Config, Error, Registry, media_type};
use arca_types::{Classify as _, ErrorKind, Reference, chain};

use crate::common::{Reply, Server};
use crate::{MANIFEST, config, digest, manifest, password, remote};

#[tokio::test]
async fn a_tag_is_resolved_in_one_round_trip() {
    let server = Server::start(|_| manifest()).await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    let resolved = remote.resolve(&reference).await.unwrap();
    assert_eq!(resolved.descriptor.digest, digest(MANIFEST.as_bytes()));
    assert!(resolved.manifest.is_none());
    let again = remote
        .registry()
        .remote(reference.repository(), Auth::Anonymous);
    again.resolve(&reference).await.unwrap();
    assert_eq!(
        server.lines(),
        ["HEAD /v2/a/b/manifests/v1", "HEAD /v2/a/b/manifests/v1"]
    );
}

#[tokio::test]
async fn a_server_that_does_not_tell_digests_is_asked_for_the_content() {
    let server =
        Server::start(|_| Reply::new(200, MANIFEST).with("content-type", media_type::OCI_MANIFEST))
            .await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    let resolved = remote.resolve(&reference).await.unwrap();
    assert_eq!(resolved.descriptor.digest, digest(MANIFEST.as_bytes()));
    assert_eq!(resolved.manifest.unwrap().bytes, MANIFEST);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_registrys_words() {
    let server = Server::start(|_| {
        Reply::new(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
        )
    })
    .await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    let error = remote.resolve(&reference).await.unwrap_err();
    assert_eq!(chain(&error), "manifest unknown: manifest unknown");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        server.lines(),
        ["HEAD /v2/a/b/manifests/v1", "GET /v2/a/b/manifests/v1"]
    );
}

#[tokio::test]
async fn nobody_there_is_told_as_dockerd_does() {
    let server = Server::start(|_| manifest()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let reference: Reference = format!("{closed}/x").parse().unwrap();
    let registry = Registry::new(config());
    let error = registry
        .remote(reference.repository(), Auth::Anonymous)
        .resolve(&reference)
        .await
        .unwrap_err();
    assert_eq!(
        chain(&error),
        format!("Get \"http://{closed}/v2/\": dial tcp {closed}: connect: connection refused")
    );
    drop(server);
}

#[tokio::test]
async fn a_manifest_has_to_have_its_digest() {
    let server = Server::start(|_| manifest()).await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let other = digest(b"other");
    let error = remote.manifest(&other).await.unwrap_err();
    assert!(matches!(error, Error::ManifestDigest(wrong) if wrong == other));
}

#[tokio::test]
async fn a_manifest_that_is_too_large_is_refused() {
    let server = Server::start(|_| {
        let body = vec![b' '; 5 << 20];
        let digest = digest(&body).to_string();
        Reply::new(200, body)
            .with("content-type", media_type::OCI_MANIFEST)
            .with("docker-content-digest", digest)
    })
    .await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    for outcome in [
        remote.resolve(&reference).await.map(drop),
        remote.manifest(&digest(b"x")).await.map(drop),
    ] {
        assert!(matches!(outcome.unwrap_err(), Error::ManifestTooLarge(_)));
    }
}

#[tokio::test]
async fn tags_come_in_pages() {
    let server = Server::start(|request| {
        if request.path.contains("last=b") {
            return Reply::new(200, r#"{"name":"a/b","tags":["c"]}"#);
        }
        Reply::new(200, r#"{"name":"a/b","tags":["a","b"]}"#)
            .with("link", "</v2/a/b/tags/list?last=b&n=2>; rel=\"next\"")
    })
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    assert_eq!(remote.tags().await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_never_told_the_password() {
    let mirror = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, r#"{"token":"T"}"#);
        }
        if request.header("authorization") == Some("Bearer T") {
            return manifest();
        }
        let realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"s\"",
            request.header("host").unwrap()
        );
        Reply::new(401, "{}").with("www-authenticate", realm)
    })
    .await;
    let broken = Server::start(|_| Reply::new(500, "")).await;
    let mirrors = [&broken, &mirror].map(|server| format!("http://{}", server.address).parse());
    let config = Config {
        mirrors: mirrors.into_iter().map(Result::unwrap).collect(),
        ..config()
    };
    let reference: Reference = "busybox".parse().unwrap();
    let remote = Registry::new(config).remote(reference.repository(), password());
    remote.resolve(&reference).await.unwrap();
    assert_eq!(
        broken.lines(),
        ["HEAD /v2/library/busybox/manifests/latest"]
    );
    for request in mirror.requests() {
        let header = request.header("authorization").unwrap_or_default();
        assert!(!header.starts_with("Basic"), "{request:?}");
        assert!(!request.path.contains("account"), "{request:?}");
    }
}
