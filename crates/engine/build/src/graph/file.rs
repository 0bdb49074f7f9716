//! Changes to files.

use serde::Serialize;

/// One change (`pb.FileAction`). Actions are done in their order; each makes a tree of the one it starts
/// from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileAction {
    /// The tree it starts from; `None` is an empty one.
    pub input: Option<FileInput>,
    /// Where files are copied from; only for copies. `None` is an empty tree.
    pub secondary: Option<FileInput>,
    /// The output of the vertex that the result is; `None` if it is only used by later actions.
    pub output: Option<usize>,
    /// What is done.
    pub kind: FileActionKind,
}

/// A tree that an action uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileInput {
    /// An input of the vertex.
    Input(usize),
    /// The result of an earlier action.
    Action(usize),
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileActionKind {
    /// Files are copied.
    Copy(Box<Copy>),
    /// A file is written.
    MkFile(MkFile),
    /// A directory is made.
    MkDir(MkDir),
    /// Files are removed.
    Rm(Rm),
}

/// A copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// What: a path in the secondary tree.
    pub source: String,
    /// Where to. A trailing slash, or that it is a directory, puts the files below it.
    pub destination: String,
    /// The owner; `None` keeps that of each file.
    pub owner: Option<Owner>,
    /// Permissions; `None` keeps those of each file.
    pub mode: Option<Mode>,
    /// Is a symbolic link as the source followed?
    pub follow_symlink: bool,
    /// Are the contents of a directory copied, not the directory itself?
    pub dir_copy_contents: bool,
    /// Is an archive unpacked?
    pub attempt_unpack: bool,
    /// Are missing parents of the destination made?
    pub create_dest_path: bool,
    /// Is the source a pattern?
    pub allow_wildcard: bool,
    /// Is it no error when the pattern finds nothing?
    pub allow_empty_wildcard: bool,
    /// Nanoseconds since 1970 that all files get as their time; `None` keeps it.
    pub timestamp: Option<i64>,
    /// Only what matches one of these; empty for everything.
    pub include: Vec<String>,
    /// Not what matches these.
    pub exclude: Vec<String>,
    /// Is what is there replaced, a directory by a file or the other way round?
    pub always_replace_existing: bool,
    /// Which of the source's parents are made below the destination (`--parents`): everything after
    /// the pivot `/./`, or all.
    pub parents: bool,
}

/// A file with contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MkFile {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Contents.
    pub data: Vec<u8>,
    /// Nanoseconds since 1970; `None` for now.
    pub timestamp: Option<i64>,
    /// Owner; `None` is root.
    pub owner: Option<Owner>,
}

/// A directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MkDir {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Are missing parents made, and one that exists left alone?
    pub make_parents: bool,
    /// Nanoseconds since 1970; `None` for now.
    pub timestamp: Option<i64>,
    /// Owner; `None` is root.
    pub owner: Option<Owner>,
}

/// A removal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rm {
    /// What.
    pub path: String,
    /// Is it no error when there is nothing?
    pub allow_not_found: bool,
    /// Is the path a pattern?
    pub allow_wildcard: bool,
}

/// User and group of files. What is not given is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// User.
    pub user: Option<OwnerName>,
    /// Group.
    pub group: Option<OwnerName>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerName {
    /// By number.
    Id(u32),
    /// By name, looked up in `/etc/passwd` or `/etc/group` of a tree.
    Name {
        /// The name.
        name: String,
        /// The tree; `None` is the one that the action starts from.
        input: Option<FileInput>,
    },
}

/// Permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// These bits.
    Bits(u32),
    /// A change in the words of chmod(1): `u+x,go-w`.
    Symbolic(String),
}

impl FileAction {
    /// A name for people, as BuildKit's.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.kind {
            FileActionKind::Copy(copy) => format!("copy {} {}", copy.source, copy.destination),
            FileActionKind::MkFile(file) => format!("mkfile {}", file.path),
            FileActionKind::MkDir(dir) => format!("mkdir {}", dir.path),
            FileActionKind::Rm(rm) => format!("rm {}", rm.path),
        }
    }
}
