//! What an image has at a mount point goes into a volume that is still empty.

use std::os::fd::OwnedFd;

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
        let (name, data) = (name.to_owned(), self.path(name));
        tokio::task::spawn_blocking(move || {
            let failed = |source: arca_archive::Error| Error::CopyUp {
                name: name.clone(),
                path: path.clone(),
                source,
            };
            let unreadable = |source| Error::File {
                action: "read",
                path: data.clone(),
                source,
            };
            if std::fs::read_dir(&data)
                .map_err(unreadable)?
                .next()
                .is_some()
            {
                return Ok(());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let source = match arca_archive::open_in_root(&image, path.as_bytes(), flags) {
                Ok(source) => source,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                Err(errno) => return Err(unreadable(errno.into())),
            };
            let target =
                arca_archive::open_root(&data).map_err(|errno| unreadable(errno.into()))?;
            arca_archive::copy_tree(source, target, false).map_err(failed)
        })
        .await
        .map_err(|_cancelled| Error::ShuttingDown)?
    }
}
