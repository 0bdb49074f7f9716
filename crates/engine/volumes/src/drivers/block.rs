//! The driver `block`: each volume is a file system of its own in a file, which a loop device shows.
//!
//! ```text
//! <root>/<name>/volume.img   the file system: sparse, as large as the volume may become
//! <root>/<name>/_data        where the directory `data` of the file system is mounted while it is used
//! ```
//!
//! The directory below the root of the file system keeps `lost+found` away from containers. The loop device lets
//! go of the file by itself when the last mount of it ends, so a crash leaves nothing to be detached but mounts,
//! which are found in the kernel's table. The file is locked (`flock`) for as long as a loop device has it.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use arca_types::parse_size;
use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mount_options::{MountSpec, os_text};
use super::{Holder, VolumeDriver, blocking, filesystem, table};
use crate::error::Error;
use crate::record::Volume;

/// How large a volume may become when nothing is said: the file is sparse.
const SIZE: u64 = 64 << 30;
/// The least that a file system needs.
const LEAST: u64 = 16 << 20;
/// How long making or checking a file system may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// The file of a volume.
const IMAGE: &str = "volume.img";
/// The directory of the file system that containers see.
const INNER: &str = "data";

/// How mkfs.ext4 is called: tables and journal are written when they are needed, so that the file stays sparse.
const EXT4: [&str; 6] = [
    "-q",
    "-F",
    "-m",
    "0",
    "-E",
    "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
];

#[derive(Debug, Clone)]
pub(super) struct Block {
    root: PathBuf,
}

/// What the options ask for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    size: u64,
    kind: &'static str,
    options: String,
}

impl Block {
    pub(super) fn new(root: &Path) -> Self {
        let root = root.to_owned();
        Self { root }
    }

    fn image(&self, volume: &Volume) -> PathBuf {
        self.root.join(&volume.name).join(IMAGE)
    }
}

#[async_trait]
impl VolumeDriver for Block {
    async fn create(&self, volume: &Volume) -> Result<(), Error> {
        let wanted = wanted(volume)?;
        let data = volume.data_below(&self.root);
        blocking(move || filesystem::make_directory(&data)).await?;
        let image = self.image(volume);
        if image.exists() {
            return Ok(());
        }
        // Under another name until it is a file system.
        let new = image.with_extension("new");
        let made = make(volume, &new, &wanted).await;
        let made = made.and_then(|()| {
            std::fs::rename(&new, &image).map_err(|source| file("rename", &new, source))
        });
        if made.is_err()
            && let Err(error) = std::fs::remove_dir_all(self.root.join(&volume.name))
        {
            tracing::debug!(%error, "nothing is left of the volume");
        }
        made
    }

    async fn remove(&self, volume: &Volume) -> Result<(), Error> {
        let data = volume.data_below(&self.root);
        blocking(move || filesystem::take_away(&data)).await
    }

    async fn mount(&self, volume: &Volume, _holder: &Holder) -> Result<PathBuf, Error> {
        let (image, data) = (self.image(volume), volume.data_below(&self.root));
        let wanted = wanted(volume)?;
        let (path, file) = (image.clone(), data.clone());
        let attached = blocking(move || attached(&path, &file)).await?;
        let device = match attached {
            Attached::Mounted => return Ok(data),
            // Still in use by somebody whose mount was detached: the same device shows the same file system.
            Attached::Device(path) => LoopPath { path, _open: None },
            Attached::Free(file) => {
                if wanted.kind == "ext4" {
                    check(volume, &image).await?;
                }
                blocking(move || attach(&file)).await?
            }
        };
        let place = data.clone();
        blocking(move || mount(&device, &wanted, &place)).await?;
        Ok(data)
    }

    async fn unmount(&self, volume: &Volume, _holder: &Holder, last: bool) -> Result<(), Error> {
        if !last {
            return Ok(());
        }
        let data = volume.data_below(&self.root);
        blocking(move || filesystem::take_away(&data)).await
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn size(&self, volume: &Volume) -> Result<Option<u64>, Error> {
        let image = self.image(volume);
        let found = std::fs::metadata(&image).map_err(|source| file("measure", &image, source))?;
        Ok(Some(found.blocks() * 512))
    }
}

/// Reads the options.
fn wanted(volume: &Volume) -> Result<Wanted, Error> {
    let name = || volume.name.clone();
    for option in volume.options.iter().flatten().map(|(option, _)| option) {
        if !["o", "size", "type"].contains(&option.as_str()) {
            return Err(Error::InvalidOption {
                name: name(),
                option: option.clone(),
            });
        }
    }
    let size = match volume.option("size") {
        None => SIZE,
        Some(text) => {
            let size = parse_size(text).filter(|size| *size >= LEAST);
            size.ok_or_else(|| Error::InvalidSize {
                name: name(),
                size: text.to_owned(),
            })?
        }
    };
    let kind = match volume.option("type") {
        None | Some("" | "ext4") => "ext4",
        Some("xfs") => "xfs",
        Some(other) => {
            return Err(Error::UnknownFilesystem {
                name: name(),
                kind: other.to_owned(),
            });
        }
    };
    let options = volume.option("o").unwrap_or_default().to_owned();
    Ok(Wanted {
        size,
        kind,
        options,
    })
}

/// Makes the file and the file system in it.
async fn make(volume: &Volume, image: &Path, wanted: &Wanted) -> Result<(), Error> {
    let failed = |source| file("make", image, source);
    let made = File::create(image).map_err(failed)?;
    made.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    made.set_len(wanted.size).map_err(failed)?;
    // A length that the file system cannot have shows when its end is written.
    made.write_at(&[0], wanted.size - 1).map_err(failed)?;
    drop(made);
    let path = image.as_os_str();
    let options: &[&str] = match wanted.kind {
        "xfs" => &["-q", "-f", "-K"],
        _ => &EXT4,
    };
    let arguments: Vec<&std::ffi::OsStr> =
        options.iter().map(AsRef::as_ref).chain([path]).collect();
    let program = format!("mkfs.{}", wanted.kind);
    let output = run(volume, &program, &arguments).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(tool_failed(volume, &program, &output))
}

/// Brings a file system that was not unmounted in order (journal and all).
async fn check(volume: &Volume, image: &Path) -> Result<(), Error> {
    let output = run(volume, "e2fsck", &["-p".as_ref(), image.as_os_str()]).await?;
    match output.status.code() {
        // Nothing found, or all mended (e2fsck(8)).
        Some(0..=2) => Ok(()),
        _ => Err(tool_failed(volume, "e2fsck", &output)),
    }
}

async fn run(
    volume: &Volume,
    program: &str,
    arguments: &[&std::ffi::OsStr],
) -> Result<Output, Error> {
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists());
    let Some(path) = found else {
        return Err(Error::NoTool {
            name: volume.name.clone(),
            program: program.to_owned(),
        });
    };
    let output = tokio::process::Command::new(&path)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()));
    output.map_err(|source| file("run", &path, source))
}

fn tool_failed(volume: &Volume, program: &str, output: &Output) -> Error {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    let said: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Error::Tool {
        name: volume.name.clone(),
        program: program.to_owned(),
        status: output.status.to_string(),
        said: said.join("; "),
    }
}

/// What there is of the volume's file.
enum Attached {
    /// It is mounted where it belongs.
    Mounted,
    /// A loop device has it.
    Device(PathBuf),
    /// Nobody has it; now it is locked.
    Free(File),
}

fn attached(image: &Path, data: &Path) -> Result<Attached, Error> {
    if table::is_mounted(data).map_err(filesystem::unreadable)? {
        return Ok(Attached::Mounted);
    }
    let open = File::options().read(true).write(true).open(image);
    let open = open.map_err(|source| file("open", image, source))?;
    // A device that is being let go of at this moment is waited for.
    for _ in 0..100 {
        if flock(&open, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Attached::Free(open));
        }
        if let Some(device) = device_of(image) {
            return Ok(Attached::Device(device));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Err(Error::Mount {
        path: data.to_owned(),
        text: format!("the file {} is in use by another program", image.display()),
    })
}

/// The loop device that shows `image`.
fn device_of(image: &Path) -> Option<PathBuf> {
    for entry in std::fs::read_dir("/sys/block").ok()?.flatten() {
        let backing = std::fs::read(entry.path().join("loop/backing_file"));
        if backing.is_ok_and(|path| path.trim_ascii_end() == image.as_os_str().as_encoded_bytes()) {
            return Some(Path::new("/dev").join(entry.file_name()));
        }
    }
    None
}

/// A loop device; while it is open, it keeps its file.
struct LoopPath {
    path: PathBuf,
    _open: Option<File>,
}

fn attach(image: &File) -> Result<LoopPath, Error> {
    let attached = arca_sys::loop_device::attach_loop(image.as_fd());
    let attached =
        attached.map_err(|source| file("attach", Path::new("/dev/loop-control"), source))?;
    Ok(LoopPath {
        path: attached.path,
        _open: Some(attached.device),
    })
}

/// Mounts the file system, and leaves its inner directory alone in its place.
fn mount(device: &LoopPath, wanted: &Wanted, data: &Path) -> Result<(), Error> {
    let failed = |text: String| Error::Mount {
        path: data.to_owned(),
        text: format!("failed to mount block volume: {text}"),
    };
    let spec = MountSpec::parse(&device.path.to_string_lossy(), wanted.kind, &wanted.options);
    spec.mount(data).map_err(failed)?;
    let inner = take_inner(data);
    filesystem::take_away(data)?;
    let inner = inner.map_err(|error| failed(os_text(&error)))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&inner, "", rustix::fs::CWD, data, flags)
        .map_err(|error| failed(os_text(&error.into())))
}

/// Clones the mount of the inner directory, which is made when it is missing.
fn take_inner(outer: &Path) -> std::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(outer, flags, Mode::empty())?;
    let made = rustix::fs::mkdirat(&root, INNER, Mode::from_raw_mode(0o755));
    match made {
        Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::ROFS) => {}
        Err(error) => return Err(error.into()),
    }
    let inner = rustix::fs::openat(&root, INNER, flags | OFlags::NOFOLLOW, Mode::empty())?;
    if made.is_ok() {
        // Whatever the umask: this is what a container sees.
        let path = outer.join(INNER);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(&inner, "", flags)?)
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(options: &[(&str, &str)]) -> Volume {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Volume {
            driver: Volume::BLOCK.to_owned(),
            options: Some(options.collect()),
            ..Volume::named("disk")
        }
    }

    #[test]
    fn options_are_checked() {
        let size = wanted(&volume(&[
            ("size", "1g"),
            ("type", "xfs"),
            ("o", "noatime"),
        ]))
        .unwrap();
        assert_eq!(
            (size.size, size.kind, size.options.as_str()),
            (1 << 30, "xfs", "noatime")
        );
        assert_eq!(wanted(&volume(&[])).unwrap().size, SIZE);
        for (options, text) in [
            (("size", "1k"), "create disk: invalid size: '1k'"),
            (("device", "x"), "create disk: invalid option: \"device\""),
            (
                ("type", "vfat"),
                "create disk: a block volume is ext4 or xfs, not \"vfat\"",
            ),
        ] {
            assert_eq!(wanted(&volume(&[options])).unwrap_err().to_string(), text);
        }
    }

    #[tokio::test]
    async fn a_volume_is_a_file_system_that_survives_a_lost_mount() {
        let root = tempfile::tempdir().unwrap();
        let block = Block::new(root.path());
        let volume = volume(&[("size", "32m")]);
        let holder = Holder::Work("test".to_owned());
        block.create(&volume).await.unwrap();
        let data = block.mount(&volume, &holder).await.unwrap();
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
        std::fs::write(data.join("file"), "kept").unwrap();
        let full = std::fs::write(data.join("large"), vec![1; 40 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        std::fs::remove_file(data.join("large")).unwrap();

        // Somebody is still in there when it is detached: the next mount shows the same file system.
        let busy = File::open(data.join("file")).unwrap();
        block.unmount(&volume, &holder, true).await.unwrap();
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
        block.mount(&volume, &holder).await.unwrap();
        assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "kept");
        drop(busy);
        block.unmount(&volume, &holder, true).await.unwrap();
        let device = || device_of(&block.image(&volume));
        // The kernel lets go of a loop device on its own time, and tells nobody who could be waited for.
        for _ in 0..200 {
            if device().is_none() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(device(), None);
        assert!(block.size(&volume).await.unwrap().unwrap() < 32 << 20);
    }
}
