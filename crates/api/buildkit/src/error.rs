//! Errors as gRPC tells them. The texts are those that clients show.

use arca_build::Error;
use arca_types::{Classify, ErrorKind, chain};
use tonic::{Code, Status};

/// The status of a failed call.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Cancelled => Code::Cancelled,
        error => match error.kind() {
            ErrorKind::InvalidParameter => Code::InvalidArgument,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::NotImplemented => Code::Unimplemented,
            ErrorKind::Forbidden => Code::PermissionDenied,
            _ => Code::Unknown,
        },
    };
    // A step that failed is no fault of the request, whatever its own kind is.
    let code = match error {
        Error::Vertex { cause, .. } if !matches!(**cause, Error::Cancelled) => Code::Unknown,
        _ => code,
    };
    Status::new(code, chain(error))
}

/// What a call to the client failed with.
pub(crate) fn of_client(what: &str, status: &Status) -> Error {
    let text = format!("{what}: {}", status.message());
    match status.code() {
        Code::NotFound => Error::NotFound(text),
        Code::Unimplemented => Error::Unsupported(text),
        Code::Cancelled => Error::Cancelled,
        _ => Error::Failed(text),
    }
}
