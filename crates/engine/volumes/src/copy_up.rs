//! What an image has at a mount point goes into a volume that is still empty.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Error;
use crate::volumes::Volumes;

impl Volumes {
    /// Copies what `path` of the image holds into the volume `name`, if the volume is empty: with
    /// owners, modes, times and extended attributes, those of the directory itself too. A path that the
    /// image does not have, or that is not a directory, copies nothing.
    ///
    /// `image` is the image's root directory; `path` is resolved inside it.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::CopyUp`] when something could not be copied; the volume then
    /// holds a part of it.
    pub async fn copy_up(&self, name: &str, image: OwnedFd, path: String) -> Result<(), Error> {
        self.get(name)?;
        // A volume that is mounted somewhere far is not touched for nothing.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let source = match arca_archive::open_in_root(&image, path.as_bytes(), flags) {
            Ok(source) => source,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(unreadable(path.as_ref(), errno)),
        };
        let held = self.hold(name).await?;
        let (name, data) = (name.to_owned(), held.path().to_owned());
        let copied = tokio::task::spawn_blocking(move || fill(&data, source, name, path)).await;
        held.release().await;
        copied.map_err(|_cancelled| Error::ShuttingDown)?
    }
}

fn fill(data: &Path, source: OwnedFd, name: String, path: String) -> Result<(), Error> {
    let target = arca_archive::open_root(data).map_err(|errno| unreadable(data, errno))?;
    let listed = std::fs::read_dir(data).and_then(|mut entries| entries.next().transpose());
    let first = listed.map_err(|source| Error::File {
        action: "read",
        path: data.to_owned(),
        source,
    })?;
    if first.is_some() {
        return Ok(());
    }
    arca_archive::copy_tree(source, target, false).map_err(|source| Error::CopyUp {
        name,
        path,
        source,
    })
}

fn unreadable(path: &Path, errno: Errno) -> Error {
    Error::File {
        action: "read",
        path: path.to_owned(),
        source: errno.into(),
    }
}
