//! System calls as safe functions: the only crate with unsafe code.

pub mod cgroup_device;
pub mod loop_device;
pub mod memory;
pub mod mount_attr;
pub mod network;
pub mod process;
pub mod quota;
pub mod seccomp;
pub mod signals;
pub mod startup;
