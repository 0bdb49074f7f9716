//! Wire types to domain types and back.
//!
//! Wire structs are taken apart without `..`: each field is used, refused by name, or ignored by name
//! with the reason beside it.

mod container_inspect;
mod container_list;
mod container_spec;
mod endpoint;
mod health;
mod host_spec;
mod host_view;
mod mounts;
mod refuse;
mod resources;
mod stats;

pub(crate) use container_inspect::inspection;
pub(crate) use container_list::summary;
pub(crate) use container_spec::container_spec;
pub(crate) use endpoint::endpoint_request;
pub(crate) use host_spec::restart_policy;
pub(crate) use resources::{drop_windows_limits, resources};
pub(crate) use stats::stats;

use refuse::refuse;

#[cfg(test)]
mod tests;
