//! The context: files of the client, on disk for the time of the build.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use arca_archive::{ExtractOptions, open_in_root};
use arca_dockerfile::{Dockerfile, Linter, PatternMatcher, git_url, ignore_file};
use arca_types::random_hex;
use futures_util::TryStreamExt as _;
use rustix::fs::OFlags;

use super::reader::reader;
use super::{ClassicContext, ClassicLine, ClassicRequest, ClassicSink, tell};
use crate::Error;
use crate::builder::Builder;
use crate::fs::unpack;
use crate::graph::{GitSource, Metadata, Op, Source, Vertex};
use crate::request::JobRequest;
use crate::session::NoSession;
use crate::solve::blocking;

/// The most bytes of a Dockerfile.
const DOCKERFILE: u64 = 16 << 20;

/// Files of the client. They go with this.
#[derive(Debug)]
pub(super) struct Context {
    path: PathBuf,
    dockerfile: String,
}

impl Drop for Context {
    fn drop(&mut self) {
        let path = self.path.clone();
        std::thread::spawn(move || {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(%error, "the context of a build is left behind");
            }
        });
    }
}

impl Context {
    /// Brings the files here and takes away what `.dockerignore` names.
    pub(super) async fn prepare(
        builder: &Builder,
        request: &ClassicRequest,
        context: ClassicContext,
        sink: &ClassicSink,
    ) -> Result<Self, Error> {
        let root = builder.0.root().join("classic");
        let path = root.join(random_hex(8));
        let made = path.clone();
        blocking(move || std::fs::create_dir_all(&made).map_err(Error::file("create", &made)))
            .await?;
        let mut prepared = Self {
            path,
            dockerfile: String::new(),
        };
        let alone = match context {
            ClassicContext::Archive(stream) => {
                prepared.unpack(stream).await?;
                None
            }
            ClassicContext::Remote(address) => prepared.remote(builder, &address, sink).await?,
        };
        let wanted = request.dockerfile.clone();
        let root = prepared.open()?;
        prepared.dockerfile = match alone {
            Some(dockerfile) => dockerfile,
            None => {
                blocking(move || {
                    let text = dockerfile(&root, &wanted)?;
                    ignore(&root)?;
                    Ok(text)
                })
                .await?
            }
        };
        Ok(prepared)
    }

    /// The directory.
    pub(super) fn open(&self) -> Result<OwnedFd, Error> {
        arca_archive::open_root(&self.path).map_err(Error::errno("open", &self.path))
    }

    /// Reads the Dockerfile.
    pub(super) fn parse(&self, request: &ClassicRequest) -> Result<Dockerfile, Error> {
        let name = match request.dockerfile.as_str() {
            "" => "Dockerfile",
            name => name,
        };
        if self.dockerfile.is_empty() {
            return Err(Error::Invalid(format!(
                "the Dockerfile ({name}) cannot be empty"
            )));
        }
        Dockerfile::parse(&self.dockerfile, &mut Linter::silent())
            .map_err(|error| Error::Invalid(error.to_string()))
    }

    async fn unpack(&self, stream: arca_images::ByteStream) -> Result<(), Error> {
        let (input, feeding) = reader(stream);
        let root = self.open()?;
        let unpacking = blocking(move || {
            let options = ExtractOptions {
                owner: Some((0, 0)),
                ..ExtractOptions::default()
            };
            let failed = Error::file("read", "context");
            let mut input =
                unpack::decoder(BufReader::with_capacity(64 << 10, input)).map_err(failed)?;
            arca_archive::extract(&mut input, &root, &options).map_err(Error::Archive)?;
            // What follows the archive is of no interest, but has to be taken.
            let drained = std::io::copy(&mut input, &mut std::io::sink());
            drained.map(drop).map_err(Error::file("read", "context"))
        });
        // Whoever unpacks ends when the stream does, and the other way round.
        let (unpacked, ()) = tokio::join!(unpacking, feeding);
        unpacked
    }

    /// Fetches a context; returns the Dockerfile if it is one alone.
    async fn remote(
        &self,
        builder: &Builder,
        address: &str,
        sink: &ClassicSink,
    ) -> Result<Option<String>, Error> {
        let git = git_url(address).map_err(|error| Error::Invalid(error.to_string()))?;
        let is_file = address.starts_with("http") && !address.contains(".git");
        if let Some(git) = git.filter(|_| !is_file) {
            self.clone_repository(builder, git).await?;
            return Ok(None);
        }
        if !address.starts_with("http://") && !address.starts_with("https://") {
            let text = format!("remoteURL ({address}) could not be recognized as URL");
            return Err(Error::Invalid(text));
        }
        let line = format!("Downloading build context from remote url: {address}\n");
        let fetched = builder.0.backends.registry.fetch(address).await;
        let fetched = fetched.map_err(|cause| Error::Http {
            what: format!("failed to download {address}"),
            cause: Box::new(cause),
        })?;
        tell(sink, ClassicLine::Stream(line)).await;
        let (input, feeding) = reader(Box::pin(fetched.content.into_stream()));
        let root = self.open()?;
        let reading = blocking(move || {
            let failed = || Error::file("read", "context");
            let mut input = BufReader::with_capacity(64 << 10, input);
            let start = input.fill_buf().map_err(failed())?;
            // Text has no zeros; archives and what is compressed do.
            if !start.contains(&0) {
                let mut text = String::new();
                input
                    .take(DOCKERFILE)
                    .read_to_string(&mut text)
                    .map_err(failed())?;
                return Ok(Some(text));
            }
            let input = unpack::decoder(input).map_err(failed())?;
            let options = ExtractOptions {
                owner: Some((0, 0)),
                ..ExtractOptions::default()
            };
            arca_archive::extract(input, &root, &options).map_err(Error::Archive)?;
            Ok(None)
        });
        let (read, ()) = tokio::join!(reading, feeding);
        read
    }

    async fn clone_repository(
        &self,
        builder: &Builder,
        git: arca_dockerfile::GitUrl,
    ) -> Result<(), Error> {
        let job = builder.begin(JobRequest {
            id: String::new(),
            session: Arc::new(NoSession),
            entitlements: std::collections::BTreeSet::new(),
            limits: crate::Limits::default(),
        })?;
        let source = GitSource {
            remote: git.remote,
            reference: git.reference,
            subdir: git.directory,
            checksum: git.checksum,
            keep_git_dir: git.keep_git_dir.unwrap_or(true),
            skip_submodules: !git.submodules.unwrap_or(true),
            ..GitSource::default()
        };
        let op = Op::Source(Source::Git(source));
        let vertex = Vertex::new(op, Vec::new(), None, Metadata::default());
        let tree = job.evaluate(&vertex.output(0)).await;
        job.end();
        let tree = tree.map_err(|error| error.context("unable to prepare context"))?;
        let from = tree.open(builder.0.storage()).await?;
        let to = self.open()?;
        blocking(move || arca_archive::copy_tree(&from, &to, false).map_err(Error::Archive)).await
    }
}

/// The text of the Dockerfile.
fn dockerfile(root: &OwnedFd, wanted: &str) -> Result<String, Error> {
    let name = if wanted.is_empty() {
        "Dockerfile"
    } else {
        wanted
    };
    let mut opened = read(root, name)?;
    if opened.is_none() && wanted.is_empty() {
        opened = read(root, "dockerfile")?;
    }
    opened.ok_or_else(|| Error::Failed(format!("Cannot locate specified Dockerfile: {name}")))
}

fn read(root: &OwnedFd, name: &str) -> Result<Option<String>, Error> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = match open_in_root(root, name.as_bytes(), flags) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        opened => opened.map_err(Error::errno("open", name))?,
    };
    let mut bytes = Vec::new();
    std::fs::File::from(opened)
        .take(DOCKERFILE)
        .read_to_end(&mut bytes)
        .map_err(Error::file("read", name))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

/// Removes what `.dockerignore` names.
fn ignore(root: &OwnedFd) -> Result<(), Error> {
    let Some(text) = read(root, ".dockerignore")? else {
        return Ok(());
    };
    let mut patterns = ignore_file(&text);
    patterns.retain(|pattern| pattern != ".");
    let matcher = PatternMatcher::new(patterns.iter().map(String::as_str))
        .map_err(|error| Error::Invalid(format!("Error checking context: '{error}'.")))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let start = open_in_root(root, b".", flags).map_err(Error::errno("open", "."))?;
    let mut walk = arca_archive::Walk::below(start).map_err(Error::Archive)?;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    while let Some(node) = walk.next_node().map_err(Error::Archive)? {
        if matcher.matches(&String::from_utf8_lossy(&node.path)) {
            if node.directory.is_some() {
                directories.push(node.path);
            } else {
                files.push(node.path);
            }
        }
    }
    for path in files {
        let (above, name) = crate::fs::path::split(&path);
        let parent = crate::fs::path::open_dir(root.as_fd(), above);
        let removed = parent.and_then(|parent| arca_archive::remove_tree(&parent, name));
        removed.map_err(|error| Error::errno("remove", crate::fs::path::shown(&path))(error))?;
    }
    // Those that have something left in them stay.
    for path in directories.iter().rev() {
        let (above, name) = crate::fs::path::split(path);
        if let Ok(parent) = crate::fs::path::open_dir(root.as_fd(), above) {
            let removed = rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::REMOVEDIR);
            tracing::trace!(?removed, "an ignored directory");
        }
    }
    Ok(())
}
