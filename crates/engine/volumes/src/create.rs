//! Making a volume.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arca_store::Batch;
use arca_types::random_hex;

use crate::error::Error;
use crate::record::{ANONYMOUS, Volume};
use crate::volumes::{Entry, Volumes};

/// What to make (`VolumeCreateOptions`).
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The name; none makes an anonymous volume with a random one.
    pub name: Option<String>,
    /// The driver; none means `local`.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The options of the local driver that change what is mounted.
const MOUNT_OPTIONS: [&str; 4] = ["type", "o", "device", "size"];

impl Volumes {
    /// Makes a volume; returns the one that has this name already, if there is one (`VolumeCreate`).
    ///
    /// # Errors
    /// When the name or an option is refused, or the volume cannot be made; then there is none.
    pub async fn create(&self, request: CreateRequest) -> Result<Arc<Volume>, Error> {
        // A client that goes away must not leave a record that the index does not know.
        let volumes = self.clone();
        let made = tokio::spawn(async move { volumes.make(request).await });
        made.await.map_err(|_cancelled| Error::ShuttingDown)?
    }

    async fn make(&self, request: CreateRequest) -> Result<Arc<Volume>, Error> {
        let volume = Arc::new(self.checked(request)?);
        {
            let _guard = self.0.changes.lock().await;
            if let Some(entry) = self.index().get(&volume.name) {
                return Ok(Arc::clone(&entry.volume));
            }
            make_data(&self.path(&volume.name))?;
            let batch = Batch::new()
                .put(&volume.name, volume.as_ref())
                .map_err(Error::Store)?;
            self.commit(batch, Self::event("create", &volume.name))
                .await?;
            let entry = Entry {
                volume: Arc::clone(&volume),
                users: BTreeSet::new(),
            };
            self.index().insert(volume.name.clone(), entry);
        }
        self.settle().await?;
        Ok(volume)
    }

    fn checked(&self, request: CreateRequest) -> Result<Volume, Error> {
        let CreateRequest {
            name,
            driver,
            options,
            labels,
        } = request;
        let (name, labels) = match name.filter(|name| !name.is_empty()) {
            Some(name) => (name, labels),
            None => {
                let mut labels = labels.unwrap_or_default();
                labels.insert(ANONYMOUS.to_owned(), String::new());
                (random_hex(32), Some(labels))
            }
        };
        check_name(&name)?;
        check_driver(&name, driver.as_deref())?;
        check_options(&name, options.as_ref())?;
        Ok(Volume {
            name,
            labels,
            options,
            created_at: self.0.clock.now(),
        })
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() < 2 {
        return Err(Error::NameTooShort(name.to_owned()));
    }
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if starts_well && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::NameInvalid(name.to_owned()))
    }
}

fn check_driver(name: &str, driver: Option<&str>) -> Result<(), Error> {
    match driver.filter(|driver| !driver.is_empty()) {
        None | Some(Volume::DRIVER) => Ok(()),
        Some(driver) => Err(Error::NoDriver {
            name: name.to_owned(),
            driver: driver.to_owned(),
        }),
    }
}

fn check_options(name: &str, options: Option<&BTreeMap<String, String>>) -> Result<(), Error> {
    match options.and_then(|options| options.keys().next()) {
        None => Ok(()),
        Some(option) if MOUNT_OPTIONS.contains(&option.as_str()) => Err(Error::UnsupportedOption {
            name: name.to_owned(),
            option: option.clone(),
        }),
        Some(option) => Err(Error::InvalidOption {
            name: name.to_owned(),
            option: option.clone(),
        }),
    }
}

/// Makes the directory of the data. One that a crash left without a record is used as it is.
pub(crate) fn make_data(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |source| Error::File {
        action: "make",
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o701)
            .create(parent)
            .map_err(failed)?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(path)
        .map_err(failed)?;
    // Whatever the umask: this is what a container sees.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)
}
