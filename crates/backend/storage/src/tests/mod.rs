//! Storage on the kernel's own file systems. These need root.

mod common;
mod kill;
mod layers;
mod snapshots;
