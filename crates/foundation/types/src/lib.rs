//! IDs, names, digests, references, platforms, signals, limits, clock and error kinds: the vocabulary that
//! every layer shares. Values are valid by their type: parse at the edge, trust inside. No I/O beyond
//! reading the system's clock and random source.

mod clock;
mod digest;
mod error;
mod id;
mod id_maps;
mod platform;
mod reference;
mod signal;
mod size;
mod ulimit;

pub use clock::{Clock, SystemClock, Timestamp, TimestampError, go_duration};
pub use digest::{Algorithm, DiffId, Digest, DigestError, ImageId};
pub use error::{Classify, ErrorKind, chain};
pub use id::{ContainerId, EndpointId, ExecId, IdError, NetworkId, random_hex};
pub use id_maps::{IdMaps, IdRange, UnmappedId};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Repository, Selector};
pub use signal::{Signal, SignalError};
pub use size::parse_size;
pub use ulimit::ULIMITS;
