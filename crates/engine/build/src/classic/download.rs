//! Files that `ADD` fetches.

use std::os::fd::AsFd as _;

use arca_types::random_hex;
use futures_util::StreamExt as _;

use super::stage::Build;
use crate::Error;
use crate::fs::digest;
use crate::solve::blocking;
use crate::source::date;

/// A file that was downloaded; it goes with this.
pub(super) struct Download {
    pub(super) path: std::path::PathBuf,
    pub(super) name: String,
    pub(super) hash: String,
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, "a downloaded file is left behind");
        }
    }
}

impl Build {
    /// Downloads a file.
    pub(super) async fn download(&self, address: &str) -> Result<Download, Error> {
        let name = address.split(['?', '#']).next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..")
            || !address
                .split_once("://")
                .is_some_and(|(_, r)| r.contains('/'))
        {
            let text = format!("cannot determine filename from url: {address}");
            return Err(Error::Invalid(text));
        }
        let directory = self.builder.0.root().join("http").join(random_hex(8));
        let mut download = Download {
            path: directory,
            name: name.to_owned(),
            hash: String::new(),
        };
        let fetched = self.builder.0.backends.registry.fetch(address).await;
        let mut fetched = fetched.map_err(|cause| Error::Http {
            what: "ADD failed".to_owned(),
            cause: Box::new(cause),
        })?;
        let (made, target) = (download.path.clone(), download.path.join(name));
        let mut file = blocking(move || {
            std::fs::create_dir_all(&made).map_err(Error::file("create", &made))?;
            std::fs::File::create_new(&target).map_err(Error::file("create", &target))
        })
        .await?;
        self.line("Downloading ").await;
        while let Some(piece) = fetched.content.next().await {
            let piece = piece.map_err(Error::file("download", address))?;
            file = blocking(move || {
                std::io::Write::write_all(&mut file, &piece)
                    .map_err(Error::file("write", "download"))?;
                Ok(file)
            })
            .await?;
        }
        self.line("\n").await;
        let (path, at) = (download.path.clone(), name.as_bytes().to_vec());
        let modified = fetched.modified;
        download.hash = blocking(move || {
            date(&file, modified).map_err(Error::file("set the time of", "download"))?;
            let file = path.join(String::from_utf8_lossy(&at).into_owned());
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, mode).map_err(Error::file("chmod", &file))?;
            let root = arca_archive::open_root(&path).map_err(Error::errno("open", &path))?;
            let digest = digest::of_path(root.as_fd(), &at, None, None)?;
            Ok(digest
                .map(|digest| format!("file:{}", digest.hex()))
                .unwrap_or_default())
        })
        .await?;
        Ok(download)
    }
}
