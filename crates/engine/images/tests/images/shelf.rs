//! Registries: one that serves images, and one that takes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arca_types::Digest;

use crate::common::{Reply, Request, Server};
use crate::kit::{INDEX, MANIFEST, Sample, digest};

/// What a registry serves: answers by path.
#[derive(Default)]
pub(crate) struct Shelf {
    content: Mutex<HashMap<String, (String, Vec<u8>)>>,
}

impl Shelf {
    fn put(&self, path: String, kind: &str, bytes: &[u8]) {
        self.content
            .lock()
            .unwrap()
            .insert(path, (kind.to_owned(), bytes.to_vec()));
    }

    /// Takes everything away.
    pub(crate) fn clear(&self) {
        self.content.lock().unwrap().clear();
    }

    pub(crate) fn blob(&self, repository: &str, digest: &Digest, bytes: &[u8]) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.put(path, "application/octet-stream", bytes);
    }

    pub(crate) fn manifest(&self, repository: &str, name: &str, kind: &str, bytes: &[u8]) {
        self.put(format!("/v2/{repository}/manifests/{name}"), kind, bytes);
        self.put(
            format!("/v2/{repository}/manifests/{}", digest(bytes)),
            kind,
            bytes,
        );
    }

    pub(crate) fn image(&self, repository: &str, tag: &str, sample: &Sample) {
        self.blob(repository, &digest(&sample.config), &sample.config);
        for blob in &sample.blobs {
            self.blob(repository, &digest(blob), blob);
        }
        self.manifest(repository, tag, MANIFEST, &sample.manifest);
    }

    pub(crate) fn index(
        &self,
        repository: &str,
        tag: &str,
        samples: &[(&str, &Sample)],
    ) -> Vec<u8> {
        let entries: Vec<_> = samples
            .iter()
            .map(|(architecture, sample)| {
                self.image(repository, architecture, sample);
                format!(
                    r#"{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
                    sample.digest(),
                    sample.manifest.len()
                )
            })
            .collect();
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            entries.join(",")
        );
        self.manifest(repository, tag, INDEX, index.as_bytes());
        index.into_bytes()
    }

    pub(crate) async fn serve(self: &Arc<Self>) -> Server {
        let shelf = Arc::clone(self);
        Server::start(move |request| shelf.answer(request)).await
    }

    pub(crate) fn answer(&self, request: &Request) -> Reply {
        if let Some(repository) = request.path.strip_suffix("/tags/list") {
            return self.tags(repository);
        }
        let content = self.content.lock().unwrap();
        match content.get(&request.path) {
            Some((kind, bytes)) => {
                let name = request.path.rsplit('/').next().unwrap();
                let told = match name.strip_prefix("sha256:") {
                    Some(_) => name.to_owned(),
                    None => digest(bytes).to_string(),
                };
                Reply::new(200, bytes.clone())
                    .with("content-type", kind)
                    .with("docker-content-digest", told)
            }
            None => Reply::new(
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
            ),
        }
    }

    fn tags(&self, repository: &str) -> Reply {
        let prefix = format!("{repository}/manifests/");
        let content = self.content.lock().unwrap();
        let mut tags: Vec<_> = content
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .filter(|tag| !tag.contains(':'))
            .map(|tag| format!("\"{tag}\""))
            .collect();
        tags.sort();
        Reply::new(200, format!(r#"{{"tags":[{}]}}"#, tags.join(",")))
    }
}

/// A registry that takes what is pushed to it, and serves what is on its shelf.
#[derive(Default)]
pub(crate) struct Taker {
    pub(crate) shelf: Shelf,
    /// By path: blobs by digest, manifests by name.
    pub(crate) taken: Mutex<HashMap<String, Vec<u8>>>,
    /// What was sent in pieces.
    pending: Mutex<Vec<u8>>,
    /// How many uploads are refused before one is taken.
    pub(crate) refusals: Mutex<u32>,
}

impl Taker {
    pub(crate) async fn serve(self: &Arc<Self>) -> Server {
        let taker = Arc::clone(self);
        Server::start(move |request| taker.answer(request)).await
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        let mut taken = self.taken.lock().unwrap();
        match request.method.as_str() {
            "GET" if path == "/v2/" => Reply::new(200, "{}"),
            "HEAD" if path.contains("/blobs/") => {
                Reply::new(if taken.contains_key(path) { 200 } else { 404 }, "")
            }
            "POST" => Reply::new(202, "").with("location", path.split('?').next().unwrap()),
            "PATCH" => {
                self.pending.lock().unwrap().clone_from(&request.body);
                Reply::new(202, "").with("location", path)
            }
            "PUT" => {
                let mut refusals = self.refusals.lock().unwrap();
                if *refusals > 0 {
                    *refusals -= 1;
                    return Reply::new(503, "");
                }
                let pending = std::mem::take(&mut *self.pending.lock().unwrap());
                let body = [pending, request.body.clone()].concat();
                let path = path.replace("%3A", ":").replace("uploads/?digest=", "");
                let last = path.rsplit('/').next().unwrap();
                if last.starts_with("sha256:") && last != digest(&body).as_str() {
                    return Reply::new(400, "");
                }
                taken.insert(path, body);
                Reply::new(201, "")
            }
            _ => self.shelf.answer(request),
        }
    }
}
