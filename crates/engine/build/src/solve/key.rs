//! Cache keys: an operation and the contents of its inputs.

use std::os::fd::{AsFd as _, OwnedFd};

use arca_types::Digest;
use serde::Serialize;

use super::Step;
use super::run::blocking;
use crate::fs::{copy, digest, path};
use crate::graph::{
    Copy, Exec, ExecMountKind, FileAction, FileActionKind, FileInput, Op, digest_json,
};
use crate::{Error, Tree, source};

/// The version of what keys are made of: changes with the meaning of an operation.
const VERSION: u32 = 1;

/// The key of a step.
pub(crate) async fn of(step: &Step) -> Result<Digest, Error> {
    let platform = step.vertex.platform().map(ToString::to_string);
    let key = match step.vertex.op() {
        Op::Source(source) => return source::key(step, source).await,
        Op::Exec(exec) => of_exec(step, exec).await?,
        Op::File(actions) => of_file(step, actions).await?,
        op @ (Op::Merge | Op::Diff { .. }) => {
            let mut inputs = Vec::new();
            for input in &step.inputs {
                inputs.push(of_tree(step, input).await?);
            }
            digest_json(&(op, inputs))
        }
    };
    Ok(digest_json(&(VERSION, key, platform)))
}

/// A process: what it is, its mounts by contents; neither proxies nor values of secrets.
async fn of_exec(step: &Step, exec: &Exec) -> Result<Digest, Error> {
    let mut plain = exec.clone();
    plain.proxy = None;
    let mut contents = Vec::new();
    for mount in &exec.mounts {
        let (input, selector) = match &mount.kind {
            ExecMountKind::Bind(bind) => (bind.input, bind.selector.as_str()),
            ExecMountKind::Cache(cache) => (cache.input, cache.selector.as_str()),
            _ => (None, ""),
        };
        let Some(input) = input else {
            contents.push(None);
            continue;
        };
        let tree = step.input(input)?;
        let whole = matches!(selector.trim_matches('/'), "" | ".");
        let written = matches!(&mount.kind, ExecMountKind::Bind(bind) if bind.output.is_some());
        contents.push(Some(if written && whole {
            of_tree(step, tree).await?
        } else {
            of_contents(step, tree, selector).await?
        }));
    }
    for mount in &mut plain.mounts {
        // Which input it is says nothing; what is in it does.
        match &mut mount.kind {
            ExecMountKind::Bind(bind) => bind.input = bind.input.map(|_| 0),
            ExecMountKind::Cache(cache) => cache.input = cache.input.map(|_| 0),
            _ => {}
        }
    }
    Ok(digest_json(&(plain, contents)))
}

/// Changes to files: the actions, what they start from, and exactly what is copied.
async fn of_file(step: &Step, actions: &[FileAction]) -> Result<Digest, Error> {
    let mut parts = Vec::new();
    for action in actions {
        let base = match action.input {
            Some(FileInput::Input(input)) => Some(of_tree(step, step.input(input)?).await?),
            _ => None,
        };
        let copied = match (&action.kind, action.secondary) {
            (FileActionKind::Copy(copy), Some(FileInput::Input(input))) => {
                Some(of_copy(step, step.input(input)?, copy).await?)
            }
            _ => None,
        };
        let mut owners = Vec::new();
        for input in crate::file::owner_inputs(&action.kind) {
            if let FileInput::Input(input) = input {
                owners.push(of_tree(step, step.input(input)?).await?);
            }
        }
        let plain = FileAction {
            input: action.input.map(unnumbered),
            secondary: action.secondary.map(unnumbered),
            ..action.clone()
        };
        parts.push((plain, base, copied, owners));
    }
    Ok(digest_json(&parts))
}

fn unnumbered(input: FileInput) -> FileInput {
    match input {
        FileInput::Input(_) => FileInput::Input(0),
        action @ FileInput::Action(_) => action,
    }
}

/// The files that a copy takes, by name and contents.
async fn of_copy(step: &Step, tree: &Tree, wanted: &Copy) -> Result<Digest, Error> {
    let root = tree.open(step.storage()).await?;
    let memo = memo(
        tree,
        &(
            wanted.source.as_str(),
            &wanted.include,
            &wanted.exclude,
            wanted.follow_symlink,
        ),
    );
    let cache = &step.job.0.service.cache;
    if let Some(known) = memo.as_ref().and_then(|memo| cache.digest(memo)) {
        return Ok(known);
    }
    let (tree, wanted) = (tree.clone(), wanted.clone());
    let named = reference(step, &tree);
    let digest = blocking(move || {
        let not_found = |path: &str| {
            Error::NotFound(format!(
                "failed to compute cache key: failed to calculate checksum of ref {named}: {path:?}: not found"
            ))
        };
        let selection = copy::Selection::of(&wanted.include, &wanted.exclude)?;
        let select = |path: &[u8], directory| {
            selection
                .as_ref()
                .is_none_or(|selection| selection.takes(path, directory))
        };
        let select: digest::Select<'_> = match &selection {
            Some(_) => Some(&select),
            None => None,
        };
        let known = tree.known();
        let sources = copy::sources(root.as_fd(), &wanted)
            .map_err(|_nothing| not_found(&wanted.source))?;
        let mut parts: Vec<(String, Digest)> = Vec::new();
        for source in sources {
            let digest = of_path(&root, &source, known.as_deref(), select)?;
            let shown = path::shown(source.strip_prefix(b"/").unwrap_or(&source));
            parts.push((shown.clone(), digest.ok_or_else(|| not_found(&shown))?));
        }
        Ok(digest_json(&parts))
    })
    .await?;
    if let Some(memo) = memo {
        cache.remember_digest(memo, digest.clone());
    }
    Ok(digest)
}

/// What is below a path, by contents.
async fn of_contents(step: &Step, tree: &Tree, selector: &str) -> Result<Digest, Error> {
    let memo = memo(tree, &selector);
    let cache = &step.job.0.service.cache;
    if let Some(known) = memo.as_ref().and_then(|memo| cache.digest(memo)) {
        return Ok(known);
    }
    let root = tree.open(step.storage()).await?;
    let (known, named) = (tree.known(), reference(step, tree));
    let at = selector.as_bytes().to_vec();
    let digest = blocking(move || {
        of_path(&root, &at, known.as_deref(), None)?.ok_or_else(|| {
            let at = path::shown(at.strip_prefix(b"/").unwrap_or(&at));
            Error::NotFound(format!(
                "failed to compute cache key: failed to calculate checksum of ref {named}: {at:?}: not found"
            ))
        })
    })
    .await?;
    if let Some(memo) = memo {
        cache.remember_digest(memo, digest.clone());
    }
    Ok(digest)
}

fn of_path(
    root: &OwnedFd,
    at: &[u8],
    known: Option<&digest::Known>,
    select: digest::Select<'_>,
) -> Result<Option<Digest>, Error> {
    let resolved = path::resolve(root.as_fd(), at, true)
        .map_err(|error| Error::errno("resolve", path::shown(at))(error))?;
    digest::of_path(root.as_fd(), &resolved, known, select)
}

/// A whole tree: its layers where it has some, else its contents.
async fn of_tree(step: &Step, tree: &Tree) -> Result<Digest, Error> {
    if tree.layers().is_some() {
        return Ok(tree.identity());
    }
    of_contents(step, tree, "").await
}

/// The name of what was computed of layers, which never change.
fn memo(tree: &Tree, what: &impl Serialize) -> Option<Digest> {
    tree.layers()?;
    Some(digest_json(&(tree.identity(), what)))
}

/// A name for people.
fn reference(step: &Step, tree: &Tree) -> String {
    let hex = tree.identity();
    let hex = hex.hex();
    let short = hex.get(..25).unwrap_or(hex);
    format!("{}::{short}", step.job.id())
}
