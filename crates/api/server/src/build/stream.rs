//! The lines of a build.

use arca_build::{ClassicLine, ClassicSink, Error};
use arca_types::chain;
use arca_wire::progress::{ErrorDetail, JsonMessage};
use axum::response::Response;
use serde_json::json;

use crate::error::ApiError;
use crate::http::{Client, Words, told};
use crate::images::message;

/// Runs a build and sends its lines.
pub(super) async fn report<F>(
    client: Client,
    run: impl FnOnce(ClassicSink) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let words = Words {
        line: said,
        failure,
    };
    told(client, words, run).await
}

/// The line that ends a build with a failure; of a command it has the exit code.
pub(super) fn failure(error: &Error) -> JsonMessage {
    let message = chain(error);
    let code = match error {
        Error::Command { code, .. } => i64::from(*code),
        _ => 0,
    };
    JsonMessage {
        error: message.clone(),
        error_detail: Some(ErrorDetail { code, message }),
        ..JsonMessage::default()
    }
}

fn said(told: ClassicLine) -> JsonMessage {
    match told {
        ClassicLine::Stream(stream) => JsonMessage {
            stream,
            ..JsonMessage::default()
        },
        ClassicLine::Pulling(progress) => message(*progress),
        ClassicLine::Image(id) => JsonMessage {
            aux: Some(json!({ "ID": id.to_string() })),
            ..JsonMessage::default()
        },
    }
}
