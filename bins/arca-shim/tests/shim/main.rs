//! The shim, driven by arcad's side of the protocol, with real containers of busybox.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod bed;
mod recovery;
mod run;
mod speed;
