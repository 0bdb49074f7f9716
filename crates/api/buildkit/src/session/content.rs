//! Content stores of the client (`containerd.services.content.v1.Content`): OCI layouts that it has, and
//! directories with caches.

use arca_build::Error;
use arca_build::session::Upload;
use arca_types::{Digest, random_hex};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::Session;
use super::attachable::set;
use crate::content::{ReadRequest, ReadResponse};

const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";
/// Which store of the client is meant.
const STORE: &str = "buildkit-attachable-store-id";
/// The most bytes of one message.
const CHUNK: usize = 1 << 20;
/// Messages that wait to be sent.
const QUEUE: usize = 4;

/// What a message does to the blob (`WriteAction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Action {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

/// `WriteContentRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(string, tag = "2")]
    r#ref: String,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(int64, tag = "5")]
    offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    data: Vec<u8>,
}

/// `WriteContentResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct WriteResponse {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
}

impl Session {
    /// Puts a blob into a content store of the client, unless it is there.
    pub(super) async fn write_content(
        &self,
        store: &str,
        (digest, size): (&Digest, u64),
        content: Upload,
    ) -> Result<(), Error> {
        if !self.serves(WRITE) {
            return Err(Error::NotFound(
                "the client serves no content stores".to_owned(),
            ));
        }
        let (messages, outgoing) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        set(request.metadata_mut(), STORE, &[store])?;
        let first = WriteRequest {
            r#ref: format!("arca-{}", random_hex(8)),
            total: i64::try_from(size).unwrap_or(i64::MAX),
            expected: digest.to_string(),
            ..WriteRequest::default()
        };
        let mut grpc = Grpc::new(self.channel.clone());
        let call = async {
            let ready = grpc.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec: ProstCodec<WriteRequest, WriteResponse> = ProstCodec::default();
            let answers = grpc
                .streaming(request, PathAndQuery::from_static(WRITE), codec)
                .await;
            let mut answers = answers?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<(), Status>(())
        };
        let (sent, written) = tokio::join!(
            send(first, content, messages),
            self.ask("content store", async {
                match call.await {
                    Err(status) if status.code() == Code::AlreadyExists => Ok(()),
                    other => other,
                }
            })
        );
        sent?;
        written
    }

    /// Reads what a content store of the client has.
    pub(super) async fn read_content(&self, store: &str, digest: &Digest) -> Result<Upload, Error> {
        if !self.serves(READ) {
            return Err(Error::NotFound(
                "the client serves no content stores".to_owned(),
            ));
        }
        let mut request = Request::new(ReadRequest {
            digest: digest.to_string(),
            ..ReadRequest::default()
        });
        set(request.metadata_mut(), STORE, &[store])?;
        let mut grpc = Grpc::new(self.channel.clone());
        let call = async {
            let ready = grpc.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec: ProstCodec<ReadRequest, ReadResponse> = ProstCodec::default();
            grpc.server_streaming(request, PathAndQuery::from_static(READ), codec)
                .await
        };
        let incoming = self.ask("content store", call).await?.into_inner();
        let closed = self.closed.clone();
        let pieces = stream::try_unfold(incoming, move |mut incoming| {
            let closed = closed.clone();
            async move {
                let message = tokio::select! {
                    message = incoming.message() => message,
                    () = closed.cancelled() => Err(Status::cancelled("the client has gone")),
                };
                let failed = |status| crate::error::of_client("content store", &status);
                let message: Option<ReadResponse> = message.map_err(failed)?;
                Ok(message.map(|message| (Bytes::from(message.data), incoming)))
            }
        });
        Ok(pieces.boxed())
    }
}

/// Sends a blob as the messages of a write. It ends early when the client wants no more, whose answer says
/// why.
async fn send(
    first: WriteRequest,
    mut content: Upload,
    messages: mpsc::Sender<WriteRequest>,
) -> Result<(), Error> {
    let mut offset = 0_i64;
    let of = |action: Action, offset: i64, data: Vec<u8>| WriteRequest {
        action: action.into(),
        offset,
        data,
        ..first.clone()
    };
    if messages
        .send(of(Action::Stat, 0, Vec::new()))
        .await
        .is_err()
    {
        return Ok(());
    }
    while let Some(piece) = content.next().await {
        for data in piece?.chunks(CHUNK) {
            let message = of(Action::Write, offset, data.to_vec());
            if messages.send(message).await.is_err() {
                return Ok(());
            }
            offset = offset.saturating_add(i64::try_from(data.len()).unwrap_or(i64::MAX));
        }
    }
    // Nobody there: the client has said why.
    let _told = messages.send(of(Action::Commit, offset, Vec::new())).await;
    Ok(())
}
