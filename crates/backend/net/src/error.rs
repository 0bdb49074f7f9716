//! Failures of the network backend.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use arca_types::{Classify, ErrorKind};

use rustix::io::Errno;

use crate::types::{Protocol, PublishedPort};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or a file operation failed.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: String,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A port of the host is published already.
    #[error("Bind for {host_ip}:{port} failed: port is already allocated{}", by(owner.as_deref()))]
    PortAllocated {
        /// The protocol.
        protocol: Protocol,
        /// The host's address.
        host_ip: IpAddr,
        /// The host's port.
        port: u16,
        /// Who has it, in words, as far as the caller knows.
        owner: Option<String>,
    },
    /// An address of the host is asked for where only the host itself may reach the port.
    #[error(
        "cannot publish on {0}: the exposure of published ports is limited to loopback addresses"
    )]
    NotExposed(IpAddr),
    /// No port of the host's range is free.
    #[error("all ports are allocated")]
    NoPort,
    /// A process of the host has the port, or the address is not the host's.
    #[error("failed to bind host port for {}:{}:{container_ip}:{}/{}", port.host_ip, port.host_port, port.container_port, port.protocol)]
    Bind {
        /// What should have been published.
        port: PublishedPort,
        /// The container's address.
        container_ip: IpAddr,
        /// Why it failed, in the words of the C library.
        #[source]
        cause: BindError,
    },
    /// There is no address of the family in the container to lead the port to, and no proxy either.
    #[error(
        "cannot publish {protocol} port on {host_ip}: the container has no address of its family"
    )]
    NoAddress {
        /// The protocol.
        protocol: Protocol,
        /// The host's address.
        host_ip: IpAddr,
    },
    /// The network is not known to the driver.
    #[error("network {0} is not set up")]
    NoNetwork(String),
    /// Something the kernel or the host does not let us do, in full words.
    #[error("{0}")]
    Refused(String),
    /// An option the driver cannot honour.
    #[error("{0}")]
    Unsupported(String),
}

/// Why a socket could not be bound, without the number that [`io::Error`] prints.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// `EADDRINUSE`; the process that has the port, where it could be found.
    #[error("address already in use{}", by(_0.as_deref()))]
    InUse(Option<String>),
    /// `EADDRNOTAVAIL`.
    #[error("cannot assign requested address")]
    NotAvailable,
    /// `EACCES`.
    #[error("permission denied")]
    Denied,
    /// `EPROTONOSUPPORT`.
    #[error("protocol not supported (the kernel has no SCTP: modprobe sctp)")]
    NoProtocol,
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

/// ` (by <owner>)`, or nothing.
fn by(owner: Option<&str>) -> String {
    owner.map_or_else(String::new, |owner| format!(" (by {owner})"))
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(None),
            io::ErrorKind::AddrNotAvailable => Self::NotAvailable,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ if Errno::from_io_error(&error) == Some(Errno::PROTONOSUPPORT) => Self::NoProtocol,
            _ => Self::Other(error),
        }
    }
}

impl Error {
    /// Says what was being done when a system call failed.
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |cause| Self::System { action, cause }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported(_) | Self::NotExposed(_) => ErrorKind::InvalidParameter,
            _ => ErrorKind::Internal,
        }
    }
}
