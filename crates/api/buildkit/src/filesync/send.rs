//! The sender: the client's directory becomes equal to a tree here.

use std::os::fd::OwnedFd;

use arca_archive::open_in_root;
use arca_build::Error;
use arca_types::Timestamp;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::{CHUNK, QUEUE, mode, open, packet, stat_packet};

/// Requests of the client that may wait while the list is still being sent.
const REQUESTS: usize = 4096;

/// Sends the tree below `root` by `method`, with its own times or one for all.
///
/// # Errors
/// When a file cannot be read; what the client says.
pub(crate) async fn send(
    channel: Channel,
    method: &'static str,
    metadata: MetadataMap,
    (root, time): (OwnedFd, Option<Timestamp>),
) -> Result<(), Error> {
    let (packets, outgoing) = mpsc::channel(QUEUE);
    let (requests, asked) = mpsc::channel(REQUESTS);
    let sender = packets.clone();
    // The client answers when it has the first packet, so sending begins before.
    let working = tokio::task::spawn_blocking(move || work_through(&root, time, asked, &sender));
    let mut incoming = open(channel, method, metadata, outgoing).await?;
    let told = async {
        while let Some(packet) = incoming
            .message()
            .await
            .map_err(|status| crate::error::of_client("sending files", &status))?
        {
            match packet.r#type() {
                PacketType::PacketReq => {
                    if requests.send(packet.id).await.is_err() {
                        break;
                    }
                }
                PacketType::PacketFin => break,
                PacketType::PacketErr => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(Error::Failed(text));
                }
                PacketType::PacketStat | PacketType::PacketData => {
                    return Err(Error::Invalid("a packet out of order".to_owned()));
                }
            }
        }
        Ok(())
    };
    let told = told.await;
    drop(requests);
    let worked = working
        .await
        .map_err(|_error| Error::Failed("the transfer was broken off".to_owned()))?;
    told?;
    worked?;
    let fin = packet(PacketType::PacketFin, 0, Vec::new());
    if packets.send(fin).await.is_err() {
        return Err(Error::Failed(
            "sending files: the client has gone".to_owned(),
        ));
    }
    drop(packets);
    // The client closes its side when it has everything.
    while let Ok(Some(_)) = incoming.message().await {}
    Ok(())
}

/// Sends the list, then the contents that are asked for. It blocks.
fn work_through(
    root: &OwnedFd,
    time: Option<Timestamp>,
    mut asked: mpsc::Receiver<u32>,
    packets: &mpsc::Sender<Packet>,
) -> Result<(), Error> {
    let gone = |_| Error::Failed("sending files: the client has gone".to_owned());
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        if !path.is_empty() {
            let mut stat = stat(root, &path)?;
            if let Some(time) = time {
                stat.mod_time = time.unix_nanoseconds();
            }
            packets
                .blocking_send(stat_packet(Some(stat)))
                .map_err(gone)?;
            files.push(path.clone());
        }
        waiting.extend(below(root, &path)?);
    }
    packets.blocking_send(stat_packet(None)).map_err(gone)?;
    while let Some(number) = asked.blocking_recv() {
        let unknown = || Error::Invalid(format!("file {number} is not in the list"));
        let index = usize::try_from(number).ok();
        let path = index
            .and_then(|index| files.get(index))
            .ok_or_else(unknown)?;
        contents(root, path, number, packets)?;
    }
    Ok(())
}

/// The entries of a directory, the last one first; nothing for what is none.
fn below(root: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let failed = || Error::errno("read", String::from_utf8_lossy(path).into_owned());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = match open_in_root(root, path, flags) {
        Ok(directory) => directory,
        Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(Vec::new()),
        Err(error) => return Err(failed()(error)),
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(match path {
                b"" => name.to_vec(),
                path => [path, name].join(&b'/'),
            });
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn stat(root: &OwnedFd, path: &[u8]) -> Result<Stat, Error> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let opened = open_in_root(root, path, flags).map_err(Error::errno("open", shown()))?;
    let found = rustix::fs::statat(&opened, "", AtFlags::EMPTY_PATH)
        .map_err(Error::errno("stat", shown()))?;
    let linkname = if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
        let target = rustix::fs::readlinkat(&opened, "", Vec::new())
            .map_err(Error::errno("readlink", shown()))?;
        target.to_string_lossy().into_owned()
    } else {
        String::new()
    };
    let path = std::str::from_utf8(path).map_err(|_error| {
        Error::Invalid(format!("{:?} is not UTF-8: it cannot be sent", shown()))
    })?;
    let nanoseconds = i64::try_from(found.st_mtime_nsec).unwrap_or(0);
    Ok(Stat {
        path: path.to_owned(),
        mode: mode::to_go(found.st_mode),
        uid: found.st_uid,
        gid: found.st_gid,
        size: found.st_size,
        mod_time: found
            .st_mtime
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds),
        linkname,
        devmajor: i64::from(rustix::fs::major(found.st_rdev)),
        devminor: i64::from(rustix::fs::minor(found.st_rdev)),
        xattrs: std::collections::HashMap::new(),
    })
}

fn contents(
    root: &OwnedFd,
    path: &[u8],
    number: u32,
    packets: &mpsc::Sender<Packet>,
) -> Result<(), Error> {
    use std::io::Read as _;
    let shown = || String::from_utf8_lossy(path).into_owned();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = open_in_root(root, path, flags).map_err(Error::errno("open", shown()))?;
    let mut file = std::fs::File::from(opened);
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = file
            .read(&mut buffer)
            .map_err(Error::file("read", shown()))?;
        let data = buffer.get(..length).unwrap_or_default().to_vec();
        let packet = packet(PacketType::PacketData, number, data);
        packets
            .blocking_send(packet)
            .map_err(|_error| Error::Failed("sending files: the client has gone".to_owned()))?;
        if length == 0 {
            return Ok(());
        }
    }
}
