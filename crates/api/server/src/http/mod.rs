//! What every endpoint shares: connections, versions, headers, queries, bodies, streams, hijacking.

mod body;
mod connection;
mod dispatch;
pub(crate) mod filters;
mod hijack;
mod io;
mod leftover;
mod listener;
mod query;
mod raw;
mod reply;
mod server;
mod stream;
mod time;
mod told;
mod websocket;

pub(crate) use body::{JsonBody, RequiredJson};
pub(crate) use connection::Client;
pub(crate) use hijack::{Connection, Hijack};
pub(crate) use query::{Query, quoted};
pub(crate) use reply::{json, json_bytes, not_found_page};
pub(crate) use stream::{chunks, lines, request_bytes};
pub(crate) use time::{timestamp, until};
pub(crate) use told::{Words, told, told_at_once};
pub(crate) use websocket::bridge;

pub use io::Socket;
pub use listener::Listener;
pub use server::{Server, ServerConfig};

#[cfg(test)]
mod tests;
