//! The kernel's netlink interfaces, as far as arca needs them.
//!
//! A small encoder of its own instead of the general crates: the requests are few, they are sent in
//! batches on a blocking socket, and nf_tables is needed as well as rtnetlink.

pub(crate) mod address;
pub(crate) mod conntrack;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod notice;
pub(crate) mod route;
pub(crate) mod socket;
pub(crate) mod watch;

pub(crate) use message::{Message, Received};
pub(crate) use socket::Socket;
