//! Content stores of the client (`containerd.services.content.v1.Content`): OCI layouts that it has.

use arca_build::Error;
use arca_build::session::Upload;
use arca_types::Digest;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::Session;
use super::attachable::set;

const READ: &str = "/containerd.services.content.v1.Content/Read";

/// `ReadContentRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    offset: i64,
    #[prost(int64, tag = "3")]
    size: i64,
}

/// `ReadContentResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadResponse {
    #[prost(int64, tag = "1")]
    offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

impl Session {
    /// Reads what an OCI layout of the client has.
    pub(super) async fn read_layout(&self, store: &str, digest: &Digest) -> Result<Upload, Error> {
        if !self.serves(READ) {
            return Err(Error::NotFound(
                "the client serves no OCI layouts".to_owned(),
            ));
        }
        let mut request = Request::new(ReadRequest {
            digest: digest.to_string(),
            ..ReadRequest::default()
        });
        let store = format!("oci:{store}");
        set(
            request.metadata_mut(),
            "buildkit-attachable-store-id",
            &[&store],
        )?;
        let mut grpc = Grpc::new(self.channel.clone());
        let call = async {
            let ready = grpc.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec: ProstCodec<ReadRequest, ReadResponse> = ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(READ);
            grpc.server_streaming(request, path, codec).await
        };
        let incoming = self.ask("oci layout", call).await?.into_inner();
        let closed = self.closed.clone();
        let pieces = stream::try_unfold(incoming, move |mut incoming| {
            let closed = closed.clone();
            async move {
                let message = tokio::select! {
                    message = incoming.message() => message,
                    () = closed.cancelled() => Err(Status::cancelled("the client has gone")),
                };
                let failed = |status| crate::error::of_client("oci layout", &status);
                let message: Option<ReadResponse> = message.map_err(failed)?;
                Ok(message.map(|message| (Bytes::from(message.data), incoming)))
            }
        });
        Ok(pieces.boxed())
    }
}
