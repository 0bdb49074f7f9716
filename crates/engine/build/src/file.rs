//! Changes to files: each chain of actions is done in one snapshot.

use std::os::fd::{AsFd as _, OwnedFd};

use crate::fs::{copy, edit, users};
use crate::graph::{FileAction, FileActionKind, FileInput, Owner, OwnerName};
use crate::solve::{Snapshot, Step, blocking};
use crate::{Error, Tree};

/// The result of an action.
enum Slot {
    /// Later actions may go on in it.
    Open(Snapshot),
    /// It is fixed.
    Done(Tree),
    /// A later action has gone on in it.
    Taken,
}

/// Does the actions; returns the outputs.
pub(crate) async fn run(step: &Step, actions: &[FileAction]) -> Result<Vec<Tree>, Error> {
    let mut work = Work {
        step,
        actions,
        slots: Vec::new(),
    };
    for action in actions {
        if let Some(output) = action.output.filter(|output| *output >= actions.len()) {
            return Err(Error::Invalid(format!("invalid output {output}")));
        }
        let snapshot = work.start(action).await?;
        let snapshot = work.perform(action, snapshot).await?;
        work.slots.push(Slot::Open(snapshot));
    }
    work.outputs().await
}

struct Work<'a> {
    step: &'a Step,
    actions: &'a [FileAction],
    slots: Vec<Slot>,
}

impl Work<'_> {
    /// What an action writes to.
    async fn start(&mut self, action: &FileAction) -> Result<Snapshot, Error> {
        match action.input {
            None => self.step.snapshot(&[]).await,
            Some(FileInput::Input(input)) => {
                let tree = self.step.layered(self.step.input(input)?).await?;
                self.step.snapshot(tree.layers().unwrap_or_default()).await
            }
            Some(FileInput::Action(before)) => {
                if !self.is_used_again(before)
                    && let Some(slot @ Slot::Open(_)) = self.slots.get_mut(before)
                    && let Slot::Open(snapshot) = std::mem::replace(slot, Slot::Taken)
                {
                    return Ok(snapshot);
                }
                let tree = self.done(before).await?;
                self.step.snapshot(tree.layers().unwrap_or_default()).await
            }
        }
    }

    /// Does anybody but the next action need the result of this one?
    fn is_used_again(&self, action: usize) -> bool {
        let output = self.actions.get(action).is_some_and(|a| a.output.is_some());
        let me = Some(FileInput::Action(action));
        let users = self.actions.iter().filter(|other| {
            other.input == me
                || other.secondary == me
                || owner_inputs(&other.kind).contains(&FileInput::Action(action))
        });
        output || users.count() > 1
    }

    /// The fixed result of an action.
    async fn done(&mut self, action: usize) -> Result<Tree, Error> {
        let invalid = || Error::Invalid(format!("invalid action index {action}"));
        let slot = self.slots.get_mut(action).ok_or_else(invalid)?;
        let tree = match std::mem::replace(slot, Slot::Taken) {
            Slot::Open(snapshot) => snapshot.commit().await?,
            Slot::Done(tree) => tree,
            Slot::Taken => return Err(invalid()),
        };
        if let Some(slot) = self.slots.get_mut(action) {
            *slot = Slot::Done(tree.clone());
        }
        Ok(tree)
    }

    async fn open(&mut self, input: FileInput) -> Result<(OwnedFd, Tree), Error> {
        let tree = match input {
            FileInput::Input(input) => self.step.input(input)?.clone(),
            FileInput::Action(action) => self.done(action).await?,
        };
        Ok((tree.open(self.step.storage()).await?, tree))
    }

    async fn perform(&mut self, action: &FileAction, to: Snapshot) -> Result<Snapshot, Error> {
        let storage = self.step.storage().clone();
        let root = storage
            .open_snapshot(to.id())
            .await
            .map_err(Error::Storage)?;
        let owner = self.owner(action, &root).await?;
        let source = match (&action.kind, action.secondary) {
            (FileActionKind::Copy(_), Some(input)) => Some(self.open(input).await?),
            (FileActionKind::Copy(_), None) => {
                let empty = Tree::of_layers(&storage, Vec::new());
                Some((empty.open(&storage).await?, empty))
            }
            _ => None,
        };
        let kind = action.kind.clone();
        blocking(move || {
            let to = root.as_fd();
            match (&kind, &source) {
                (FileActionKind::Copy(wanted), Some((from, _tree))) => {
                    copy::copy(from.as_fd(), to, wanted, owner)
                }
                (FileActionKind::MkFile(file), _) => edit::mkfile(to, file, owner),
                (FileActionKind::MkDir(dir), _) => edit::mkdir(to, dir, owner),
                (FileActionKind::Rm(rm), _) => edit::rm(to, rm),
                (FileActionKind::Copy(_), None) => Ok(()),
            }
        })
        .await?;
        Ok(to)
    }

    /// Looks up the owner that an action gives its files. A name that the tree does not know gives
    /// root, as `BuildKit` has it.
    async fn owner(
        &mut self,
        action: &FileAction,
        base: &OwnedFd,
    ) -> Result<Option<edit::Ids>, Error> {
        let Some(owner) = owner_of(&action.kind) else {
            return Ok(None);
        };
        let mut ids = (0, 0);
        if let Some(user) = &owner.user {
            match user {
                OwnerName::Id(id) => ids = (*id, *id),
                OwnerName::Name { name, input } => {
                    let name = name.clone();
                    let root = self.names(*input, base).await?;
                    let found = blocking(move || Ok(users::user(root.as_fd(), &name))).await?;
                    ids = found.unwrap_or_default();
                }
            }
        }
        match &owner.group {
            None => {}
            Some(OwnerName::Id(id)) => ids.1 = *id,
            Some(OwnerName::Name { name, input }) => {
                let name = name.clone();
                let root = self.names(*input, base).await?;
                let found = blocking(move || Ok(users::group(root.as_fd(), &name))).await?;
                ids.1 = found.unwrap_or_default();
            }
        }
        Ok(Some(ids))
    }

    /// The tree that names are looked up in.
    async fn names(&mut self, input: Option<FileInput>, base: &OwnedFd) -> Result<OwnedFd, Error> {
        match input {
            Some(input) => Ok(self.open(input).await?.0),
            None => base.try_clone().map_err(Error::file("open", "/etc/passwd")),
        }
    }

    async fn outputs(mut self) -> Result<Vec<Tree>, Error> {
        let mut outputs: Vec<Option<Tree>> = Vec::new();
        for (index, action) in self.actions.iter().enumerate() {
            let Some(output) = action.output else {
                continue;
            };
            let tree = self.done(index).await?;
            if outputs.len() <= output {
                outputs.resize(output + 1, None);
            }
            if let Some(place) = outputs.get_mut(output) {
                *place = Some(tree);
            }
        }
        let storage = self.step.storage();
        let filled = outputs.into_iter();
        Ok(filled
            .map(|tree| tree.unwrap_or_else(|| Tree::of_layers(storage, Vec::new())))
            .collect())
    }
}

fn owner_of(kind: &FileActionKind) -> Option<&Owner> {
    match kind {
        FileActionKind::Copy(copy) => copy.owner.as_ref(),
        FileActionKind::MkFile(file) => file.owner.as_ref(),
        FileActionKind::MkDir(dir) => dir.owner.as_ref(),
        FileActionKind::Rm(_) => None,
    }
}

/// The trees in which an action looks up names, besides the one it starts from.
pub(crate) fn owner_inputs(kind: &FileActionKind) -> Vec<FileInput> {
    let owner = owner_of(kind);
    let names = owner.into_iter().flat_map(|o| [&o.user, &o.group]);
    names
        .flatten()
        .filter_map(|name| match name {
            OwnerName::Name { input, .. } => *input,
            OwnerName::Id(_) => None,
        })
        .collect()
}
