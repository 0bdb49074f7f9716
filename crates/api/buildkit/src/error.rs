//! Errors as gRPC tells them. The texts are those that clients show.

use arca_build::Error;
use arca_types::chain;
use tonic::{Code, Status};

/// The status of a failed call. Clients show every code but `Unknown` in front of the text, so there is
/// none where BuildKit has none.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Cancelled => Code::Cancelled,
        Error::Unsupported(_) => Code::Unimplemented,
        _ => Code::Unknown,
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
