//! Mirrors by `hosts.toml`, proxies, and registries that ask for patience.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arca_registry::{
    Auth, Config, Descriptor, Error, Piece, Proxies, Registry, Remote, Secret, media_type,
};
use arca_types::{Classify as _, ErrorKind, Reference, chain};

use crate::common::{Reply, Request, Server};
use crate::{digest, manifest};

/// A registry's client with this `hosts.toml` for `domain`.
fn registry(domain: &str, text: &str) -> (Registry, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join(domain);
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("hosts.toml"), text).unwrap();
    let config = Config {
        certs_dirs: vec![dir.path().to_owned()],
        retry_pause: Duration::from_millis(1),
        ..Config::default()
    };
    (Registry::new(config), dir)
}

async fn download(remote: &Remote, content: &[u8]) -> Result<Vec<u8>, Error> {
    let size = content.len() as u64;
    let descriptor = Descriptor::new(media_type::OCI_LAYER, digest(content), size);
    let mut blob = remote.blob(&descriptor, 0);
    let mut bytes = Vec::new();
    while let Some(piece) = blob.next().await? {
        if let Piece::Data(data) = piece {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn password() -> Auth {
    Auth::Password {
        username: "u".to_owned(),
        password: Secret::new("hunter2".to_owned()),
    }
}

#[tokio::test]
async fn each_host_is_asked_for_what_it_is_there_for() {
    let content = vec![1_u8; 100_000];
    let blob = content.clone();
    let mirror = Server::start(move |_| Reply::new(200, blob.clone())).await;
    let origin = Server::start(|_| manifest()).await;
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}/cache\"]\ncapabilities = [\"pull\"]\noverride_path = true\n[host.\"http://{}/cache\".header]\nx-key = \"k\"\n",
        origin.address, mirror.address, mirror.address
    );
    let (registry, _dir) = registry("r.example", &text);
    let reference: Reference = "r.example/a/b:v1".parse().unwrap();
    let remote = registry.remote(reference.repository(), Auth::Anonymous);
    remote.resolve(&reference).await.unwrap();
    assert!(download(&remote, &content).await.unwrap() == content);
    assert_eq!(origin.lines(), ["HEAD /v2/a/b/manifests/v1"]);
    let asked = mirror.requests();
    assert_eq!(
        asked[0].path,
        format!("/cache/a/b/blobs/{}", digest(&content))
    );
    assert_eq!(asked[0].header("x-key"), Some("k"));
}

#[tokio::test]
async fn content_is_pushed_past_mirrors_that_do_not_say_so() {
    let mirror = Server::start(|_| Reply::new(200, "{}")).await;
    let origin = Server::start(|_| Reply::new(200, "{}")).await;
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\n",
        origin.address, mirror.address
    );
    let (registry, _dir) = registry("r.example", &text);
    let reference: Reference = "r.example/a/b:v1".parse().unwrap();
    let remote = registry.remote_to_push(reference.repository(), Auth::Anonymous);
    remote.ping().await.unwrap();
    assert_eq!((mirror.lines().len(), origin.lines().len()), (0, 1));
}

#[tokio::test]
async fn a_mirror_that_keeps_breaking_is_left_for_the_registry() {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let (half, whole) = (content.clone(), content.clone());
    let mirror = Server::start(move |request| Reply {
        cut: Some(if request.header("range").is_none() {
            1000
        } else {
            0
        }),
        ..Reply::new(
            if request.header("range").is_none() {
                200
            } else {
                206
            },
            half.clone(),
        )
        .with("content-range", "bytes 1000-399999/400000")
    })
    .await;
    let origin = Server::start(move |request| ranged(request, &whole)).await;
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\n",
        origin.address, mirror.address
    );
    let (registry, _dir) = registry("r.example", &text);
    let reference: Reference = "r.example/a/b:v1".parse().unwrap();
    let remote = registry.remote(reference.repository(), password());
    assert!(download(&remote, &content).await.unwrap() == content);
    let range = origin.requests()[0].header("range").map(str::to_owned);
    assert_eq!(range.as_deref(), Some("bytes=1000-"));
    assert!(remote.past_mirrors().is_some());
}

fn ranged(request: &Request, whole: &[u8]) -> Reply {
    let from = request.header("range").map(|range| {
        let from = range.trim_start_matches("bytes=").trim_end_matches('-');
        from.parse::<usize>().unwrap()
    });
    match from {
        Some(from) => Reply::new(206, &whole[from..]).with(
            "content-range",
            format!("bytes {from}-{}/{}", whole.len() - 1, whole.len()),
        ),
        None => Reply::new(200, whole),
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let (registry, _dir) = registry("r.example", "[host.x]\nfly = 1\n");
    let reference: Reference = "r.example/a/b:v1".parse().unwrap();
    let remote = registry.remote(reference.repository(), Auth::Anonymous);
    let error = chain(&remote.resolve(&reference).await.unwrap_err());
    assert!(
        error.contains("r.example/hosts.toml: host \"x\": unknown field"),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_asks_for_patience_gets_it() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let server = Server::start(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(429, "slow down").with("retry-after", "1"),
        1 => Reply::new(502, ""),
        _ => manifest(),
    })
    .await;
    let registry = Registry::new(Config {
        retry_pause: Duration::from_millis(1),
        ..Config::default()
    });
    let reference: Reference = format!("{}/a/b:v1", server.address).parse().unwrap();
    let remote = registry.remote(reference.repository(), Auth::Anonymous);
    let begun = Instant::now();
    remote.resolve(&reference).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn patience_has_an_end_and_the_registrys_words() {
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#;
    let server = Server::start(move |_| Reply::new(429, body)).await;
    let registry = Registry::new(Config {
        retry_pause: Duration::from_millis(1),
        ..Config::default()
    });
    let reference: Reference = format!("{}/a/b:v1", server.address).parse().unwrap();
    let remote = registry.remote(reference.repository(), Auth::Anonymous);
    let error = remote.resolve(&reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert_eq!(
        chain(&error),
        "toomanyrequests: You have reached your limit"
    );
}

#[tokio::test]
async fn proxies_are_for_other_hosts_than_this_one() {
    let proxy = Server::start(|_| manifest()).await;
    let server = Server::start(|_| manifest()).await;
    let registry = |no_proxy: Option<&str>| {
        Registry::new(Config {
            insecure: vec!["r.example".parse().unwrap()],
            timeout: Duration::from_millis(500),
            retry_pause: Duration::from_millis(1),
            proxies: Proxies {
                http: Some(format!("http://p:hunter2@{}", proxy.address)),
                https: Some("http://127.0.0.1:1".to_owned()),
                no_proxy: no_proxy.map(str::to_owned),
            },
            ..Config::default()
        })
    };
    let far: Reference = "r.example/a/b:v1".parse().unwrap();
    let proxied = registry(None);
    let remote = proxied.remote(far.repository(), Auth::Anonymous);
    remote.resolve(&far).await.unwrap();
    let asked = proxy.requests();
    assert_eq!(asked[0].path, "http://r.example/v2/a/b/manifests/v1");
    assert!(asked[0].header("proxy-authorization").is_some());
    assert!(!format!("{proxied:?}").contains("hunter2"));

    let near: Reference = format!("{}/a/b:v1", server.address).parse().unwrap();
    let remote = proxied.remote(near.repository(), Auth::Anonymous);
    remote.resolve(&near).await.unwrap();
    assert_eq!(server.lines(), ["HEAD /v2/a/b/manifests/v1"]);

    let direct = registry(Some("r.example"));
    let remote = direct.remote(far.repository(), Auth::Anonymous);
    let error = chain(&remote.resolve(&far).await.unwrap_err());
    assert!(error.contains("r.example"), "{error}");
    assert_eq!(proxy.lines().len(), 1);
}
