//! Files of containers, from and to archives (`ContainerArchive` and its like).
//!
//! Every operation looks into a [`view::View`]: the container's root filesystem with its volumes and
//! binds, mounted in a mount namespace of a thread that lives no longer than the operation. Nothing is
//! mounted on the host, nothing of the container is executed, and every path is resolved by the kernel
//! below the view's root, whatever the container does to it meanwhile.

mod extract;
mod get;
mod path;
mod pipe;
mod root;
mod view;

pub use extract::ExtractRequest;
pub use get::Archive;
pub use path::PathStat;

pub(crate) use pipe::{Pieces, pipe};
