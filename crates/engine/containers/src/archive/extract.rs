//! `PutContainerArchive`: unpacks an archive in a container.

use std::os::fd::BorrowedFd;

use arca_archive::{ExtractOptions, extract, open_in_root};
use arca_images::ByteStream;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::path::Wanted;
use super::pipe::Intake;
use crate::Error;
use crate::container::Container;
use crate::model::{MountPoint, MountType};
use crate::service::Containers;
use crate::start::blocking;
use crate::users;

/// How an archive is unpacked in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtractRequest {
    /// The directory to unpack in. Symbolic links to directories are followed.
    pub path: String,
    /// Whether it is an error when a directory would replace something else, or the reverse.
    pub keep_directories: bool,
    /// Whether everything is to belong to the container's user, not to the archive's.
    pub copy_owner: bool,
}

impl Containers {
    /// Unpacks an archive, plain or compressed by gzip or zstd, in a directory of a container
    /// (`PutContainerArchive`). What has been unpacked stays when it fails.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoSuchFile`]; [`Error::Invalid`] when the path is no directory or the
    /// compression is not known; [`Error::Forbidden`] when the path is read-only; [`Error::Archive`].
    pub async fn extract(
        &self,
        id: &str,
        request: ExtractRequest,
        archive: ByteStream,
    ) -> Result<(), Error> {
        let handle = self.service().index.find(id)?;
        // A start waits until everything is there.
        let mut turn = Some(handle.files.read().await);
        let container = handle.snapshot();
        if container.state.process().is_some() {
            turn = None;
        }
        let view = self.service().view(&container).await?;
        let wanted = Wanted::new(&request.path, id);
        let mut intake = Intake::new(archive, &self.service().tasks);
        let copied = std::sync::Arc::clone(&container);
        let (bound, own) = (view.ids(true), view.ids(false));
        blocking(move || {
            view.with(|root| {
                let (options, is_bound) = options(root, &copied, &wanted, &request)?;
                let options = ExtractOptions {
                    ids: if is_bound { bound } else { own },
                    ..options
                };
                let input = intake.decompressed()?;
                extract(input, root, &options).map_err(Error::Archive)?;
                intake.drain();
                Ok(())
            })
        })
        .await?;
        drop(turn);
        let event = crate::actor::event(&container, "extract-to-dir");
        self.service().events.publish(event).await;
        Ok(())
    }
}

/// How to unpack, and whether it is done in files that are not arca's own.
fn options(
    root: BorrowedFd<'_>,
    container: &Container,
    wanted: &Wanted,
    request: &ExtractRequest,
) -> Result<(ExtractOptions, bool), Error> {
    let path = wanted.followed(root)?;
    let opened = open_in_root(root, path.as_bytes(), OFlags::PATH | OFlags::DIRECTORY);
    opened.map_err(|error| match error {
        Errno::NOTDIR => Error::Invalid("extraction point is not a directory".to_owned()),
        error => wanted.failed(error),
    })?;
    let mount = innermost(container, &path);
    check_writable(container, mount)?;
    let is_bound = mount.is_some_and(|point| point.kind == MountType::Bind);
    let owner = if request.copy_owner && !container.spec.user.is_empty() {
        let user = users::resolve(root, &container.spec.user, &[])?.user;
        Some((user.uid, user.gid))
    } else {
        None
    };
    let options = ExtractOptions {
        below: path.trim_start_matches('/').as_bytes().to_vec(),
        owner,
        keep_directories: request.keep_directories,
        ..ExtractOptions::default()
    };
    Ok((options, is_bound))
}

/// The mount that a path is in; `None` for the root filesystem.
fn innermost<'c>(container: &'c Container, path: &str) -> Option<&'c MountPoint> {
    let contains = |outer: &str| {
        path.strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounts = container.mounts.iter();
    mounts
        .filter(|point| contains(&point.destination))
        .max_by_key(|point| point.destination.len())
}

fn check_writable(container: &Container, mount: Option<&MountPoint>) -> Result<(), Error> {
    let refusal = match mount {
        Some(point) if !point.rw => "mounted volume is marked read-only",
        None if container.spec.host.readonly_rootfs => "container rootfs is marked read-only",
        _ => return Ok(()),
    };
    Err(Error::Forbidden(refusal.to_owned()))
}
