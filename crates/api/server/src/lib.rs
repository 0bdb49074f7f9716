//! The Docker Engine API over HTTP: decode, call one engine function, encode.
//!
//! [`Server`] serves the API of an engine on any number of listeners. `http/` is what every endpoint
//! shares, `compat/` the differences of old versions, `convert/` the way between wire and domain types,
//! and each resource has a directory whose `mod.rs` is its route table. [`operations`] lists them all.

mod build;
mod buildkit;
mod compat;
mod containers;
mod convert;
mod error;
mod exec;
mod http;
mod images;
mod networks;
mod plugins;
mod routes;
mod state;
mod swarm;
mod system;
mod volumes;

pub use http::{Listener, Server, ServerConfig, Socket};
pub use routes::{Operation, Support, operations};

use state::App;
