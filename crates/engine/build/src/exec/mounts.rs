//! Mounts of a process, in the words of the OCI runtime specification.
//!
//! Trees are mounted inside the container: read-only layers as an overlay of their directories, one that is
//! written as an overlay with the upper directory of a snapshot. Nothing is mounted on the host.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use arca_containers::StepMount;

use super::secrets::SecretDir;
use super::stubs::Stubs;
use super::{secrets, ssh};
use crate::cache::CacheDir;
use crate::fs::path;
use crate::graph::{BindMount, CacheMount, Exec, ExecMount, ExecMountKind, SecretMount};
use crate::solve::{Snapshot, Step, blocking};
use crate::{Error, Tree};

mod layers;

/// All mounts, and what keeps them.
pub(super) struct Mounts {
    root: Snapshot,
    root_output: Option<usize>,
    root_read_only: bool,
    list: Vec<StepMount>,
    /// Written trees and the outputs they become, if any.
    written: Vec<(Snapshot, Option<usize>)>,
    /// Outputs that nothing can be written to: what came in goes out.
    unchanged: Vec<(Tree, usize)>,
    held: Vec<Held>,
    secrets: Option<SecretDir>,
    layered: Vec<Tree>,
}

/// What has to live as long as the process.
enum Held {
    Cache(#[expect(dead_code, reason = "kept for its drop")] CacheDir),
    Agent(#[expect(dead_code, reason = "kept for its drop")] ssh::Agent),
}

impl Mounts {
    /// Prepares all mounts of a process.
    pub(super) async fn prepare(step: &Step, exec: &Exec) -> Result<Self, Error> {
        let is_root = |mount: &&ExecMount| mount.target == "/";
        let root = exec.mounts.iter().find(is_root);
        let root = root.ok_or_else(|| Error::Invalid("no root mount found".to_owned()))?;
        let ExecMountKind::Bind(bind) = &root.kind else {
            return Err(Error::Invalid("the root mount is no tree".to_owned()));
        };
        if !matches!(bind.selector.trim_matches('/'), "" | ".") {
            let text = "a path within a tree is not supported for the root mount";
            return Err(Error::Unsupported(text.to_owned()));
        }
        let tree = input(step, bind.input).await?;
        let layers = tree.layers().unwrap_or_default();
        let mut mounts = Self {
            root: step.snapshot(layers).await?,
            root_output: bind.output,
            root_read_only: root.read_only,
            list: Vec::new(),
            written: Vec::new(),
            unchanged: Vec::new(),
            held: Vec::new(),
            secrets: None,
            layered: vec![tree],
        };
        let mut others: Vec<&ExecMount> = exec.mounts.iter().filter(|m| !is_root(m)).collect();
        others.sort_by_key(|mount| destination(exec, mount).matches('/').count());
        for mount in others {
            mounts.add(step, exec, mount).await?;
        }
        Ok(mounts)
    }

    pub(super) fn root(&self) -> &Snapshot {
        &self.root
    }

    pub(super) fn read_only_root(&self) -> bool {
        self.root_read_only
    }

    pub(super) fn list(&self) -> Vec<StepMount> {
        self.list.clone()
    }

    /// What mounts will leave in the root.
    pub(super) async fn stubs(&self, step: &Step) -> Result<Stubs, Error> {
        let targets = self.list.iter().map(|mount| mount.destination.clone());
        Stubs::look(step, &self.root, targets.collect()).await
    }

    /// What has become of the mounts that are outputs.
    pub(super) async fn outputs(self, count: usize) -> Result<Vec<Tree>, Error> {
        let mut outputs: Vec<Option<Tree>> = vec![None; count];
        let written = std::iter::once((self.root, self.root_output)).chain(self.written);
        for (snapshot, output) in written {
            if let Some(place) = output.and_then(|output| outputs.get_mut(output)) {
                *place = Some(snapshot.commit().await?);
            }
        }
        for (tree, output) in self.unchanged {
            if let Some(place) = outputs.get_mut(output) {
                *place = Some(tree);
            }
        }
        let missing = || Error::Invalid("an output of a process is no mount".to_owned());
        outputs
            .into_iter()
            .map(|tree| tree.ok_or_else(missing))
            .collect()
    }

    async fn add(&mut self, step: &Step, exec: &Exec, mount: &ExecMount) -> Result<(), Error> {
        let at = destination(exec, mount);
        match &mount.kind {
            ExecMountKind::Bind(bind) => self.bind(step, bind, &at, mount.read_only).await,
            ExecMountKind::Cache(cache) => self.cache(step, cache, &at, mount.read_only).await,
            ExecMountKind::Tmpfs(tmpfs) => {
                let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
                if tmpfs.size > 0 {
                    options.push(format!("size={}", tmpfs.size));
                }
                self.list.push(StepMount {
                    destination: at,
                    kind: "tmpfs".to_owned(),
                    source: "tmpfs".to_owned(),
                    options,
                });
                Ok(())
            }
            ExecMountKind::Secret(secret) => self.secret(step, secret, at).await,
            ExecMountKind::Ssh(agent) => {
                let name = self.list.len().to_string();
                let directory = self.memory(step)?;
                let forwarded = ssh::forward(step, agent, (directory, &name)).await?;
                if let Some((agent, path)) = forwarded {
                    self.list.push(bound(&path, at, &["rbind"]));
                    self.held.push(Held::Agent(agent));
                }
                Ok(())
            }
        }
    }

    fn memory(&mut self, step: &Step) -> Result<&SecretDir, Error> {
        let directory = match self.secrets.take() {
            Some(directory) => directory,
            None => step.job.0.service.secrets.directory()?,
        };
        Ok(self.secrets.insert(directory))
    }

    async fn secret(&mut self, step: &Step, mount: &SecretMount, at: String) -> Result<(), Error> {
        let Some(secret) = step.job.session().secret(&mount.id).await? else {
            if mount.optional {
                return Ok(());
            }
            return Err(Error::NotFound(format!("secret {}: not found", mount.id)));
        };
        let name = self.list.len().to_string();
        let file: &secrets::SecretDir = self.memory(step)?;
        let path = file.write(&name, &secret, (mount.uid, mount.gid, mount.mode))?;
        let options = ["rbind", "ro", "nosuid", "nodev", "noexec"];
        self.list.push(bound(&path, at, &options));
        Ok(())
    }

    async fn cache(
        &mut self,
        step: &Step,
        mount: &CacheMount,
        at: &str,
        read_only: bool,
    ) -> Result<(), Error> {
        let first = match mount.input {
            Some(input) => Some((step.input(input)?.clone(), mount.selector.clone())),
            None => None,
        };
        let directory = step.job.0.service.cache.mounts().take(step, mount, first);
        let directory = tokio::select! {
            () = step.cancel.cancelled() => return Err(Error::Cancelled),
            directory = directory => directory?,
        };
        let options: &[&str] = if read_only {
            &["rbind", "ro"]
        } else {
            &["rbind"]
        };
        self.list
            .push(bound(directory.path(), at.to_owned(), options));
        self.held.push(Held::Cache(directory));
        Ok(())
    }

    async fn bind(
        &mut self,
        step: &Step,
        mount: &BindMount,
        at: &str,
        read_only: bool,
    ) -> Result<(), Error> {
        let tree = match mount.input {
            Some(index) => step.input(index)?.clone(),
            None => Tree::of_layers(step.storage(), Vec::new()),
        };
        if read_only {
            self.unchanged
                .extend(mount.output.map(|output| (tree.clone(), output)));
            let found = layers::read_only(step, &tree, &mount.selector, at).await?;
            self.layered.push(tree);
            self.list.push(found);
            return Ok(());
        }
        let tree = step.layered(&tree).await?;
        let snapshot = step.snapshot(tree.layers().unwrap_or_default()).await?;
        let whole = matches!(mount.selector.trim_matches('/'), "" | ".");
        if !whole && mount.output.is_some() {
            let text = "a path within a tree is not supported for a mount that is an output";
            return Err(Error::Unsupported(text.to_owned()));
        }
        let written = step
            .storage()
            .written(snapshot.id())
            .map_err(Error::Storage)?;
        let found = layers::writable(step, &tree, (&mount.selector, written), at).await?;
        self.layered.push(tree);
        self.list.push(found);
        self.written.push((snapshot, mount.output));
        Ok(())
    }
}

async fn input(step: &Step, index: Option<usize>) -> Result<Tree, Error> {
    match index {
        Some(index) => step.layered(step.input(index)?).await,
        None => Ok(Tree::of_layers(step.storage(), Vec::new())),
    }
}

/// Where a mount is, from the root.
fn destination(exec: &Exec, mount: &ExecMount) -> String {
    if mount.target.starts_with('/') {
        mount.target.clone()
    } else {
        format!("/{}/{}", exec.cwd.trim_matches('/'), mount.target)
    }
}

/// A mount of something on the host.
pub(super) fn bound(source: &Path, destination: String, options: &[&str]) -> StepMount {
    StepMount {
        destination,
        kind: "bind".to_owned(),
        source: source.to_string_lossy().into_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

/// What a selector names in a tree, with links resolved.
async fn selected(step: &Step, tree: &Tree, selector: &str) -> Result<Selected, Error> {
    let root = tree.open(step.storage()).await?;
    let selector = selector.as_bytes().to_vec();
    blocking(move || {
        let at = path::resolve(root.as_fd(), &selector, true)
            .map_err(|error| Error::errno("resolve", path::shown(&selector))(error))?;
        let stat = crate::fs::digest::stat_of(root.as_fd(), &at)?.ok_or_else(|| {
            let shown = path::shown(selector.strip_prefix(b"/").unwrap_or(&selector));
            Error::NotFound(format!("{shown:?}: not found"))
        })?;
        Ok(Selected {
            directory: path::is_dir(&stat),
            at,
        })
    })
    .await
}

struct Selected {
    at: Vec<u8>,
    directory: bool,
}

impl Selected {
    fn below(&self, root: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        root.join(std::ffi::OsStr::from_bytes(&self.at))
    }
}
