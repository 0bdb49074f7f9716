//! BuildKit's gRPC services behind `/grpc` and `/session`: what buildx, bake and compose speak.
//!
//! On `/grpc` the client calls: `moby.buildkit.v1.Control` ([`control`]: solve, status, disk usage, workers,
//! history), `moby.buildkit.v1.frontend.LLBBridge` ([`gateway`]: the client as its own front end) and containerd's
//! `Content` ([`content`]: what records of builds name by digest). On
//! `/session` the client serves ([`session`]): files, secrets, agents and credentials, and it takes
//! results. Both are HTTP/2 on a connection that was upgraded from HTTP/1. `POST /build?version=2` ([`request`])
//! is the same build by one plain request.
//!
//! Everything ends at [`arca_build::Job`]; here is nothing but the translation.

mod build;
mod caps;
mod content;
mod control;
mod convert;
mod definition;
mod error;
mod filesync;
mod gateway;
mod history;
mod provenance;
mod request;
mod service;
mod session;
mod uploads;

pub use request::{BuildContext, BuildLine, BuildOutput, ImageBuild};
pub use service::{BuildKit, Config, SessionHeaders};

use bollard_buildkit_proto::fsutil::types as fsutil;
use bollard_buildkit_proto::google::protobuf::Timestamp as PbTimestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as api;
use bollard_buildkit_proto::moby::buildkit::v1::frontend as gw;
use bollard_buildkit_proto::pb;
