//! Results that are sent to the client (`moby.filesync.v1.FileSend`).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use arca_build::Error;
use arca_build::session::FileSink;
use arca_types::Timestamp;
use async_trait::async_trait;
use bollard_buildkit_proto::moby::filesync::packet::BytesMessage;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic_prost::ProstCodec;

use super::Session;
use super::attachable::set;
use crate::filesync;

const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// The most bytes of one message.
const CHUNK: usize = 1 << 20;

/// A file that is being sent.
struct Sending {
    pieces: mpsc::Sender<BytesMessage>,
    done: oneshot::Receiver<Result<(), Status>>,
}

#[async_trait]
impl FileSink for Sending {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK));
            let message = BytesMessage {
                data: piece.to_vec(),
            };
            if self.pieces.send(message).await.is_err() {
                return Err(self.failure().await);
            }
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { pieces, done } = *self;
        drop(pieces);
        match done.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(crate::error::of_client("export", &status)),
            Err(_) => Err(Error::Failed("export: the client has gone".to_owned())),
        }
    }
}

impl Sending {
    async fn failure(&mut self) -> Error {
        match (&mut self.done).await {
            Ok(Err(status)) => crate::error::of_client("export", &status),
            _ => Error::Failed("export: the client has gone".to_owned()),
        }
    }
}

impl Session {
    /// Which exporter's file or directory is meant, and what the client is told of it.
    fn metadata(
        &self,
        exporter: usize,
        metadata: &BTreeMap<String, String>,
    ) -> Result<MetadataMap, Error> {
        if !self.serves(METHOD) {
            return Err(Error::Invalid(
                "the client takes no exported files".to_owned(),
            ));
        }
        let mut map = MetadataMap::new();
        let number = exporter.to_string();
        set(&mut map, "buildkit-attachable-exporter-id", &[&number])?;
        for (key, value) in metadata {
            set(&mut map, &format!("exporter-md-{key}"), &[value])?;
        }
        Ok(map)
    }

    pub(super) async fn open_file(
        &self,
        exporter: usize,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Box<dyn FileSink>, Error> {
        let metadata = self.metadata(exporter, metadata)?;
        let (pieces, outgoing) = mpsc::channel::<BytesMessage>(4);
        let (told, done) = oneshot::channel();
        let channel = self.channel.clone();
        tokio::spawn(async move {
            let outcome = send(channel, metadata, ReceiverStream::new(outgoing)).await;
            if told.send(outcome).is_err() {
                tracing::trace!("nobody asks how the export went");
            }
        });
        Ok(Box::new(Sending { pieces, done }))
    }

    pub(super) async fn send_tree(
        &self,
        exporter: usize,
        root: OwnedFd,
        time: Option<Timestamp>,
    ) -> Result<(), Error> {
        let metadata = self.metadata(exporter, &BTreeMap::new())?;
        let sent = filesync::send(self.channel.clone(), METHOD, metadata, (root, time));
        tokio::select! {
            sent = sent => sent,
            () = self.closed.cancelled() => {
                Err(Error::Failed("export: the client has gone".to_owned()))
            }
        }
    }
}

/// Sends messages and waits until the client has taken all of them.
async fn send(
    channel: tonic::transport::Channel,
    metadata: MetadataMap,
    outgoing: ReceiverStream<BytesMessage>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), outgoing);
    let codec: ProstCodec<BytesMessage, BytesMessage> = ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static(METHOD);
    let mut incoming = grpc.streaming(request, path, codec).await?.into_inner();
    while incoming.message().await?.is_some() {}
    Ok(())
}
