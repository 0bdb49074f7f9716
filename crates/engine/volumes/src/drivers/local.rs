//! The driver `local`: a directory, or something that mount(8) can mount there.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::mount_options::MountSpec;
use super::{Holder, VolumeDriver, blocking, filesystem, table};
use crate::error::Error;
use crate::record::Volume;
use crate::size::parse_size;

/// The options there are, and what each of them needs.
const OPTIONS: [(&str, &[&str]); 4] = [
    ("device", &["type"]),
    ("o", &["device", "type"]),
    ("size", &[]),
    ("type", &["device"]),
];

/// The first project that limits a volume; those below are left to others.
const FIRST_PROJECT: u32 = 0x0100_0000;

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
        let project = self.free_project()?;
        arca_sys::quota::set_project(directory.as_fd(), project).map_err(failed)?;
        arca_sys::quota::limit_project(directory.as_fd(), project, bytes).map_err(failed)
    }

    /// A project that no volume has. The caller holds the lock of changes.
    fn free_project(&self) -> Result<u32, Error> {
        let mut last = FIRST_PROJECT;
        let read = |source| Error::File {
            action: "read",
            path: self.root.clone(),
            source,
        };
        for entry in std::fs::read_dir(&self.root).map_err(read)? {
            let data = entry.map_err(read)?.path().join(Volume::DATA);
            if let Ok(directory) = std::fs::File::open(data)
                && let Ok(project) = arca_sys::quota::project_of(directory.as_fd())
            {
                last = last.max(project);
            }
        }
        Ok(last + 1)
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
    let (kind, device, mut options) = (option("type"), option("device"), option("o").to_owned());
    if kind.starts_with("nfs") || kind == "cifs" {
        let given = options
            .split(',')
            .find_map(|option| option.strip_prefix("addr="));
        let host = given.map(str::to_owned).or_else(|| {
            let host = device.trim_start_matches('/').split('/').next()?;
            (kind == "cifs" && !host.is_empty()).then(|| host.to_owned())
        });
        if let Some(host) = host {
            let address = look_up(&host)?;
            options = match given {
                Some(_) => options.replace(&format!("addr={host}"), &format!("addr={address}")),
                None if options.is_empty() => format!("addr={address}"),
                None => format!("addr={address},{options}"),
            };
        }
    }
    Ok(MountSpec::parse(device, kind, &options))
}

fn look_up(host: &str) -> Result<std::net::IpAddr, String> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = plain.parse() {
        return Ok(address);
    }
    let found = (host, 0).to_socket_addrs();
    let found = found.ok().and_then(|mut all| all.next());
    found.map(|found| found.ip()).ok_or_else(|| {
        format!("error resolving passed in network volume address: lookup {host}: no such host")
    })
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
    fn addresses_of_servers_are_looked_up() {
        let nfs = volume(&[
            ("type", "nfs"),
            ("device", ":/x"),
            ("o", "addr=localhost,ro"),
        ]);
        let spec = mount_spec(&nfs).unwrap();
        assert!(
            ["addr=127.0.0.1", "addr=::1"].contains(&spec.data.as_str()),
            "{spec:?}"
        );
        let cifs = volume(&[
            ("type", "cifs"),
            ("device", "//127.0.0.9/x"),
            ("o", "user=a"),
        ]);
        assert_eq!(mount_spec(&cifs).unwrap().data, "addr=127.0.0.9,user=a");
    }
}
