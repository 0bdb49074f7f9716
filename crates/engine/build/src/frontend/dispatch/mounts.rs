//! The mounts of `RUN`.

use arca_dockerfile::{Lines, Mount, MountKind, Run, Sharing, Variables, clean_path};

use super::run::Running;
use super::workdir;
use crate::Error;
use crate::frontend::convert::Converter;
use crate::frontend::naming::rooted;
use crate::frontend::outline::Wanted;
use crate::frontend::plan::{Files, Inputs};
use crate::frontend::stage::{Command, Stage};
use crate::frontend::{checks, named};
use crate::graph::{
    BindMount, CacheMount, CacheSharing, Exec, ExecMount, ExecMountKind, FileAction,
    FileActionKind, FileInput, MkDir, Op, Owner, OwnerName, SecretEnv, SecretMount, SshMount,
    TmpfsMount,
};

impl Converter<'_> {
    pub(super) fn mounts(
        &mut self,
        stage: &mut Stage,
        command: &Command,
        run: &Run,
        running: &mut Running,
    ) -> Result<(), Error> {
        let lines = command.instruction.lines;
        for (raw, source) in run.mounts.iter().zip(&command.sources) {
            let mut unset = std::collections::BTreeSet::new();
            let mount = Mount::parse(raw, &mut |text| {
                let done = self.lexer.expand(text, &stage.state.env)?;
                unset.extend(done.unset);
                Ok(done.text)
            });
            let mount = mount.map_err(|error| Error::Invalid(error.to_string()))?;
            checks::undefined(self, &stage.state, &unset, lines);
            match mount.kind {
                MountKind::Secret => secret(stage, &mount, lines, &mut running.exec)?,
                MountKind::Ssh => ssh(stage, &mount, lines, &mut running.exec)?,
                _ => self.file_mount(stage, &mount, *source, running)?,
            }
        }
        Ok(())
    }

    /// A mount of files, a cache, or memory.
    fn file_mount(
        &mut self,
        stage: &Stage,
        mount: &Mount,
        source: usize,
        running: &mut Running,
    ) -> Result<(), Error> {
        let Running { exec, inputs } = running;
        let of_stage = !mount.from.is_empty() || mount.kind == MountKind::Cache;
        let mut files = if of_stage {
            self.mounted_stage(mount, source)?
        } else {
            Some(self.context)
        };
        let target = target(stage, mount)?;
        let mut selector = rooted(&mount.source);
        if selector == "/" {
            selector.clear();
            if let Some(owned) = self.owned_root(mount, files) {
                (files, selector) = (owned, "/cache".to_owned());
            }
        }
        let kind = match mount.kind {
            MountKind::Tmpfs => ExecMountKind::Tmpfs(TmpfsMount {
                size: u64::try_from(mount.size).unwrap_or_default(),
            }),
            MountKind::Cache => ExecMountKind::Cache(CacheMount {
                id: self.cache_id(mount),
                sharing: sharing(mount.sharing),
                input: inputs.index(files),
                selector,
            }),
            _ => ExecMountKind::Bind(BindMount {
                input: inputs.index(files),
                selector,
                output: None,
            }),
        };
        exec.mounts.push(ExecMount {
            target,
            kind,
            read_only: mount.read_only,
        });
        if of_stage {
            self.stages.takes(source, &mount.source);
        } else if mount.kind == MountKind::Bind {
            self.takes_of_context(&mount.source);
        }
        Ok(())
    }

    fn mounted_stage(&self, mount: &Mount, source: usize) -> Result<Files, Error> {
        self.files_of(source).ok_or_else(|| {
            Error::Invalid(format!(
                "cannot mount from stage {:?} to {:?}, stage needs to be defined before current command",
                mount.from, mount.target
            ))
        })
    }

    /// A directory with the owner and permissions that a cache begins with.
    fn owned_root(&mut self, mount: &Mount, files: Files) -> Option<Files> {
        if mount.uid.is_none() && mount.gid.is_none() && mount.mode.is_none() {
            return None;
        }
        let mut inputs = Inputs::default();
        let input = inputs.index(files).map(FileInput::Input);
        let id = |id: Option<u32>| Some(OwnerName::Id(id.unwrap_or_default()));
        let kind = FileActionKind::MkDir(MkDir {
            path: "/cache".to_owned(),
            mode: mount.mode.unwrap_or(0o755),
            owner: Some(Owner {
                user: id(mount.uid),
                group: id(mount.gid),
            }),
            ..MkDir::default()
        });
        let action = FileAction {
            input,
            secondary: None,
            output: Some(0),
            kind,
        };
        let metadata = named("[internal] setting cache mount permissions");
        let op = Op::File(vec![action]);
        Some(Some(self.plan.op(op, inputs.into_vec(), None, metadata)))
    }

    fn cache_id(&self, mount: &Mount) -> String {
        let id = if mount.id.is_empty() {
            clean_path(&mount.target)
        } else {
            mount.id.clone()
        };
        format!("{}/{id}", self.options.cache_namespace)
    }
}

fn target(stage: &Stage, mount: &Mount) -> Result<String, Error> {
    let target = if mount.target.starts_with('/') {
        mount.target.clone()
    } else {
        workdir::joined(&stage.state.dir, &clean_path(&mount.target))
    };
    if target == "/" {
        return Err(Error::Invalid(format!("invalid mount target {target:?}")));
    }
    Ok(target)
}

fn sharing(sharing: Option<Sharing>) -> CacheSharing {
    match sharing {
        None | Some(Sharing::Shared) => CacheSharing::Shared,
        Some(Sharing::Private) => CacheSharing::Private,
        Some(Sharing::Locked) => CacheSharing::Locked,
    }
}

fn secret(stage: &mut Stage, mount: &Mount, lines: Lines, exec: &mut Exec) -> Result<(), Error> {
    let base = |path: &str| {
        path.trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let id = match (
        mount.source.as_str(),
        mount.id.as_str(),
        mount.target.as_str(),
    ) {
        ("", "", "") => {
            return Err(Error::Invalid("one of source, target required".to_owned()));
        }
        ("", "", target) => base(target),
        ("", id, _) => id.to_owned(),
        (source, _, _) => source.to_owned(),
    };
    stage.outline.wants_secret(
        &id,
        Wanted {
            required: mount.required,
            lines,
        },
    );
    let optional = !mount.required;
    if let Some(name) = &mount.env {
        exec.secret_env.push(SecretEnv {
            id: id.clone(),
            name: name.clone(),
            optional,
        });
    }
    let target = match mount.target.as_str() {
        "" if mount.env.is_some() => return Ok(()),
        "" => format!("/run/secrets/{}", base(&id)),
        target => target.to_owned(),
    };
    let kind = ExecMountKind::Secret(SecretMount {
        id,
        uid: mount.uid.unwrap_or_default(),
        gid: mount.gid.unwrap_or_default(),
        mode: mount.mode.unwrap_or(0o400),
        optional,
    });
    exec.mounts.push(ExecMount {
        target,
        kind,
        read_only: true,
    });
    Ok(())
}

fn ssh(stage: &mut Stage, mount: &Mount, lines: Lines, exec: &mut Exec) -> Result<(), Error> {
    if !mount.source.is_empty() {
        return Err(Error::Invalid("ssh does not support source".to_owned()));
    }
    let id = if mount.id.is_empty() {
        "default"
    } else {
        &mount.id
    };
    stage.outline.wants_ssh(
        id,
        Wanted {
            required: mount.required,
            lines,
        },
    );
    let known = exec
        .mounts
        .iter()
        .filter(|mount| matches!(mount.kind, ExecMountKind::Ssh(_)));
    let target = match mount.target.as_str() {
        "" => format!("/run/buildkit/ssh_agent.{}", known.count()),
        target => target.to_owned(),
    };
    if stage.state.env.value("SSH_AUTH_SOCK").is_none()
        && !exec
            .env
            .iter()
            .any(|text| text.starts_with("SSH_AUTH_SOCK="))
    {
        exec.env.push(format!("SSH_AUTH_SOCK={target}"));
    }
    let kind = ExecMountKind::Ssh(SshMount {
        id: mount.id.clone(),
        uid: mount.uid.unwrap_or_default(),
        gid: mount.gid.unwrap_or_default(),
        mode: mount.mode.unwrap_or(0o600),
        optional: !mount.required,
    });
    exec.mounts.push(ExecMount {
        target,
        kind,
        read_only: false,
    });
    Ok(())
}
