//! What can be wrong with an archive, or with the tree it is read into or made from.

use std::io;

use arca_types::{Classify, ErrorKind, UnmappedId};

/// Any failure of reading, unpacking or making an archive. Paths are those inside of it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("failed to read the archive")]
    Read(#[source] io::Error),
    #[error("unexpected EOF")]
    Truncated,
    #[error("archive/tar: invalid tar header: {0}")]
    Header(&'static str),
    #[error("archive/tar: {what} of {size} bytes exceeds the limit of {limit}")]
    HeaderTooLarge {
        what: &'static str,
        size: u64,
        limit: u64,
    },
    #[error("unhandled tar header type {kind} of {path:?}")]
    UnknownType { path: String, kind: u8 },
    #[error("{path:?} is outside of the archive's root")]
    OutsideRoot { path: String },
    #[error("invalid symlink {path:?} -> {target:?}")]
    SymlinkOutsideRoot { path: String, target: String },
    #[error("invalid hardlink {path:?} -> {target:?}")]
    HardLinkOutsideRoot { path: String, target: String },
    #[error("invalid whiteout {path:?}")]
    Whiteout { path: String },
    #[error("{path:?} sets the reserved extended attribute {name:?}")]
    ReservedXattr { path: String, name: String },
    #[error("the archive has more than {0} entries")]
    TooManyEntries(u64),
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("cannot overwrite directory {path:?} with non-directory")]
    NonDirectoryOverDirectory { path: String },
    #[error("cannot overwrite non-directory {path:?} with directory")]
    DirectoryOverNonDirectory { path: String },
    #[error("failed to {action} {path:?}")]
    Tree {
        action: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Unmapped(#[from] UnmappedId),
    #[error("failed to write the archive")]
    Write(#[source] io::Error),
}

impl Error {
    /// For `map_err`: names what was done to which path of the tree.
    pub(crate) fn tree(
        action: &'static str,
        path: &[u8],
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = text(path);
        move |errno| Self::Tree {
            action,
            path,
            source: errno.into(),
        }
    }
}

/// A path for people.
pub(crate) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(_) | Self::Write(_) | Self::Tree { .. } => ErrorKind::Internal,
            Self::NonDirectoryOverDirectory { .. }
            | Self::Unmapped(_)
            | Self::DirectoryOverNonDirectory { .. }
            | Self::Truncated
            | Self::Header(_)
            | Self::HeaderTooLarge { .. }
            | Self::UnknownType { .. }
            | Self::OutsideRoot { .. }
            | Self::SymlinkOutsideRoot { .. }
            | Self::HardLinkOutsideRoot { .. }
            | Self::Whiteout { .. }
            | Self::ReservedXattr { .. }
            | Self::TooManyEntries(_)
            | Self::TooLarge(_) => ErrorKind::InvalidParameter,
        }
    }
}
