//! The client's side of a build: its files and secrets, and where results are sent to.
//!
//! There are two: the classic request, whose body is the context, and BuildKit's session, where the
//! client serves files while the build runs (`arca-buildkit`).

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use arca_images::Auth;
use arca_types::{Digest, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;

use crate::Error;
use crate::graph::LocalDiffer;

/// What a build asks of its client.
#[async_trait]
pub trait BuildSession: Send + Sync + fmt::Debug {
    /// Makes the directory `destination` equal to the client's: what `request` selects is in it
    /// afterwards, with modes, owners as the client sends them, times, links, and nothing else. The
    /// directory may have the files of an earlier transfer; what is equal need not travel again.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the client has no such directory, [`Error::Invalid`] for paths that lead
    /// out of it, others as they come. What is in `destination` then is of no use.
    async fn local(&self, request: &LocalRequest, destination: &Path) -> Result<(), Error>;

    /// A secret; `None` when the client does not have it.
    ///
    /// # Errors
    /// When the client cannot be asked.
    async fn secret(&self, id: &str) -> Result<Option<Secret>, Error>;

    /// Does the client forward an SSH agent of this name (empty: `default`)?
    ///
    /// # Errors
    /// When the client cannot be asked.
    async fn has_ssh(&self, id: &str) -> Result<bool, Error>;

    /// Carries one connection to the agent, until either side is done.
    ///
    /// # Errors
    /// When the client cannot be asked.
    async fn ssh(&self, id: &str, connection: tokio::net::UnixStream) -> Result<(), Error>;

    /// The credentials for a registry, for `repository` with the rights `pull` or `push`.
    ///
    /// # Errors
    /// When the client cannot be asked.
    async fn registry_auth(&self, domain: &str) -> Result<Auth, Error>;

    /// Opens the file that the exporter with this number writes (`type=docker,dest=…`, `tar`, `oci`).
    ///
    /// # Errors
    /// [`Error::Invalid`] when the client takes none.
    async fn export_file(
        &self,
        exporter: usize,
        metadata: BTreeMap<String, String>,
    ) -> Result<Box<dyn FileSink>, Error>;

    /// Sends the tree below `root` to the directory that the exporter with this number writes
    /// (`type=local`). With `time`, that is the time of all of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the client takes none.
    async fn export_tree(
        &self,
        exporter: usize,
        root: OwnedFd,
        time: Option<Timestamp>,
    ) -> Result<(), Error>;

    /// What the client has at a path of its upload service, such as an archive on its standard input.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the client serves no uploads. Pieces fail when the client does.
    async fn upload(&self, path: &str) -> Result<Upload, Error> {
        Err(Error::NotFound(format!("no upload of the client: {path}")))
    }

    /// What a content store of the client has under a digest: `oci:NAME` is an OCI layout, `local:PATH` a
    /// cache in a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the client has it not. Pieces fail when the client does.
    async fn content(&self, store: &str, digest: &Digest) -> Result<Upload, Error> {
        Err(Error::NotFound(format!(
            "no content store of the client: {store}: {digest}"
        )))
    }

    /// Puts so many bytes with this digest into a content store of the client, unless it has them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the client has no such store; what it or `content` fails with.
    async fn put_content(
        &self,
        store: &str,
        blob: (&Digest, u64),
        content: Upload,
    ) -> Result<(), Error> {
        drop(content);
        let (digest, _) = blob;
        Err(Error::NotFound(format!(
            "no content store of the client: {store}: {digest}"
        )))
    }

    /// Its name, by which definitions say whose files they mean; empty for none.
    fn id(&self) -> &str {
        ""
    }

    /// The client's name for where its files are shared (`SharedKey`); empty for none.
    fn shared_key(&self) -> String {
        String::new()
    }
}

/// A file that is sent, in pieces.
pub type Upload = futures_util::stream::BoxStream<'static, Result<Bytes, Error>>;

/// A file at the client that is being written.
#[async_trait]
pub trait FileSink: Send {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// When the client does not take them.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// Ends the file. One that is dropped without was broken off.
    ///
    /// # Errors
    /// When the client did not take all of it.
    async fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Which files of the client's are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalRequest {
    /// The name of the directory, such as `context` or `dockerfile`.
    pub name: String,
    /// Only what matches one of these (patterns of `.dockerignore`); empty for everything.
    pub include: Vec<String>,
    /// Not what matches these.
    pub exclude: Vec<String>,
    /// Only these paths and what symbolic links on the way lead to; empty for everything.
    pub follow_paths: Vec<String>,
    /// How files are compared with those that are here.
    pub differ: LocalDiffer,
}

/// Bytes that are never shown.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Gives the bytes to who has to write them down.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A build without a client: it has no files and no secrets, and takes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSession;

#[async_trait]
impl BuildSession for NoSession {
    async fn local(&self, request: &LocalRequest, _: &Path) -> Result<(), Error> {
        Err(Error::NotFound(format!(
            "no access allowed to dir {:?}",
            request.name
        )))
    }

    async fn secret(&self, _: &str) -> Result<Option<Secret>, Error> {
        Ok(None)
    }

    async fn has_ssh(&self, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    async fn ssh(&self, id: &str, _: tokio::net::UnixStream) -> Result<(), Error> {
        Err(Error::NotFound(format!("unset ssh forward key {id}")))
    }

    async fn registry_auth(&self, _: &str) -> Result<Auth, Error> {
        Ok(Auth::Anonymous)
    }

    async fn export_file(
        &self,
        _: usize,
        _: BTreeMap<String, String>,
    ) -> Result<Box<dyn FileSink>, Error> {
        Err(Error::Invalid("no session to export to".to_owned()))
    }

    async fn export_tree(&self, _: usize, _: OwnedFd, _: Option<Timestamp>) -> Result<(), Error> {
        Err(Error::Invalid("no session to export to".to_owned()))
    }
}
