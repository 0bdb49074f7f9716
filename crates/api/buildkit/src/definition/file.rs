//! Changes to files of definitions.

use arca_build::graph::{
    Copy, FileAction, FileActionKind, FileInput, MkDir, MkFile, Mode, Owner, OwnerName, Rm,
};
use tonic::Status;

use super::{index, invalid};
use crate::pb;

/// The actions; inputs from the number of the vertex's inputs on are earlier actions.
pub(super) fn actions(op: pb::FileOp, inputs: usize) -> Result<Vec<FileAction>, Status> {
    if op.actions.is_empty() {
        return Err(invalid("invalid file op with no action"));
    }
    let actions = op.actions.into_iter();
    actions.map(|action| read(action, inputs)).collect()
}

fn input(number: i64, inputs: usize) -> Option<FileInput> {
    let number = index(number)?;
    Some(match number.checked_sub(inputs) {
        None => FileInput::Input(number),
        Some(action) => FileInput::Action(action),
    })
}

fn read(action: pb::FileAction, inputs: usize) -> Result<FileAction, Status> {
    let kind = match action.action {
        Some(pb::file_action::Action::Copy(copy)) => {
            FileActionKind::Copy(Box::new(read_copy(copy, inputs)?))
        }
        Some(pb::file_action::Action::Mkfile(file)) => {
            let pb::FileActionMkFile {
                path,
                mode,
                data,
                owner,
                timestamp,
            } = file;
            FileActionKind::MkFile(MkFile {
                path,
                mode: bits(mode),
                data,
                timestamp: time(timestamp),
                owner: owner.map(|owner| read_owner(owner, inputs)),
            })
        }
        Some(pb::file_action::Action::Mkdir(directory)) => {
            let pb::FileActionMkDir {
                path,
                mode,
                make_parents,
                owner,
                timestamp,
            } = directory;
            FileActionKind::MkDir(MkDir {
                path,
                mode: bits(mode),
                make_parents,
                timestamp: time(timestamp),
                owner: owner.map(|owner| read_owner(owner, inputs)),
            })
        }
        Some(pb::file_action::Action::Rm(removal)) => {
            let pb::FileActionRm {
                path,
                allow_not_found,
                allow_wildcard,
            } = removal;
            FileActionKind::Rm(Rm {
                path,
                allow_not_found,
                allow_wildcard,
            })
        }
        Some(pb::file_action::Action::Symlink(_)) => {
            return Err(Status::unimplemented("symlink actions are not supported"));
        }
        None => return Err(invalid("invalid file action")),
    };
    Ok(FileAction {
        input: input(action.input, inputs),
        secondary: input(action.secondary_input, inputs),
        output: index(action.output),
        kind,
    })
}

fn read_copy(copy: pb::FileActionCopy, inputs: usize) -> Result<Copy, Status> {
    let pb::FileActionCopy {
        src,
        dest,
        owner,
        mode,
        follow_symlink,
        dir_copy_contents,
        attempt_unpack_docker_compatibility,
        create_dest_path,
        allow_wildcard,
        allow_empty_wildcard,
        timestamp,
        include_patterns,
        exclude_patterns,
        always_replace_existing_dest_paths,
        mode_str,
        required_paths,
    } = copy;
    if !required_paths.is_empty() {
        return Err(Status::unimplemented(
            "required paths of copies are not supported",
        ));
    }
    let mode = match (mode_str.as_str(), mode) {
        ("", -1) => None,
        ("", bits) => u32::try_from(bits).ok().map(Mode::Bits),
        (text, _) => Some(Mode::Symbolic(text.to_owned())),
    };
    Ok(Copy {
        source: src,
        destination: dest,
        owner: owner.map(|owner| read_owner(owner, inputs)),
        mode,
        follow_symlink,
        dir_copy_contents,
        attempt_unpack: attempt_unpack_docker_compatibility,
        create_dest_path,
        allow_wildcard,
        allow_empty_wildcard,
        timestamp: time(timestamp),
        include: include_patterns,
        exclude: exclude_patterns,
        always_replace_existing: always_replace_existing_dest_paths,
        parents: false,
    })
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0) & 0o7777
}

/// Nanoseconds since 1970, where -1 is none.
fn time(timestamp: i64) -> Option<i64> {
    (timestamp != -1).then_some(timestamp)
}

fn read_owner(owner: pb::ChownOpt, inputs: usize) -> Owner {
    let name = |name: Option<pb::UserOpt>| match name?.user? {
        pb::user_opt::User::ById(id) => Some(OwnerName::Id(id)),
        pb::user_opt::User::ByName(named) => Some(OwnerName::Name {
            name: named.name,
            input: input(named.input, inputs),
        }),
    };
    Owner {
        user: name(owner.user),
        group: name(owner.group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_past_the_vertexs_own_are_earlier_actions() {
        assert_eq!(input(-1, 2), None);
        assert_eq!(input(1, 2), Some(FileInput::Input(1)));
        assert_eq!(input(2, 2), Some(FileInput::Action(0)));
    }
}
