//! The receiver: a directory here becomes equal to the client's.

use std::path::{Path, PathBuf};

use arca_build::Error;
use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::list::List;
use super::write::Writer;
use super::{QUEUE, open, packet};

/// Packets that are handed on together, at most; they fit in the window of a stream.
const TOGETHER: usize = 256;
/// How many times so many may wait.
const CHUNKS: usize = 4;

const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// Makes `destination` equal to what the client sends. With `compare`, files of the same size, time, mode
/// and owner are not asked for again.
///
/// # Errors
/// [`Error::Invalid`] for paths that lead out or are out of order; what the client says.
pub(crate) async fn receive(
    channel: Channel,
    metadata: MetadataMap,
    destination: &Path,
    compare: bool,
) -> Result<(), Error> {
    let (asks, outgoing) = mpsc::channel(QUEUE);
    let incoming = open(channel, METHOD, metadata, outgoing).await?;
    // What has arrived is handed on together: waking a thread costs more than most packets.
    let mut incoming = incoming.ready_chunks(TOGETHER);
    let (packets, work) = mpsc::channel(CHUNKS);
    let destination = destination.to_owned();
    let asking = asks.clone();
    let mut working =
        tokio::task::spawn_blocking(move || work_through(destination, work, &asking, compare));
    let mut finished = false;
    loop {
        tokio::select! {
            done = &mut working, if !finished => {
                done.map_err(|_error| Error::Failed("the transfer was broken off".to_owned()))??;
                finished = true;
                let fin = packet(PacketType::PacketFin, 0, Vec::new());
                if asks.send(fin).await.is_err() {
                    return Err(gone());
                }
            }
            arrived = incoming.next() => {
                let Some(arrived) = arrived else {
                    return if finished { Ok(()) } else { Err(gone()) };
                };
                let (files, end) = sorted(arrived)?;
                if !files.is_empty() && packets.send(files).await.is_err() && finished {
                    return Err(Error::Failed("files after the end".to_owned()));
                }
                if end {
                    return Ok(());
                }
            }
        }
    }
}

/// The packets that are about files, and whether the client has said its last.
///
/// # Errors
/// What the client says.
fn sorted(arrived: Vec<Result<Packet, Status>>) -> Result<(Vec<Packet>, bool), Error> {
    let mut files = Vec::with_capacity(arrived.len());
    for packet in arrived {
        let packet =
            packet.map_err(|status| crate::error::of_client("transferring files", &status))?;
        match packet.r#type() {
            PacketType::PacketFin => return Ok((files, true)),
            PacketType::PacketErr => {
                let text = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(Error::Failed(text));
            }
            PacketType::PacketStat | PacketType::PacketReq | PacketType::PacketData => {
                files.push(packet);
            }
        }
    }
    Ok((files, false))
}

fn gone() -> Error {
    Error::Failed("transferring files: the client has gone".to_owned())
}

/// Takes the list, asks for what is missing, and writes it. It blocks.
fn work_through(
    destination: PathBuf,
    mut packets: mpsc::Receiver<Vec<Packet>>,
    asks: &mpsc::Sender<Packet>,
    compare: bool,
) -> Result<(), Error> {
    let mut writer = Writer::open(&destination, compare)?;
    let mut list = List::default();
    let mut number: u32 = 0;
    let mut listing = true;
    let mut arrived = Vec::new().into_iter();
    loop {
        if !listing && writer.is_complete() {
            return writer.finish(&list);
        }
        let packet = match arrived.next() {
            Some(packet) => packet,
            None => {
                arrived = packets.blocking_recv().ok_or_else(gone)?.into_iter();
                continue;
            }
        };
        match (packet.r#type(), packet.stat) {
            (PacketType::PacketStat, None) => listing = false,
            (PacketType::PacketStat, Some(stat)) => {
                let path = list.add(&stat)?;
                if writer.entry(&path, &stat, number)? {
                    let ask = super::packet(PacketType::PacketReq, number, Vec::new());
                    asks.blocking_send(ask).map_err(|_error| gone())?;
                }
                number = number
                    .checked_add(1)
                    .ok_or_else(|| Error::Invalid("too many files".to_owned()))?;
            }
            (PacketType::PacketData, _) => writer.data(packet.id, &packet.data)?,
            (PacketType::PacketReq | PacketType::PacketFin | PacketType::PacketErr, _) => {
                return Err(Error::Invalid("a packet out of order".to_owned()));
            }
        }
    }
}
