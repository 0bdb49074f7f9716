//! Storage on the kernel's own file systems. These need root.

mod common;
mod layers;
mod snapshots;
