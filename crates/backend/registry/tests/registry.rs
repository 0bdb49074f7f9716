//! Conversations with a scripted registry.

#![cfg(test)]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arca_registry::{Auth, Config, Descriptor, Error, Piece, Registry, Remote, Secret, media_type};
use arca_types::{Classify as _, Digest, ErrorKind, Reference, chain};
use common::{Reply, Request, Server};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&Sha256::digest(bytes).into())
}

fn manifest() -> Reply {
    Reply::new(200, MANIFEST)
        .with("content-type", media_type::OCI_MANIFEST)
        .with(
            "docker-content-digest",
            digest(MANIFEST.as_bytes()).to_string(),
        )
}

fn config() -> Config {
    Config {
        retry_pause: Duration::from_millis(1),
        ..Config::default()
    }
}

fn password() -> Auth {
    Auth::Password {
        username: "u".to_owned(),
        password: Secret::new("hunter2".to_owned()),
    }
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.address).parse().unwrap()
}

fn remote(server: &Server, auth: Auth) -> (Remote, Reference) {
    let reference = reference(server, "a/b:v1");
    (
        Registry::new(config()).remote(reference.repository(), auth),
        reference,
    )
}

fn blob(content: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, digest(content), content.len() as u64)
}

async fn download(remote: &Remote, descriptor: &Descriptor) -> Result<(Vec<u8>, u32), Error> {
    let mut blob = remote.blob(descriptor, 0);
    let (mut bytes, mut retries) = (Vec::new(), 0);
    while let Some(piece) = blob.next().await? {
        match piece {
            Piece::Data(data) => bytes.extend_from_slice(&data),
            Piece::Retrying(_) => retries += 1,
        }
    }
    Ok((bytes, retries))
}

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

/// A registry that wants a bearer token, and hands out `T1`, `T2`, … each good for `uses` requests.
fn bearer(uses: u32) -> impl Fn(&Request) -> Reply + Send + Sync {
    let issued = AtomicU32::new(0);
    let used = AtomicU32::new(0);
    move |request| {
        if request.path.starts_with("/token") {
            used.store(0, Ordering::SeqCst);
            let token = issued.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::new(200, format!(r#"{{"token":"T{token}","expires_in":300}}"#));
        }
        let current = format!("Bearer T{}", issued.load(Ordering::SeqCst));
        let fresh = used.fetch_add(1, Ordering::SeqCst) < uses;
        if request.header("authorization") == Some(current.as_str()) && fresh {
            return manifest();
        }
        let realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"s\"",
            request.header("host").unwrap()
        );
        Reply::new(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
        )
        .with("www-authenticate", realm)
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let server = Server::start(bearer(100)).await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    for _ in 0..3 {
        remote.resolve(&reference).await.unwrap();
    }
    let lines = server.lines();
    let tokens: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("/token"))
        .collect();
    assert_eq!(
        tokens,
        ["GET /token?scope=repository%3Aa%2Fb%3Apull&service=s"]
    );
    assert_eq!(
        lines.len(),
        5,
        "one refusal, one token, three answers: {lines:?}"
    );
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed() {
    let server = Server::start(bearer(1)).await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    remote.resolve(&reference).await.unwrap();
    remote.resolve(&reference).await.unwrap();
    assert_eq!(
        server
            .lines()
            .iter()
            .filter(|line| line.contains("/token"))
            .count(),
        2
    );
}

#[tokio::test]
async fn each_credential_goes_its_way() {
    let server = Server::start(bearer(100)).await;
    let (named, reference) = remote(&server, password());
    named.resolve(&reference).await.unwrap();
    let asked = server
        .requests()
        .into_iter()
        .find(|request| request.path.starts_with("/token"));
    let asked = asked.unwrap();
    assert_eq!(
        asked.path,
        "/token?account=u&scope=repository%3Aa%2Fb%3Apull&service=s"
    );
    assert_eq!(asked.header("authorization"), Some("Basic dTpodW50ZXIy"));

    let server = Server::start(bearer(100)).await;
    let (identity, reference) = remote(&server, Auth::Identity(Secret::new("R".to_owned())));
    identity.resolve(&reference).await.unwrap();
    let asked = server
        .requests()
        .into_iter()
        .find(|request| request.method == "POST")
        .unwrap();
    assert_eq!(
        String::from_utf8(asked.body).unwrap(),
        "client_id=docker&grant_type=refresh_token&refresh_token=R&scope=repository%3Aa%2Fb%3Apull&service=s"
    );
}

#[tokio::test]
async fn refusals_of_the_token_server_name_the_request() {
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(401, r#"{"details":"incorrect username or password"}"#);
        }
        let realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"s\"",
            request.header("host").unwrap()
        );
        Reply::new(401, "{}").with("www-authenticate", realm)
    })
    .await;
    let (remote, reference) = remote(&server, password());
    let error = remote.resolve(&reference).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "Head \"http://{}/v2/a/b/manifests/v1\": unauthorized: incorrect username or password",
            server.address
        )
    );
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error:?}{remote:?}").contains("hunter2"));
}

#[tokio::test]
async fn insufficient_scope_is_a_denial() {
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, r#"{"access_token":"T"}"#);
        }
        let mut realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"s\"",
            request.header("host").unwrap()
        );
        if request.header("authorization").is_some() {
            realm.push_str(",error=\"insufficient_scope\"");
        }
        Reply::new(401, "{}").with("www-authenticate", realm)
    })
    .await;
    let (remote, reference) = remote(&server, Auth::Anonymous);
    let error = remote.resolve(&reference).await.unwrap_err();
    assert_eq!(
        chain(&error),
        "denied: requested access to the resource is denied"
    );
}

fn basic_registry(request: &Request) -> Reply {
    if request.header("authorization") == Some("Basic dTpodW50ZXIy") {
        return manifest();
    }
    Reply::new(
        401,
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
    )
    .with("www-authenticate", "Basic realm=\"r\"")
}

#[tokio::test]
async fn a_password_is_sent_where_one_is_wanted() {
    let server = Server::start(basic_registry).await;
    let (named, reference) = remote(&server, password());
    named.resolve(&reference).await.unwrap();

    let (anonymous, _) = remote(&server, Auth::Anonymous);
    let error = anonymous.resolve(&reference).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "Head \"http://{}/v2/a/b/manifests/v1\": no basic auth credentials",
            server.address
        )
    );
    let wrong = Auth::Password {
        username: "u".to_owned(),
        password: Secret::new("p".to_owned()),
    };
    let (wrong, _) = remote(&server, wrong);
    let error = wrong.resolve(&reference).await.unwrap_err();
    assert_eq!(
        (chain(&error).as_str(), error.kind()),
        ("unauthorized", ErrorKind::Unauthorized)
    );
}

#[tokio::test]
async fn a_login_is_checked() {
    let server = Server::start(basic_registry).await;
    let registry = Registry::new(config());
    let address = server.address.to_string();
    let login = registry.login(&address, &password()).await.unwrap();
    assert!(login.identity_token.is_none());
    let wrong = Auth::Password {
        username: "u".to_owned(),
        password: Secret::new("p".to_owned()),
    };
    let error = registry.login(&address, &wrong).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!("login attempt to http://{address}/v2/ failed with status: 401 Unauthorized")
    );

    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, r#"{"token":"T","refresh_token":"R"}"#);
        }
        if request.header("authorization") == Some("Bearer T") {
            return Reply::new(200, "{}");
        }
        let realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"s\"",
            request.header("host").unwrap()
        );
        Reply::new(401, "{}").with("www-authenticate", realm)
    })
    .await;
    let login = registry
        .login(&server.address.to_string(), &password())
        .await
        .unwrap();
    assert_eq!(login.identity_token, Some(Secret::new("R".to_owned())));
    assert!(server.lines().contains(
        &"GET /token?account=u&client_id=docker&offline_token=true&service=s".to_owned()
    ));
}

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

#[tokio::test]
async fn a_token_for_a_mount_is_good_for_both_repositories() {
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, r#"{"token":"t"}"#);
        }
        match request.header("authorization") {
            Some(_) => Reply::new(201, ""),
            None => {
                let host = request.header("host").unwrap_or_default();
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
                Reply::new(401, "{}").with("www-authenticate", challenge)
            }
        }
    })
    .await;
    let (remote, _) = remote(&server, Auth::Anonymous);
    let from = format!("{}/other", server.address).parse().unwrap();
    let mounted = remote.mount_blob(&blob(b"x").digest, &from).await.unwrap();
    assert!(matches!(mounted, arca_registry::Mount::Mounted));
    let token = server
        .lines()
        .into_iter()
        .find(|line| line.contains("/token"));
    let token = token.unwrap();
    assert!(
        token.contains("scope=repository%3Aa%2Fb%3Apull%2Cpush"),
        "{token}"
    );
    assert!(token.contains("scope=repository%3Aother%3Apull"), "{token}");
}
