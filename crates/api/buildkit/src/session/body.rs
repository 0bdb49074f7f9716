//! A client whose files are the body of a request. All else is asked of its session.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arca_build::session::{FileSink, LocalRequest, Secret, Upload};
use arca_build::{BuildSession, Error};
use arca_images::{Auth, ByteStream};
use arca_types::{Digest, Timestamp, random_hex};
use async_trait::async_trait;
use futures_util::StreamExt as _;

/// The body of a request, which a build can take once.
pub(crate) struct Body {
    path: String,
    stream: ByteStream,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.path).finish()
    }
}

impl Body {
    pub(crate) fn new(stream: ByteStream) -> Self {
        let path = format!("/{}", random_hex(16));
        Self { path, stream }
    }

    /// Where the build finds it.
    pub(crate) fn url(&self) -> String {
        format!("http://buildkit-session{}", self.path)
    }

    /// A client that has this, and what `inner` has.
    pub(crate) fn with(self, inner: Arc<dyn BuildSession>) -> Arc<dyn BuildSession> {
        Arc::new(WithBody {
            path: self.path,
            stream: Mutex::new(Some(self.stream)),
            inner,
        })
    }
}

struct WithBody {
    path: String,
    stream: Mutex<Option<ByteStream>>,
    inner: Arc<dyn BuildSession>,
}

impl fmt::Debug for WithBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WithBody").field(&self.inner).finish()
    }
}

#[async_trait]
impl BuildSession for WithBody {
    async fn local(&self, request: &LocalRequest, destination: &Path) -> Result<(), Error> {
        self.inner.local(request, destination).await
    }

    async fn secret(&self, id: &str) -> Result<Option<Secret>, Error> {
        self.inner.secret(id).await
    }

    async fn has_ssh(&self, id: &str) -> Result<bool, Error> {
        self.inner.has_ssh(id).await
    }

    async fn ssh(&self, id: &str, connection: tokio::net::UnixStream) -> Result<(), Error> {
        self.inner.ssh(id, connection).await
    }

    async fn registry_auth(&self, domain: &str) -> Result<Auth, Error> {
        self.inner.registry_auth(domain).await
    }

    async fn export_file(
        &self,
        exporter: usize,
        metadata: BTreeMap<String, String>,
    ) -> Result<Box<dyn FileSink>, Error> {
        self.inner.export_file(exporter, metadata).await
    }

    async fn export_tree(
        &self,
        exporter: usize,
        root: OwnedFd,
        time: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.inner.export_tree(exporter, root, time).await
    }

    async fn upload(&self, path: &str) -> Result<Upload, Error> {
        if path.trim_start_matches('/') != self.path.trim_start_matches('/') {
            return self.inner.upload(path).await;
        }
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = stream.take();
        let missing = || Error::NotFound("the body of the request was read already".to_owned());
        let pieces = taken.ok_or_else(missing)?;
        let read = |piece: std::io::Result<_>| piece.map_err(Error::file("read", "context"));
        Ok(pieces.map(read).boxed())
    }

    async fn content(&self, store: &str, digest: &Digest) -> Result<Upload, Error> {
        self.inner.content(store, digest).await
    }

    async fn put_content(
        &self,
        store: &str,
        blob: (&Digest, u64),
        content: Upload,
    ) -> Result<(), Error> {
        self.inner.put_content(store, blob, content).await
    }

    fn id(&self) -> &str {
        self.inner.id()
    }

    fn shared_key(&self) -> String {
        self.inner.shared_key()
    }
}
