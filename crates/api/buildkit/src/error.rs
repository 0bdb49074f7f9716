//! Errors as gRPC tells them. The texts are those that clients show.

use arca_build::Error;
use arca_build::graph::SourceLocation;
use arca_types::chain;
use bollard_buildkit_proto::google::{protobuf, rpc};
use prost::Message as _;
use tonic::{Code, Status};

use crate::{convert, pb};

/// The type of a detail with lines of a source file, as BuildKit's clients know it (`solver/errdefs`).
const SOURCE: &str = "errdefs.Source";

/// Lines of a source file that an error is about (`errdefs.Source` of BuildKit).
#[derive(Clone, PartialEq, prost::Message)]
struct Source {
    #[prost(message, optional, tag = "1")]
    info: Option<pb::SourceInfo>,
    #[prost(message, repeated, tag = "2")]
    ranges: Vec<pb::Range>,
}

/// The status of a failed call. Clients show every code but `Unknown` in front of the text, so there is
/// none where BuildKit has none. They show the lines of the source file that it is about.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Cancelled => Code::Cancelled,
        Error::Unsupported(_) => Code::Unimplemented,
        _ => Code::Unknown,
    };
    let details = error.location().map(detail).into_iter().collect();
    detailed(rpc::Status {
        code: code.into(),
        message: chain(error),
        details,
    })
}

/// A status with what it says in detail.
pub(crate) fn detailed(told: rpc::Status) -> Status {
    if told.details.is_empty() {
        return Status::new(told.code.into(), told.message);
    }
    let details = told.encode_to_vec();
    Status::with_details(told.code.into(), told.message, details.into())
}

/// What a status says, with its details.
pub(crate) fn told(status: &Status) -> rpc::Status {
    let decoded = Some(status.details())
        .filter(|details| !details.is_empty())
        .and_then(|details| rpc::Status::decode(details).ok());
    rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: decoded.map(|told| told.details).unwrap_or_default(),
    }
}

fn detail(location: &SourceLocation) -> protobuf::Any {
    let source = Source {
        info: Some(convert::source(&location.file)),
        ranges: location.ranges.iter().map(convert::range).collect(),
    };
    protobuf::Any {
        type_url: SOURCE.to_owned(),
        value: source.encode_to_vec(),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arca_build::progress::{Range, SourceFile};

    use super::*;

    #[test]
    fn an_error_has_the_lines_that_it_is_about() {
        let location = SourceLocation {
            file: Arc::new(SourceFile {
                filename: "Dockerfile".to_owned(),
                data: b"FROM x\nRUN false\n".to_vec(),
                language: "Dockerfile".to_owned(),
            }),
            ranges: vec![Range {
                start: (2, 0),
                end: (2, 0),
            }],
        };
        let error = Error::Located {
            cause: Box::new(Error::Failed("bad".to_owned())),
            location: Box::new(location),
        };
        let status = status(&error);
        assert_eq!((status.code(), status.message()), (Code::Unknown, "bad"));
        let told = told(&status);
        assert_eq!(told.details[0].type_url, "errdefs.Source");
        let source = Source::decode(told.details[0].value.as_slice()).unwrap();
        assert_eq!(source.info.unwrap().filename, "Dockerfile");
        assert_eq!(source.ranges[0].start.unwrap().line, 2);
        // As a client that is its own front end hands it back.
        assert_eq!(detailed(told).details(), status.details());
    }
}
