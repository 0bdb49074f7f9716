//! The driver `local`: a directory, or something that mount(8) can mount there.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use arca_types::parse_size;
use async_trait::async_trait;

use super::mount_options::MountSpec;
use super::{Holder, VolumeDriver, addresses, blocking, filesystem, table};
use crate::error::Error;
use crate::record::Volume;

/// The options there are, and what each of them needs.
const OPTIONS: [(&str, &[&str]); 4] = [
    ("device", &["type"]),
    ("o", &["device", "type"]),
    ("size", &[]),
    ("type", &["device"]),
];

#[derive(Debug, Clone)]
pub(super) struct Local {
    root: PathBuf,
}

impl Local {
    pub(super) fn new(root: &Path) -> Self {
        let root = root.to_owned();
        Self { root }
    }

    /// Limits what the volume may hold.
    fn limit(&self, volume: &Volume, bytes: u64) -> Result<(), Error> {
        let data = volume.data_below(&self.root);
        let failed = |source| Error::File {
            action: "limit",
            path: data.clone(),
            source,
        };
        let directory = std::fs::File::open(&data).map_err(failed)?;
        arca_sys::quota::limit_new_project(&[directory.as_fd()], bytes).map_err(failed)
    }
}

#[async_trait]
impl VolumeDriver for Local {
    async fn create(&self, volume: &Volume) -> Result<(), Error> {
        let (driver, volume) = (self.clone(), volume.clone());
        blocking(move || {
            let size = check_options(&volume, &driver.root)?;
            filesystem::make_directory(&volume.data_below(&driver.root))?;
            match size {
                Some(bytes) => driver.limit(&volume, bytes),
                None => Ok(()),
            }
        })
        .await
    }

    async fn remove(&self, volume: &Volume) -> Result<(), Error> {
        let data = volume.data_below(&self.root);
        if volume.is_plain() {
            return Ok(());
        }
        blocking(move || filesystem::take_away(&data)).await
    }

    async fn mount(&self, volume: &Volume, _holder: &Holder) -> Result<PathBuf, Error> {
        let data = volume.data_below(&self.root);
        if volume.is_plain() {
            return Ok(data);
        }
        let volume = volume.clone();
        blocking(move || {
            let failed = |text: String| Error::Mount {
                path: data.clone(),
                text,
            };
            if table::is_mounted(&data).map_err(filesystem::unreadable)? {
                return Ok(data);
            }
            let spec = mount_spec(&volume).map_err(failed)?;
            spec.mount(&data)
                .map_err(|text| failed(format!("failed to mount local volume: {text}")))?;
            Ok(data)
        })
        .await
    }

    async fn unmount(&self, volume: &Volume, _holder: &Holder, last: bool) -> Result<(), Error> {
        if !last || volume.is_plain() {
            return Ok(());
        }
        let data = volume.data_below(&self.root);
        blocking(move || filesystem::take_away(&data)).await
    }

    async fn size(&self, volume: &Volume) -> Result<Option<u64>, Error> {
        // What is mounted belongs to others, and may be large and far away.
        if !volume.is_plain() {
            return Ok(None);
        }
        let data = volume.data_below(&self.root);
        blocking(move || filesystem::measure(&data).map(Some)).await
    }
}

/// Checks the options; returns the size that is asked for.
///
/// # Errors
/// In dockerd's words.
fn check_options(volume: &Volume, root: &Path) -> Result<Option<u64>, Error> {
    let name = || volume.name.clone();
    let none = BTreeMap::new();
    let options = volume.options.as_ref().unwrap_or(&none);
    for option in options.keys() {
        if !OPTIONS.iter().any(|(known, _)| known == option) {
            return Err(Error::InvalidOption {
                name: name(),
                option: option.clone(),
            });
        }
    }
    for (option, needed) in OPTIONS {
        let missing = needed.iter().find(|other| !options.contains_key(**other));
        if let Some(missing) = missing.filter(|_| options.contains_key(option)) {
            return Err(Error::MissingOption {
                name: name(),
                option: missing,
            });
        }
    }
    let Some(size) = options.get("size") else {
        return Ok(None);
    };
    let bytes = parse_size(size).ok_or_else(|| Error::InvalidSize {
        name: name(),
        size: size.clone(),
    })?;
    let directory = std::fs::File::open(root).map_err(filesystem::unreadable)?;
    if arca_sys::quota::has_project_quotas(directory.as_fd()) {
        Ok(Some(bytes))
    } else {
        Err(Error::NoQuota(name()))
    }
}

/// What is to be mounted, with the address of a server looked up.
fn mount_spec(volume: &Volume) -> Result<MountSpec, String> {
    let option = |name| volume.option(name).unwrap_or_default();
    let kind = option("type");
    let (device, options) = addresses::resolved(kind, option("device"), option("o"))?;
    Ok(MountSpec::parse(&device, kind, &options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(options: &[(&str, &str)]) -> Volume {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Volume {
            options: Some(options.collect()),
            ..Volume::named("data")
        }
    }

    #[test]
    fn options_need_each_other() {
        let refused = |options: &[(&str, &str)]| {
            check_options(&volume(options), Path::new("/proc"))
                .unwrap_err()
                .to_string()
        };
        for (options, text) in [
            (
                &[("foo", "bar")][..],
                "create data: invalid option: \"foo\"",
            ),
            (
                &[("type", "tmpfs")],
                "create data: missing required option: \"device\"",
            ),
            (
                &[("device", "/tmp"), ("o", "bind")],
                "create data: missing required option: \"type\"",
            ),
            (&[("size", "xx")], "create data: invalid size: 'xx'"),
            (
                &[("size", "1m")],
                "create data: quota size requested but no quota support",
            ),
        ] {
            assert_eq!(refused(options), text);
        }
    }

    #[test]
    fn the_kernel_gets_the_address_of_a_server() {
        let nfs = volume(&[
            ("type", "nfs"),
            ("device", ":/x"),
            ("o", "addr=localhost,ro,nfsvers=4"),
        ]);
        let spec = mount_spec(&nfs).unwrap();
        assert_eq!(
            (spec.device.as_str(), spec.data.as_str()),
            (":/x", "addr=127.0.0.1,nfsvers=4")
        );
        let cifs = volume(&[
            ("type", "cifs"),
            ("device", "//localhost/x"),
            ("o", "user=a,password=b"),
        ]);
        let spec = mount_spec(&cifs).unwrap();
        assert_eq!(
            (spec.device.as_str(), spec.data.as_str()),
            ("//127.0.0.1/x", "user=a,password=b")
        );
    }

    /// On a file system that keeps project quotas. Optional: kernels without `QFMT_V2` mount none.
    #[tokio::test]
    async fn a_size_limits_what_a_volume_holds() {
        let Some(disk) = Disk::with_project_quotas() else {
            return;
        };
        let local = Local::new(&disk.place.path().join("volumes"));
        std::fs::create_dir(&local.root).unwrap();
        for (name, size, fits) in [("small", "2m", 1 << 20), ("large", "6m", 5 << 20)] {
            let limited = Volume {
                options: Some([("size".to_owned(), size.to_owned())].into()),
                ..Volume::named(name)
            };
            local.create(&limited).await.unwrap();
            let data = limited.data_below(&local.root);
            std::fs::create_dir(data.join("deep")).unwrap();
            std::fs::write(data.join("deep/fits"), vec![1; fits]).unwrap();
            let full = std::fs::write(data.join("deep/more"), vec![1; 4 << 20]).unwrap_err();
            let kind = full.kind();
            let quota = [
                std::io::ErrorKind::StorageFull,
                std::io::ErrorKind::QuotaExceeded,
            ];
            assert!(quota.contains(&kind), "{name}: {full}");
        }
        let free = Volume::named("free");
        local.create(&free).await.unwrap();
        std::fs::write(free.data_below(&local.root).join("f"), vec![1; 8 << 20]).unwrap();
    }

    /// An ext4 file system of its own, mounted with project quotas.
    struct Disk {
        place: tempfile::TempDir,
        _image: tempfile::NamedTempFile,
    }

    impl Disk {
        fn with_project_quotas() -> Option<Self> {
            let image = tempfile::NamedTempFile::new().unwrap();
            image.as_file().set_len(64 << 20).unwrap();
            let options = [
                "-q",
                "-F",
                "-O",
                "quota,project",
                "-E",
                "quotatype=prjquota",
            ];
            let made = std::process::Command::new("/usr/sbin/mkfs.ext4")
                .args(options)
                .arg(image.path())
                .status();
            assert!(made.unwrap().success());
            let place = tempfile::tempdir().unwrap();
            let device = arca_sys::loop_device::attach_loop(image.as_file().as_fd()).unwrap();
            let spec = MountSpec::parse(&device.path.to_string_lossy(), "ext4", "prjquota");
            match spec.mount(place.path()) {
                Ok(()) => Some(Self {
                    place,
                    _image: image,
                }),
                // Not built into this kernel.
                Err(text) => {
                    assert!(
                        text.ends_with("invalid argument") || text.ends_with("no such process"),
                        "{text}"
                    );
                    None
                }
            }
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            table::unmount(self.place.path()).unwrap();
        }
    }
}
