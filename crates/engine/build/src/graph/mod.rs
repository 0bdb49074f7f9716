//! What is to be built: a graph of operations, content-addressed, with LLB's operations.
//!
//! A [`Vertex`] is one operation with its inputs; it has one or more outputs, each of which is a tree of
//! files. An [`Edge`] is one output of a vertex. A definition that a client sends (`solver/pb` in BuildKit)
//! converts one to one; front ends make vertices with [`Vertex::new`].
//!
//! The digest of a vertex names it in progress and joins equal vertices of one graph. It is not its
//! cache key, which is taken of the contents of its inputs.

mod exec;
mod file;
mod source;

use std::sync::Arc;

use arca_types::{Digest, Platform};
use serde::Serialize;
use sha2::Digest as _;

use crate::progress::{Range, SourceFile};

pub use exec::{
    BindMount, CacheMount, CacheSharing, Exec, ExecMount, ExecMountKind, ExtraHost, NetworkMode,
    ProxyEnv, SecretEnv, SecretMount, SecurityMode, SshMount, TmpfsMount, Ulimit,
};
pub use file::{
    Copy, FileAction, FileActionKind, FileInput, MkDir, MkFile, Mode, Owner, OwnerName, Rm,
};
pub use source::{
    GitSource, HttpSource, ImageSource, LocalDiffer, LocalSource, OciLayoutSource, ResolveMode,
    Source,
};

/// One operation and what it works on. Made once, never changed.
#[derive(Debug)]
pub struct Vertex {
    digest: Digest,
    op: Op,
    inputs: Vec<Edge>,
    platform: Option<Platform>,
    metadata: Metadata,
}

impl Drop for Vertex {
    /// One vertex after the other: a graph may be deeper than the stack.
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut self.inputs);
        while let Some(input) = waiting.pop() {
            if let Some(mut vertex) = Arc::into_inner(input.vertex) {
                waiting.append(&mut vertex.inputs);
            }
        }
    }
}

/// One output of a vertex: a tree of files.
#[derive(Debug, Clone)]
pub struct Edge {
    /// What makes it.
    pub vertex: Arc<Vertex>,
    /// Which of its outputs, from 0.
    pub output: usize,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Files from outside. No inputs.
    Source(Source),
    /// A process. Inputs are what its mounts name.
    Exec(Box<Exec>),
    /// Changes to files. Inputs are what its actions name.
    File(Vec<FileAction>),
    /// The inputs on top of each other, the lowest first.
    Merge,
    /// What the second input has and the first has not. `None` is an empty tree.
    Diff {
        /// Index of the lower input.
        lower: Option<usize>,
        /// Index of the upper input.
        upper: Option<usize>,
    },
}

/// What is said about a vertex and does not change what it makes (`pb.OpMetadata`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Shown to people, such as `[build 2/3] RUN make`; empty for a name made of the operation.
    pub name: String,
    /// Run it even if its result is in the cache.
    pub ignore_cache: bool,
    /// Further descriptions (`llb.custom`, `com.docker.dockerfile.v1.command`).
    pub description: std::collections::BTreeMap<String, String>,
    /// The group it is shown in.
    pub progress_group: Option<ProgressGroup>,
    /// The lines that it comes from.
    pub location: Option<Box<SourceLocation>>,
}

/// Lines of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Which lines of it.
    pub ranges: Vec<Range>,
}

/// Vertices that are shown as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressGroup {
    /// Identity.
    pub id: String,
    /// Shown to people.
    pub name: String,
    /// Is it shown only if it does something?
    pub weak: bool,
}

impl Vertex {
    /// Makes a vertex; its digest is taken of the operation, the inputs and the platform.
    #[must_use]
    pub fn new(
        op: Op,
        inputs: Vec<Edge>,
        platform: Option<Platform>,
        metadata: Metadata,
    ) -> Arc<Self> {
        let digest = digest_of(&op, &inputs, platform.as_ref());
        Self::with_digest(digest, op, inputs, platform, metadata)
    }

    /// Makes a vertex of a definition that somebody else has digested.
    #[must_use]
    pub fn with_digest(
        digest: Digest,
        op: Op,
        inputs: Vec<Edge>,
        platform: Option<Platform>,
        metadata: Metadata,
    ) -> Arc<Self> {
        Arc::new(Self {
            digest,
            op,
            inputs,
            platform,
            metadata,
        })
    }

    /// Its identity.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What it does.
    #[must_use]
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// What it works on.
    #[must_use]
    pub fn inputs(&self) -> &[Edge] {
        &self.inputs
    }

    /// The platform it is made for.
    #[must_use]
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// What is said about it.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// One of its outputs.
    #[must_use]
    pub fn output(self: &Arc<Self>, output: usize) -> Edge {
        Edge {
            vertex: Arc::clone(self),
            output,
        }
    }

    /// What people see of it.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(name) = self.metadata.description.get("llb.customname") {
            return name.clone();
        }
        if !self.metadata.name.is_empty() {
            return self.metadata.name.clone();
        }
        self.op.name()
    }
}

impl Op {
    /// A name for people, as BuildKit's.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Source(source) => source.identifier(),
            Self::Exec(exec) => exec.args.join(" "),
            Self::File(actions) => {
                let names: Vec<String> = actions.iter().map(FileAction::name).collect();
                names.join(", ")
            }
            Self::Merge => "merge".to_owned(),
            Self::Diff { .. } => "diff".to_owned(),
        }
    }
}

/// The digest of a value of this module's types.
pub(crate) fn digest_json(value: &impl Serialize) -> Digest {
    // Plain data of strings and numbers: it can be written.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Digest::sha256(&sha2::Sha256::digest(&bytes).into())
}

fn digest_of(op: &Op, inputs: &[Edge], platform: Option<&Platform>) -> Digest {
    let inputs: Vec<(&str, usize)> = inputs
        .iter()
        .map(|edge| (edge.vertex.digest.as_str(), edge.output))
        .collect();
    let platform = platform.map(ToString::to_string);
    digest_json(&(op, inputs, platform))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_of_any_depth_goes_as_it_came() {
        let mut last: Option<Edge> = None;
        for number in 0..100_000_u32 {
            let digest: Digest = digest_json(&number);
            let inputs = last.take().into_iter().collect();
            let vertex = Vertex::with_digest(digest, Op::Merge, inputs, None, Metadata::default());
            last = Some(vertex.output(0));
        }
        let first = Arc::downgrade(&last.as_ref().unwrap().vertex.inputs()[0].vertex);
        drop(last);
        assert!(first.upgrade().is_none());
    }
}
