//! Passwords and tokens, and who is told them.

use std::sync::atomic::{AtomicU32, Ordering};

use arca_registry::{Auth, Registry, Secret};
use arca_types::{Classify as _, ErrorKind, chain};

use crate::common::{Reply, Request, Server};
use crate::{blob, config, manifest, password, remote};

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
