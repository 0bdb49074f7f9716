//! fsutil's protocol, in which BuildKit's clients and servers make a directory equal to another.
//!
//! The sender tells of every file in order ([`Packet`] `STAT`), an empty one is the end of the list. The
//! receiver asks for the contents it lacks (`REQ` with the number of the file), the sender sends them
//! (`DATA`, an empty one is the end of a file). The receiver ends with `FIN`, the sender answers it.

mod list;
pub(crate) mod mode;
mod receive;
mod send;
#[cfg(test)]
mod tests;
mod write;

use arca_build::Error;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use tonic::Status;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

pub(crate) use receive::receive;
pub(crate) use send::send;

/// Packets that may wait on either side.
const QUEUE: usize = 64;
/// The most bytes of a `DATA` packet.
const CHUNK: usize = 32 << 10;

fn packet(kind: PacketType, id: u32, data: Vec<u8>) -> Packet {
    Packet {
        r#type: kind.into(),
        stat: None,
        id,
        data,
    }
}

fn stat_packet(stat: Option<Stat>) -> Packet {
    Packet {
        r#type: PacketType::PacketStat.into(),
        stat,
        id: 0,
        data: Vec::new(),
    }
}

/// Opens a stream of packets in both directions.
async fn open(
    channel: Channel,
    method: &'static str,
    metadata: MetadataMap,
    outgoing: tokio::sync::mpsc::Receiver<Packet>,
) -> Result<tonic::Streaming<Packet>, Error> {
    let failed = |status: &Status| crate::error::of_client("transferring files", status);
    let mut grpc = Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| failed(&Status::unavailable(error.to_string())))?;
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), outgoing);
    let codec: ProstCodec<Packet, Packet> = ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static(method);
    let answered = grpc.streaming(request, path, codec).await;
    answered
        .map(tonic::Response::into_inner)
        .map_err(|status| failed(&status))
}
