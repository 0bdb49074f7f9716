//! The Dockerfile, the build context and the ignore patterns: from the client, git, the web, or trees
//! that the client names.

use std::collections::BTreeMap;
use std::sync::Arc;

use arca_dockerfile::{GitUrl, Lines, git_url, ignore_file};

use super::options::Options;
use super::{Gateway, named};
use crate::Error;
use crate::graph::{
    Copy, Edge, FileAction, FileActionKind, FileInput, GitSource, HttpSource, LocalDiffer,
    LocalSource, Op, Source, SourceLocation, Vertex,
};
use crate::progress::{Range, SourceFile, Warning};
use crate::source::ssh::is_ssh;

/// What is built, and of what.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) file: Arc<SourceFile>,
    pub(super) text: String,
    /// The client's name for the directory that is the context.
    local: String,
    /// The context, if it is not the client's directory.
    context: Option<Edge>,
    /// The ignore file beside the Dockerfile: it takes the place of the context's.
    own_ignore: Option<Vec<u8>>,
    /// What made the Dockerfile: warnings are about it.
    vertex: Edge,
    /// Trees that the client names.
    pub(super) inputs: BTreeMap<String, Edge>,
}

/// Where the Dockerfile and the context are.
struct Place {
    filename: String,
    dockerfile: Option<Edge>,
    dockerfile_local: String,
    context: Option<Edge>,
}

impl Definition {
    /// Finds the context and reads the Dockerfile.
    pub(super) async fn load(
        options: &Options,
        inputs: &BTreeMap<String, Edge>,
        gateway: &dyn Gateway,
    ) -> Result<Self, Error> {
        let place = place(options, inputs, gateway).await?;
        let tree = match &place.dockerfile {
            Some(tree) => tree.clone(),
            None => local_dockerfile(options, &place),
        };
        let data = read_dockerfile(gateway, &tree, &place.filename).await?;
        let ignore_name = format!("{}.dockerignore", place.filename);
        let own_ignore = gateway.read_file(&tree, &ignore_name).await?;
        Ok(Self {
            text: String::from_utf8_lossy(&data).into_owned(),
            file: Arc::new(SourceFile {
                filename: place.filename,
                data,
                language: "Dockerfile".to_owned(),
            }),
            local: "context".to_owned(),
            context: place.context,
            own_ignore,
            vertex: tree,
            inputs: inputs.clone(),
        })
    }

    /// The patterns of what is no part of the context. A context that is no directory of the client
    /// has none.
    pub(super) async fn ignored(
        &self,
        options: &Options,
        gateway: &dyn Gateway,
    ) -> Result<Vec<String>, Error> {
        if self.context.is_some() {
            return Ok(Vec::new());
        }
        let data = match &self.own_ignore {
            Some(data) => Some(data.clone()),
            None => {
                let source = LocalSource {
                    name: self.local.clone(),
                    session: session(options, &self.local),
                    follow_paths: vec![".dockerignore".to_owned()],
                    shared_key_hint: format!("{}-.dockerignore", self.local),
                    differ: LocalDiffer::None,
                    ..LocalSource::default()
                };
                let tree = local(source, "[internal] load .dockerignore");
                // A client without the directory is told so when a file of it is used.
                gateway
                    .read_file(&tree, ".dockerignore")
                    .await
                    .unwrap_or_default()
            }
        };
        Ok(ignore_file(&String::from_utf8_lossy(
            &data.unwrap_or_default(),
        )))
    }

    /// The context: of the client's directory only what `paths` need.
    pub(super) fn context(
        &self,
        options: &Options,
        exclude: Vec<String>,
        paths: Vec<String>,
    ) -> Edge {
        if let Some(context) = &self.context {
            return context.clone();
        }
        let source = LocalSource {
            name: self.local.clone(),
            session: session(options, &self.local),
            exclude,
            follow_paths: paths,
            shared_key_hint: self.local.clone(),
            ..LocalSource::default()
        };
        local(source, "[internal] load build context")
    }

    /// Lines of the Dockerfile.
    pub(super) fn location(&self, lines: &[Lines]) -> SourceLocation {
        SourceLocation {
            file: Arc::clone(&self.file),
            ranges: ranges(lines),
        }
    }

    /// An error, and the lines that it is about.
    pub(super) fn located(&self, error: Error, lines: &[Lines]) -> Error {
        let location = self.location(lines);
        Error::Located {
            cause: Box::new(error),
            location: Box::new(location),
        }
    }

    /// A warning as clients are told.
    pub(super) fn warning(&self, warning: &arca_dockerfile::Warning) -> Warning {
        Warning {
            vertex: Some(self.vertex.vertex.digest().clone()),
            level: 1,
            short: warning.short(),
            detail: vec![warning.rule.description().to_owned()],
            url: warning.rule.url(),
            source: Some(SourceFile::clone(&self.file)),
            ranges: ranges(&warning.lines),
        }
    }
}

/// One range for each line, as BuildKit has them.
pub(super) fn ranges(lines: &[Lines]) -> Vec<Range> {
    let all = lines.iter().flat_map(|lines| lines.start..=lines.end);
    all.map(|line| Range {
        start: (line, 0),
        end: (line, 0),
    })
    .collect()
}

/// The session that has a directory, if it is not the build's.
pub(super) fn session(options: &Options, local: &str) -> String {
    options.text(&format!("local-sessionid:{local}")).to_owned()
}

/// A directory of the client.
pub(super) fn local(source: LocalSource, name: &str) -> Edge {
    Vertex::new(
        Op::Source(Source::Local(source)),
        Vec::new(),
        None,
        named(name),
    )
    .output(0)
}

async fn place(
    options: &Options,
    inputs: &BTreeMap<String, Edge>,
    gateway: &dyn Gateway,
) -> Result<Place, Error> {
    let key = options
        .all
        .get("contextkey")
        .map_or("context", String::as_str);
    let asked = options.text(key);
    let own_dockerfile = options.all.get("dockerfilekey");
    let mut place = Place {
        filename: options
            .all
            .get("filename")
            .map_or("Dockerfile", String::as_str)
            .to_owned(),
        dockerfile: None,
        dockerfile_local: own_dockerfile
            .map_or("dockerfile", String::as_str)
            .to_owned(),
        context: None,
    };
    let keep = arca_dockerfile::boolean(options.argument("BUILDKIT_CONTEXT_KEEP_GIT_DIR"));
    if let Some(url) = git(asked)? {
        place.context = Some(git_context(&url, asked, keep));
        place.dockerfile.clone_from(&place.context);
    } else if asked.starts_with("http://") || asked.starts_with("https://") {
        web_context(asked, &mut place, gateway).await?;
    } else {
        place.dockerfile = inputs.get("dockerfile").cloned();
        place.context = inputs.get("context").cloned();
    }
    if own_dockerfile.is_some() {
        place.dockerfile = None;
    }
    if let (Some(context), Some(directory)) = (&place.context, options.all.get("contextsubdir")) {
        place.context = Some(below(context, directory));
    }
    Ok(place)
}

/// The repository that `text` names, if it does.
pub(super) fn git(text: &str) -> Result<Option<GitUrl>, Error> {
    git_url(text).map_err(|error| Error::Invalid(error.to_string()))
}

/// A repository as a context.
pub(super) fn git_context(url: &GitUrl, asked: &str, keep: Option<bool>) -> Edge {
    let keep_git_dir = keep.unwrap_or_default() || url.keep_git_dir.unwrap_or_default();
    let source = git_source(url, keep_git_dir, url.checksum.clone());
    let name = format!("[internal] load git source {asked}");
    Vertex::new(
        Op::Source(Source::Git(source)),
        Vec::new(),
        None,
        named(name),
    )
    .output(0)
}

/// A repository as a source.
pub(super) fn git_source(url: &GitUrl, keep_git_dir: bool, checksum: String) -> GitSource {
    let remote = if url.looks_local {
        format!("https://{}", url.remote)
    } else {
        url.remote.clone()
    };
    GitSource {
        // The agent that clients forward when nothing else is said.
        mount_ssh_sock: is_ssh(&remote).then(|| "default".to_owned()),
        remote,
        reference: url.reference.clone(),
        subdir: url.directory.clone(),
        checksum,
        keep_git_dir,
        skip_submodules: url.submodules == Some(false),
        auth_token_secret: "GIT_AUTH_TOKEN".to_owned(),
        auth_header_secret: "GIT_AUTH_HEADER".to_owned(),
        ..GitSource::default()
    }
}

/// A file from the web: an archive is the context, anything else is the Dockerfile.
async fn web_context(url: &str, place: &mut Place, gateway: &dyn Gateway) -> Result<(), Error> {
    let source = HttpSource {
        url: url.to_owned(),
        filename: "context".to_owned(),
        ..HttpSource::default()
    };
    let name = named("[internal] load remote build context");
    let file = Vertex::new(Op::Source(Source::Http(source)), Vec::new(), None, name).output(0);
    let data = gateway
        .read_file(&file, "context")
        .await
        .map_err(|error| error.context("failed to read downloaded context"))?
        .unwrap_or_default();
    let context = if is_archive(&data) {
        let copy = Copy {
            source: "/context".to_owned(),
            destination: "/".to_owned(),
            attempt_unpack: true,
            ..Copy::default()
        };
        copied(&file, copy)
    } else {
        "context".clone_into(&mut place.filename);
        file
    };
    place.dockerfile = Some(context.clone());
    place.context = Some(context);
    Ok(())
}

/// What is in `directory` of `tree`.
fn below(tree: &Edge, directory: &str) -> Edge {
    let copy = Copy {
        source: arca_dockerfile::clean_path(&format!("/{directory}")),
        destination: "/".to_owned(),
        dir_copy_contents: true,
        ..Copy::default()
    };
    copied(tree, copy)
}

fn copied(tree: &Edge, copy: Copy) -> Edge {
    let action = FileAction {
        input: None,
        secondary: Some(FileInput::Input(0)),
        output: Some(0),
        kind: FileActionKind::Copy(Box::new(copy)),
    };
    Vertex::new(Op::File(vec![action]), vec![tree.clone()], None, named("")).output(0)
}

/// A tar archive, plain or compressed with what the classic builder knows.
fn is_archive(data: &[u8]) -> bool {
    let magics: [&[u8]; 3] = [b"BZh", &[0x1f, 0x8b, 8], &[0xfd, b'7', b'z', b'X', b'Z', 0]];
    let tar = data.get(257..262).is_some_and(|magic| magic == b"ustar");
    tar || magics.iter().any(|magic| data.starts_with(magic))
}

fn local_dockerfile(options: &Options, place: &Place) -> Edge {
    let filename = &place.filename;
    let mut follow_paths = vec![filename.clone(), format!("{filename}.dockerignore")];
    follow_paths.extend(lower_case(filename));
    let source = LocalSource {
        name: place.dockerfile_local.clone(),
        session: session(options, &place.dockerfile_local),
        follow_paths,
        shared_key_hint: place.dockerfile_local.clone(),
        differ: LocalDiffer::None,
        ..LocalSource::default()
    };
    local(
        source,
        &format!("[internal] load build definition from {filename}"),
    )
}

/// `dockerfile` in place of `Dockerfile`: it is taken when the other is missing.
fn lower_case(filename: &str) -> Option<String> {
    let directory = filename.strip_suffix("Dockerfile")?;
    (directory.is_empty() || directory.ends_with('/')).then(|| format!("{directory}dockerfile"))
}

async fn read_dockerfile(
    gateway: &dyn Gateway,
    tree: &Edge,
    filename: &str,
) -> Result<Vec<u8>, Error> {
    let failed = |error: Error| error.context("failed to read dockerfile");
    if let Some(data) = gateway.read_file(tree, filename).await.map_err(failed)? {
        return Ok(data);
    }
    if let Some(other) = lower_case(filename)
        && let Some(data) = gateway.read_file(tree, &other).await.map_err(failed)?
    {
        return Ok(data);
    }
    let base = filename.rsplit('/').next().unwrap_or_default();
    Err(failed(Error::NotFound(format!(
        "open {base}: no such file or directory"
    ))))
}
