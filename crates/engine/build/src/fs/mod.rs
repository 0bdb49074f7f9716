//! Files of trees: paths below a root, checksums, copies. Everything here blocks, and addresses files by
//! directory descriptor: what is in a tree comes from images and clients.

pub(crate) mod copy;
pub(crate) mod digest;
pub(crate) mod edit;
pub(crate) mod glob;
pub(crate) mod path;
pub(crate) mod unpack;
pub(crate) mod users;
