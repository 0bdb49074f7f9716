//! Real engines, real clients, tiny images and a local registry for tests.
//!
//! [`Engine::start`] gives an arcad of the test's own: data root, exec root, socket and network
//! namespace, so that nothing of the host is touched. With `ARCA_TEST_DOCKER_HOST=unix:///…` the same
//! tests run against that engine instead. Everything here fails the test by panicking, with the
//! output of what failed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test kit fails the test, with a message, where it stands"
)]

mod arcad;
pub mod archive;
mod chaos;
mod compose;
mod docker;
mod engine;
mod events;
mod http;
mod images;
mod machine;
mod made;
mod memory;
mod netns;
mod poll;
mod protocols;
mod pty;
mod receiver;
mod registry;
mod snapshot;
mod store;
mod talk;
mod tools;
mod zuul;

pub use chaos::Chaos;
pub use compose::Compose;
pub use docker::{Docker, Output};
pub use engine::{Engine, Options};
pub use events::Events;
pub use http::{Http, Response, demux};
pub use images::rootfs;
pub use machine::Machine;
pub use made::{MadeImage, MadeLayer, write_archive};
pub use memory::Memory;
pub use netns::NetNs;
pub use poll::{eventually, eventually_within};
pub use pty::Pty;
pub use receiver::{Over, Protocol, Receiver};
pub use registry::{PASSWORD, Registry, USER};
pub use snapshot::Snapshot;
pub use store::rounds;
pub use talk::{Flow, Greeter, Told, Transport, lookup, seen};
pub use tools::{
    built as program, docker_cli, docker_of, docker_py, node_modules, old_docker_py, paramiko,
    schemathesis, static_c, testcontainers, testcontainers_rust,
};
pub use zuul::ZuulRegistry;
