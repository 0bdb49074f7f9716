//! Files from web servers.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arca_types::{Digest, random_hex};
use futures_util::StreamExt as _;
use sha2::Digest as _;

use super::Content;
use crate::graph::{HttpSource, digest_json};
use crate::material::Material;
use crate::session::Upload;
use crate::solve::{Step, blocking};
use crate::{Error, Tree};

/// Where files are that the client sends (`docker build -` with an archive).
const UPLOADS: &str = "http://buildkit-session/";

/// A file that was downloaded; it goes with this.
#[derive(Debug)]
pub(super) struct Download {
    directory: Directory,
    digest: Digest,
    /// As the server says it.
    modified: Option<SystemTime>,
}

/// A directory that is removed with its owner.
#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a downloaded file is left behind");
        }
    }
}

pub(super) async fn key(step: &Step, source: &HttpSource) -> Result<Digest, Error> {
    let (digest, modified) = match &source.checksum {
        Some(digest) => (digest.clone(), None),
        None => {
            let download = fetch(step, source).await?;
            let found = (download.digest.clone(), download.modified);
            step.source.put(Content::File(download));
            found
        }
    };
    step.job.has_used(Material::Http {
        url: source.url.clone(),
        digest: digest.clone(),
    });
    let owner = (source.uid, source.gid, source.mode);
    let name = file_name(source)?;
    Ok(digest_json(&("http", digest, name, owner, modified)))
}

pub(super) async fn run(step: &Step, source: &HttpSource) -> Result<Tree, Error> {
    let download = match step.source.take() {
        Some(Content::File(download)) => download,
        _ => fetch(step, source).await?,
    };
    if let Some(expected) = source.checksum.as_ref().filter(|d| **d != download.digest) {
        let actual = &download.digest;
        return Err(Error::Failed(format!(
            "digest mismatch {actual}: {expected}"
        )));
    }
    let path = download.directory.0.clone();
    let tree = Tree::of_directory(path, Arc::default(), download);
    step.layered(&tree).await
}

/// The name that the file gets: that of one file, whatever a client says.
fn file_name(source: &HttpSource) -> Result<String, Error> {
    let name = source.filename.as_str();
    if matches!(name, "." | "..") || name.contains(['/', '\0']) {
        return Err(Error::Invalid(format!("invalid http.filename: {name:?}")));
    }
    if !name.is_empty() {
        return Ok(name.to_owned());
    }
    let path = source.url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path
        .split_once('/')
        .and_then(|(_, path)| path.rsplit('/').next())
    {
        Some(name) if !matches!(name, "" | "." | "..") => Ok(name.to_owned()),
        _ => Ok("download".to_owned()),
    }
}

/// What is at the address, which may be one of the client's own, and when it was changed last.
async fn content(step: &Step, source: &HttpSource) -> Result<(Upload, Option<SystemTime>), Error> {
    if let Some(path) = source.url.strip_prefix(UPLOADS) {
        let upload = step.job.session().upload(&format!("/{path}")).await?;
        return Ok((upload, None));
    }
    let headers = headers(step, source).await?;
    let failed = |cause: arca_registry::Error| Error::Http {
        what: format!("failed to load {}", source.url),
        cause: Box::new(cause),
    };
    let registry = &step.job.0.service.backends.registry;
    let fetched = registry.fetch_with(&source.url, &headers).await;
    let fetched = fetched.map_err(failed)?;
    let url = source.url.clone();
    let content = fetched.content;
    let content = content.map(move |piece| piece.map_err(Error::file("download", &url)));
    Ok((content.boxed(), fetched.modified))
}

/// The headers that a request is sent with. Of a client's own ones there are two, as with BuildKit.
async fn headers(
    step: &Step,
    source: &HttpSource,
) -> Result<Vec<(String, arca_registry::Secret)>, Error> {
    let mut headers = Vec::new();
    for (name, value) in &source.headers {
        if !["accept", "user-agent"].contains(&name.as_str()) {
            return Err(Error::Invalid(format!("invalid http header: {name}")));
        }
        headers.push((name.clone(), arca_registry::Secret::new(value.clone())));
    }
    if source.auth_header_secret.is_empty() {
        return Ok(headers);
    }
    let id = &source.auth_header_secret;
    let secret = step.job.session().secret(id).await?.ok_or_else(|| {
        Error::NotFound(format!(
            "failed to retrieve HTTP auth secret {id}: not found"
        ))
    })?;
    let value = String::from_utf8_lossy(secret.expose()).into_owned();
    headers.push((
        "authorization".to_owned(),
        arca_registry::Secret::new(value.trim_end_matches('\n').to_owned()),
    ));
    Ok(headers)
}

async fn fetch(step: &Step, source: &HttpSource) -> Result<Download, Error> {
    let name = file_name(source)?;
    let service = &step.job.0.service;
    let (mut content, modified) = content(step, source).await?;
    let root = service.root().join("http");
    let directory = Directory(root.join(random_hex(8)));
    let path = directory.0.join(name);
    let (made, name) = (directory.0.clone(), path.clone());
    let mut file = blocking(move || {
        std::fs::create_dir_all(&made).map_err(Error::file("create", &made))?;
        std::fs::File::create_new(&name).map_err(Error::file("create", &name))
    })
    .await?;
    let mut hasher = sha2::Sha256::new();
    while let Some(piece) = content.next().await {
        let piece = piece?;
        hasher.update(&piece);
        let name = path.clone();
        file = blocking(move || {
            file.write_all(&piece)
                .map_err(Error::file("write", &name))?;
            Ok(file)
        })
        .await?;
    }
    let mode = source.mode.unwrap_or(0o600) & 0o7777;
    let owner = (source.uid, source.gid);
    blocking(move || {
        std::os::unix::fs::chown(&path, owner.0, owner.1).map_err(Error::file("chown", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .map_err(Error::file("chmod", &path))?;
        date(&file, modified).map_err(Error::file("set the time of", &path))
    })
    .await?;
    Ok(Download {
        directory,
        digest: Digest::sha256(&hasher.finalize().into()),
        modified,
    })
}

/// Gives a downloaded file the time at which it was changed last, or the first of all times.
pub(crate) fn date(file: &std::fs::File, modified: Option<SystemTime>) -> std::io::Result<()> {
    let time = modified.unwrap_or(SystemTime::UNIX_EPOCH);
    let times = std::fs::FileTimes::new().set_accessed(time);
    file.set_times(times.set_modified(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_address() {
        let name = |url: &str| {
            file_name(&HttpSource {
                url: url.to_owned(),
                ..HttpSource::default()
            })
            .unwrap()
        };
        assert_eq!(name("https://host/a/b.tar.gz?x=1#y"), "b.tar.gz");
        assert_eq!(name("https://host/a/"), "download");
        assert_eq!(name("https://host"), "download");
        assert_eq!(name("https://host/.."), "download");
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for filename in ["..", ".", "../../x", "/etc/x", "a/b", "a\0"] {
            let source = HttpSource {
                url: "https://host/a".to_owned(),
                filename: filename.to_owned(),
                ..HttpSource::default()
            };
            assert!(file_name(&source).is_err(), "{filename:?}");
        }
    }
}
