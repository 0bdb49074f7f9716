//! The words of the domain: what a client may ask of a container, already checked for shape.
//!
//! A value that the API shows again exactly as it was sent keeps the difference between `null` and
//! an empty list: `None` is `null`. Everything here is plain data; what is allowed together is
//! decided by [`crate::check`].

mod health;
mod host;
mod modes;
mod mounts;
mod networking;
mod resources;
mod spec;

pub use health::{Health, HealthStatus, HealthTest, Healthcheck, ProbeResult};
pub use host::{HostSpec, Link, LogConfig, RestartKind, RestartPolicy};
pub use modes::{CgroupnsMode, IpcMode, NetworkMode, PidMode, UtsMode};
pub use mounts::{
    Bind, BindOptions, IdMapping, IdMappingSource, ImageOptions, MountPoint, MountRequest,
    MountType, Propagation, TmpfsOptions, VolumeOptions,
};
pub use networking::{
    Endpoint, EndpointRequest, IpamRequest, NetworkSettings, Port, PortBinding, Protocol,
};
pub use resources::{
    DeviceMapping, DeviceRequest, Resources, ThrottleDevice, Ulimit, WeightDevice,
};
pub use spec::{ContainerSpec, Streams};
