//! `COPY`, `ADD` and `WORKDIR`: instructions that change files.

use std::os::fd::{AsFd as _, OwnedFd};

use arca_dockerfile::{Add, Copy as CopyInstruction, Transfer};
use arca_types::{ContainerId, DiffId, Digest};

use super::download::Download;
use super::instruction::requires_buildkit;
use super::stage::Build;
use crate::Error;
use crate::fs::{copy, digest, edit, glob, path, users};
use crate::graph::{Copy, digest_json};
use crate::solve::blocking;

/// Files that are to be copied.
struct Sources {
    root: OwnedFd,
    /// Paths below the root.
    paths: Vec<Vec<u8>>,
    /// What history and cache have for them: `file:…`, `dir:…`, `multi:…`.
    hash: String,
    /// They were downloaded: what they are does not matter.
    remote: bool,
}

impl Build {
    pub(super) async fn copy(&mut self, copy: &CopyInstruction) -> Result<(), Error> {
        if !copy.transfer.chmod.is_empty() {
            return Err(requires_buildkit("chmod"));
        }
        if copy.parents || !copy.transfer.exclude.is_empty() {
            let option = if copy.parents { "parents" } else { "exclude" };
            return Err(requires_buildkit(option));
        }
        let root = if copy.from.is_empty() {
            self.context.open()?
        } else {
            self.other(&copy.from).await?
        };
        self.transfer("COPY", &copy.transfer, root).await
    }

    pub(super) async fn add_files(&mut self, add: &Add) -> Result<(), Error> {
        if !add.transfer.chmod.is_empty() {
            return Err(requires_buildkit("chmod"));
        }
        let options = [
            (!add.checksum.is_empty(), "checksum"),
            (add.keep_git_dir.is_some(), "keep-git-dir"),
            (add.unpack.is_some(), "unpack"),
            (!add.transfer.exclude.is_empty(), "exclude"),
        ];
        if let Some((_, option)) = options.iter().find(|(set, _)| *set) {
            return Err(requires_buildkit(option));
        }
        let root = self.context.open()?;
        self.transfer("ADD", &add.transfer, root).await
    }

    /// The files of a stage, or of an image.
    async fn other(&mut self, from: &str) -> Result<OwnedFd, Error> {
        let by_name = self.stage_names.get(&from.to_lowercase()).copied();
        let number = by_name.or_else(|| from.parse().ok());
        let image = match number.and_then(|number| self.stages.get(number)) {
            Some(image) => image.clone(),
            None if from.parse::<usize>().is_ok() => {
                let problem = if number == Some(self.stages.len()) {
                    "refers to current build stage"
                } else {
                    "index out of bounds"
                };
                let text = format!("invalid from flag value {from}: {problem}");
                return Err(Error::Invalid(text));
            }
            None => {
                let base = self.base(from, false).await;
                let worded =
                    |error: Error| error.context(format!("invalid from flag value {from}"));
                Some(base.map_err(worded)?)
            }
        };
        let layers = image.map(|image| image.layers).unwrap_or_default();
        let storage = self.builder.0.storage();
        storage.open_layers(&layers).await.map_err(Error::Storage)
    }

    async fn transfer(
        &mut self,
        name: &str,
        transfer: &Transfer,
        root: OwnedFd,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for source in &transfer.sources {
            wanted.push(self.expand(source)?);
        }
        if wanted.is_empty() {
            return Err(Error::Invalid(format!(
                "{name} failed: no source files were specified"
            )));
        }
        let destination = self.destination(&self.expand(&transfer.destination)?);
        let chown = self.expand(&transfer.chown)?;
        let (downloads, mut sources) = self.sources(name, wanted, root).await?;
        if sources.iter().map(|group| group.paths.len()).sum::<usize>() > 1
            && !destination.ends_with('/')
        {
            return Err(Error::Invalid(format!(
                "When using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let hash = joined(&sources);
        let chowned = if chown.is_empty() {
            String::new()
        } else {
            format!("--chown={chown} ")
        };
        let mut command = self.shell();
        command.push(format!("#(nop) {name} {chowned}{hash} in {destination} "));
        let key = self.key(&self.state.run, &command);
        if self.take_cached(&key, &command).await? {
            return Ok(());
        }
        let (unpacks, instruction) = (name == "ADD", name.to_owned());
        let layer = self
            .changed(move |to| {
                let owner = owner(to, &chown)?;
                for group in &mut sources {
                    for source in &group.paths {
                        let wanted = Copy {
                            source: String::from_utf8_lossy(source).into_owned(),
                            destination: destination.clone(),
                            follow_symlink: true,
                            dir_copy_contents: true,
                            attempt_unpack: unpacks && !group.remote,
                            create_dest_path: true,
                            ..Copy::default()
                        };
                        copy::copy(group.root.as_fd(), to.as_fd(), &wanted, Some(owner))
                            .map_err(|error| error.context(format!("{instruction} failed")))?;
                    }
                }
                Ok(())
            })
            .await;
        drop(downloads);
        let layer = layer?;
        let made = self.finish(&command, Some(layer.0)).await?;
        drop(layer.1);
        self.remember(&key, &made).await
    }

    /// Where files go: from the working directory, with its trailing slash.
    fn destination(&self, text: &str) -> String {
        let slash = text.ends_with('/') || text.ends_with("/.") || text == ".";
        let base = match self.state.run.working_dir.as_str() {
            "" => "/",
            base => base,
        };
        let joined = if text.starts_with('/') {
            text.to_owned()
        } else {
            format!("{base}/{text}")
        };
        let clean = arca_dockerfile::clean_path(&joined);
        if slash && !clean.ends_with('/') {
            format!("{clean}/")
        } else {
            clean
        }
    }

    /// Finds what is to be copied; what has an address is downloaded.
    async fn sources(
        &self,
        name: &str,
        wanted: Vec<String>,
        root: OwnedFd,
    ) -> Result<(Vec<Download>, Vec<Sources>), Error> {
        let mut downloads = Vec::new();
        let mut sources = Vec::new();
        let mut local = Vec::new();
        for source in wanted {
            if name == "ADD" && (source.starts_with("http://") || source.starts_with("https://")) {
                let download = self.download(&source).await?;
                let hash = download.hash.clone();
                let root = arca_archive::open_root(&download.path)
                    .map_err(Error::errno("open", &download.path))?;
                let paths = vec![download.name.clone().into_bytes()];
                downloads.push(download);
                sources.push(Sources {
                    root,
                    paths,
                    hash,
                    remote: true,
                });
            } else {
                local.push(source);
            }
        }
        if !local.is_empty() {
            let name = name.to_owned();
            sources.push(blocking(move || find(&name, &local, root)).await?);
        }
        Ok((downloads, sources))
    }

    pub(super) async fn workdir(&mut self, text: &str) -> Result<(), Error> {
        let text = self.expand(text)?;
        let base = match self.state.run.working_dir.as_str() {
            "" => "/",
            base => base,
        };
        let joined = if text.starts_with('/') {
            text
        } else {
            format!("{base}/{text}")
        };
        let directory = arca_dockerfile::clean_path(&joined);
        self.state.run.working_dir.clone_from(&directory);
        let mut command = self.shell();
        command.push(format!("#(nop) WORKDIR {directory}"));
        let key = self.key(&self.state.run, &command);
        if self.take_cached(&key, &command).await? {
            return Ok(());
        }
        let layer = self
            .changed(move |to| {
                let at = edit::resolved(to.as_fd(), directory.as_bytes())?;
                let there = digest::stat_of(to.as_fd(), &at)?;
                if there.is_some_and(|stat| !path::is_dir(&stat)) {
                    let text = format!("Cannot mkdir: {directory} is not a directory");
                    return Err(Error::Failed(text));
                }
                edit::make_dirs(to.as_fd(), &at, 0o755, (Some((0, 0)), None))
            })
            .await?;
        self.show_container(&command).await?;
        let made = self.finish(&command, Some(layer.0)).await?;
        drop(layer.1);
        self.remember(&key, &made).await
    }

    /// Changes files on top of the present image; the layer is held by the lease.
    async fn changed(
        &self,
        work: impl FnOnce(&OwnedFd) -> Result<(), Error> + Send + 'static,
    ) -> Result<(DiffId, arca_storage::Lease), Error> {
        let storage = self.builder.0.storage().clone();
        let image = self.state.image.as_ref();
        let layers = image.map(|image| image.layers.clone()).unwrap_or_default();
        // To its end, also when the build is broken off meanwhile: nobody else knows the snapshot.
        let made = self.builder.0.tasks.spawn(async move {
            let id = ContainerId::random();
            let prepared = storage.prepare(&id, &layers).await;
            prepared.map_err(Error::Storage)?;
            let lease = storage.lease();
            let done = async {
                let root = storage.open_snapshot(&id).await.map_err(Error::Storage)?;
                blocking(move || work(&root)).await?;
                storage.commit(&lease, &id).await.map_err(Error::Storage)
            }
            .await;
            match done {
                Ok(layer) => Ok((layer.diff_id, lease)),
                Err(error) => {
                    if let Err(error) = storage.remove(&id).await {
                        tracing::warn!(%error, "a snapshot stays until the next start");
                    }
                    Err(error)
                }
            }
        });
        made.await.unwrap_or(Err(Error::Cancelled))
    }
}

/// Finds the files in the context and takes their checksums.
fn find(name: &str, wanted: &[String], root: OwnedFd) -> Result<Sources, Error> {
    let mut paths = Vec::new();
    let mut hashes = Vec::new();
    for source in wanted {
        let found = glob::find(root.as_fd(), source.as_bytes(), true)?;
        for at in found {
            let resolved = path::resolve(root.as_fd(), &at, true)
                .map_err(|error| Error::errno("resolve", path::shown(&at))(error))?;
            let Some(stat) = digest::stat_of(root.as_fd(), &resolved)? else {
                let at = String::from_utf8_lossy(at.strip_prefix(b"/").unwrap_or(&at)).into_owned();
                return Err(Error::NotFound(format!(
                    "{name} failed: file not found in build context or excluded by .dockerignore: stat {at}: file does not exist"
                )));
            };
            let digest = digest::of_path(root.as_fd(), &resolved, None, None)?;
            let hex = digest
                .map(|digest| digest.hex().to_owned())
                .unwrap_or_default();
            let kind = if path::is_dir(&stat) { "dir" } else { "file" };
            hashes.push(format!("{kind}:{hex}"));
            paths.push(at);
        }
    }
    if paths.is_empty() {
        return Err(Error::Invalid(format!(
            "{name} failed: no source files were specified"
        )));
    }
    Ok(Sources {
        root,
        paths,
        hash: multi(hashes),
        remote: false,
    })
}

/// One checksum of several.
fn multi(hashes: Vec<String>) -> String {
    match hashes.as_slice() {
        [only] => only.clone(),
        _ => {
            let digest: Digest = digest_json(&hashes);
            format!("multi:{}", digest.hex())
        }
    }
}

fn joined(sources: &[Sources]) -> String {
    multi(sources.iter().map(|group| group.hash.clone()).collect())
}

/// The owner that `--chown` names, looked up in the image.
fn owner(root: &OwnedFd, chown: &str) -> Result<(u32, u32), Error> {
    if chown.is_empty() {
        return Ok((0, 0));
    }
    let (user, group) = match chown.split_once(':') {
        Some((user, group)) => (user, group),
        None => (chown, chown),
    };
    let unknown = |what: &str, kind: &str, name: &str| {
        Error::Failed(format!(
            "unable to convert uid/gid chown string to host mapping: can't find {what} for {kind} {name}: no such {kind}: {name}"
        ))
    };
    let known = |name: &str| users::user(root.as_fd(), name).map(|(uid, _)| uid);
    let uid = user.parse().ok().or_else(|| known(user));
    let gid = group.parse().ok();
    let gid = gid.or_else(|| users::group(root.as_fd(), group));
    let uid = uid.ok_or_else(|| unknown("uid", "user", user))?;
    let gid = gid.ok_or_else(|| unknown("gid", "group", group))?;
    Ok((uid, gid))
}
