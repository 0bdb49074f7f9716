//! Conversations with a scripted registry.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod download;
mod hosts;
mod push;
mod resolve;

use std::time::Duration;

use arca_registry::{Auth, Config, Descriptor, Error, Piece, Registry, Remote, Secret, media_type};
use arca_types::{Digest, Reference};
use sha2::{Digest as _, Sha256};

use common::{Reply, Server};

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
