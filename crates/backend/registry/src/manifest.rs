//! Manifests and indexes: by tag, by digest, checked.

use arca_types::{Algorithm, Digest, Reference};
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Response;
use sha2::{Digest as _, Sha256, Sha512};

use crate::descriptor::{Descriptor, media_type};
use crate::error::Error;
use crate::remote::{Call, Remote};
use crate::transport::describe;

/// Manifests and indexes up to this many bytes are read: what every registry has to take.
pub const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;

const ACCEPTED: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws, \
     application/json";

/// The bytes of a manifest or an index, exactly as the registry has them, and what they are.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Type, digest and size.
    pub descriptor: Descriptor,
    /// The content.
    pub bytes: Bytes,
}

/// What a name stands for now.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Type, digest and size of the manifest or index.
    pub descriptor: Descriptor,
    /// The content, where the registry had to send it to answer.
    pub manifest: Option<Manifest>,
}

impl Remote {
    /// Asks what `reference` stands for: one round trip, which does not count as a pull at Docker Hub
    /// when it is a tag.
    ///
    /// # Errors
    /// As the registry says ([`Error::code`] tells unknown names from refusals), or the connection.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        if let Some(digest) = reference.digest() {
            let manifest = self.manifest(digest).await?;
            return Ok(Resolved {
                descriptor: manifest.descriptor.clone(),
                manifest: Some(manifest),
            });
        }
        let path = self.path(&format!("manifests/{}", reference.manifest_selector()));
        let mut head = accepting(Method::HEAD, path.clone());
        head.resolves = true;
        match self.call(&head).await {
            Ok(response) => {
                if let Some(descriptor) = described(response.headers())? {
                    return Ok(Resolved {
                        descriptor,
                        manifest: None,
                    });
                }
            }
            Err(error @ (Error::Request { .. } | Error::Transport { .. })) => return Err(error),
            // The answer to HEAD has no body, so the reason is asked for.
            Err(_) => {}
        }
        let manifest = self.fetch(path, None).await?;
        Ok(Resolved {
            descriptor: manifest.descriptor.clone(),
            manifest: Some(manifest),
        })
    }

    /// Fetches a manifest or an index by its digest, and checks it.
    ///
    /// # Errors
    /// [`Error::ManifestDigest`] when the registry sent something else, [`Error::ManifestTooLarge`], or as
    /// the registry or the connection says.
    pub async fn manifest(&self, digest: &Digest) -> Result<Manifest, Error> {
        self.fetch(self.path(&format!("manifests/{digest}")), Some(digest))
            .await
    }

    async fn fetch(&self, path: String, wanted: Option<&Digest>) -> Result<Manifest, Error> {
        let mut call = accepting(Method::GET, path);
        call.resolves = wanted.is_none();
        let response = self.call(&call).await?;
        let announced = header_digest(response.headers())?;
        let media_type = header(response.headers(), CONTENT_TYPE).unwrap_or_default();
        let bytes = read_limited(response).await?;
        let digest = match wanted.or(announced.as_ref()) {
            Some(digest) => digest.clone(),
            None => Digest::sha256(&Sha256::digest(&bytes).into()),
        };
        if !is_digest_of(&digest, &bytes) {
            return Err(Error::ManifestDigest(digest));
        }
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let size = bytes.len() as u64;
        Ok(Manifest {
            descriptor: Descriptor::new(media_type, digest, size),
            bytes,
        })
    }
}

fn accepting(method: Method, path: String) -> Call {
    let mut call = Call::new(method, path);
    call.headers
        .insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    call
}

/// Is `digest` that of `bytes`?
pub(crate) fn is_digest_of(digest: &Digest, bytes: &[u8]) -> bool {
    let hex: String = match digest.algorithm() {
        Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
        Algorithm::Sha512 => hex(&Sha512::digest(bytes)),
    };
    hex == digest.hex()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}

fn header(headers: &HeaderMap, name: http::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn header_digest(headers: &HeaderMap) -> Result<Option<Digest>, Error> {
    let Some(value) = headers.get("docker-content-digest") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    text.parse()
        .map(Some)
        .map_err(|_invalid| Error::InvalidDigest(text.to_owned()))
}

/// What the headers alone say, when they say enough.
fn described(headers: &HeaderMap) -> Result<Option<Descriptor>, Error> {
    let Some(digest) = header_digest(headers)? else {
        return Ok(None);
    };
    let Some(kind) = header(headers, CONTENT_TYPE) else {
        return Ok(None);
    };
    let Some(size) = header(headers, CONTENT_LENGTH).and_then(|size| size.parse().ok()) else {
        return Ok(None);
    };
    if size > MANIFEST_LIMIT {
        return Err(Error::ManifestTooLarge(size));
    }
    let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
    let known = media_type::is_index(&kind) || media_type::is_manifest(&kind);
    Ok(known.then(|| Descriptor::new(&kind, digest, size)))
}

async fn read_limited(mut response: Response) -> Result<Bytes, Error> {
    let size = response.content_length();
    if let Some(size) = size.filter(|size| *size > MANIFEST_LIMIT) {
        return Err(Error::ManifestTooLarge(size));
    }
    let url = response.url().to_string();
    let authority = response.url().authority().to_owned();
    let mut bytes = BytesMut::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| describe(&error, &authority, 443).during("Get", &url))?;
        let Some(chunk) = chunk else {
            return Ok(bytes.freeze());
        };
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(Error::ManifestTooLarge(bytes.len() as u64));
        }
    }
}
