//! Mounting what layers show at a path, without a place on the host where they are merged.

use std::path::{Path, PathBuf};

use arca_containers::StepMount;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Selected, bound, selected};
use crate::solve::{Step, blocking};
use crate::{Error, Tree};

/// Options that every overlay gets, as storage's own.
const OPTIONS: [&str; 3] = ["index=off", "redirect_dir=off", "metacopy=off"];

/// A mount that shows a path of a tree.
pub(super) async fn read_only(
    step: &Step,
    tree: &Tree,
    selector: &str,
    at: &str,
) -> Result<StepMount, Error> {
    const BIND: [&str; 2] = ["rbind", "ro"];
    let found = selected(step, tree, selector).await?;
    if let Some(directory) = tree.directory() {
        return Ok(bound(&found.below(directory), at.to_owned(), &BIND));
    }
    Ok(match shown(step, tree, found).await? {
        Shown::File(path) => bound(&path, at.to_owned(), &BIND),
        Shown::Directories(lower) => match lower.as_slice() {
            [only] => bound(only, at.to_owned(), &BIND),
            _ => overlay(at, &lower, None),
        },
    })
}

/// A mount that shows a path of a tree and takes what is written elsewhere.
pub(super) async fn writable(
    step: &Step,
    tree: &Tree,
    (selector, (upper, work)): (&str, (PathBuf, PathBuf)),
    at: &str,
) -> Result<StepMount, Error> {
    let found = selected(step, tree, selector).await?;
    if !found.directory {
        // A file of its own: a copy that can be written.
        let copy = upper.join("file");
        let root = tree.open(step.storage()).await?;
        let (target, path) = (copy.clone(), found.at);
        blocking(move || copy_file(&root, &path, &target)).await?;
        return Ok(bound(&copy, at.to_owned(), &["rbind"]));
    }
    match shown(step, tree, found).await? {
        Shown::Directories(lower) if !lower.is_empty() => {
            Ok(overlay(at, &lower, Some((&upper, &work))))
        }
        _ => Ok(bound(&upper, at.to_owned(), &["rbind"])),
    }
}

fn copy_file(root: &std::os::fd::OwnedFd, at: &[u8], target: &Path) -> Result<(), Error> {
    let failed = |error| Error::errno("copy", target)(error);
    let (above, name) = crate::fs::path::split(at);
    let parent =
        crate::fs::path::open_dir(std::os::fd::AsFd::as_fd(root), above).map_err(failed)?;
    let to = target.parent().unwrap_or(target);
    let to = arca_archive::open_root(to).map_err(failed)?;
    arca_archive::Transfer::default()
        .leaf(
            (std::os::fd::AsFd::as_fd(&parent), name),
            (std::os::fd::AsFd::as_fd(&to), b"file"),
        )
        .map_err(Error::Archive)
}

fn overlay(at: &str, lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> StepMount {
    let mut options: Vec<String> = lower
        .iter()
        .map(|path| format!("lowerdir+={}", path.display()))
        .collect();
    match upper {
        Some((upper, work)) => {
            options.push(format!("upperdir={}", upper.display()));
            options.push(format!("workdir={}", work.display()));
        }
        None => options.push("ro".to_owned()),
    }
    options.extend(OPTIONS.map(str::to_owned));
    StepMount {
        destination: at.to_owned(),
        kind: "overlay".to_owned(),
        source: "overlay".to_owned(),
        options,
    }
}

/// What layers show at a path.
enum Shown {
    /// A file or a link, in the topmost layer that has it.
    File(PathBuf),
    /// These directories on top of each other, the topmost first.
    Directories(Vec<PathBuf>),
}

async fn shown(step: &Step, tree: &Tree, found: Selected) -> Result<Shown, Error> {
    let layers = tree.layers().unwrap_or_default();
    let layers = step
        .storage()
        .layer_directories(layers)
        .map_err(Error::Storage)?;
    blocking(move || {
        let mut directories = Vec::new();
        for layer in layers {
            let place = place(&layer, &found.at).map_err(Error::errno("read", &layer))?;
            let path = found.below(&layer);
            match place {
                Place::Nothing => {}
                Place::Hidden => break,
                Place::File => return Ok(Shown::File(path)),
                Place::Directory => directories.push(path),
                Place::LastDirectory => {
                    directories.push(path);
                    break;
                }
            }
        }
        Ok(Shown::Directories(directories))
    })
    .await
}

/// What one layer has at a path.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Nothing; those below may have something.
    Nothing,
    /// It hides what is below.
    Hidden,
    /// A file.
    File,
    /// A directory, on top of those below.
    Directory,
    /// A directory that hides those below.
    LastDirectory,
}

fn place(layer: &Path, at: &[u8]) -> Result<Place, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(layer, flags, Mode::empty())?;
    let mut last = false;
    let parts: Vec<&[u8]> = at.split(|b| *b == b'/').filter(|p| !p.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        let stat = match rustix::fs::statat(&directory, *part, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if last => return Ok(Place::Hidden),
            Err(Errno::NOENT) => return Ok(Place::Nothing),
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                directory = rustix::fs::openat(&directory, *part, flags, Mode::empty())?;
                last |= is_opaque(&directory);
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(Place::Hidden),
            _ if index + 1 == parts.len() => return Ok(Place::File),
            _ => return Ok(Place::Hidden),
        }
    }
    Ok(if last {
        Place::LastDirectory
    } else {
        Place::Directory
    })
}

fn is_opaque(directory: &std::os::fd::OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    let read = rustix::fs::fgetxattr(directory, c"trusted.overlay.opaque", &mut value);
    matches!(read, Ok(1)) && value == *b"y"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_shows_hides_or_says_nothing_of_a_path() {
        let layer = tempfile::tempdir().unwrap();
        let at = |path: &str| layer.path().join(path);
        std::fs::create_dir_all(at("dir/sub")).unwrap();
        std::fs::write(at("dir/file"), "").unwrap();
        let opaque = std::fs::File::open(at("dir/sub")).unwrap();
        let set = rustix::fs::fsetxattr(
            &opaque,
            c"trusted.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        );
        set.unwrap();
        let root = rustix::fs::open(at("dir"), OFlags::PATH, Mode::empty()).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(&root, "gone", FileType::CharacterDevice, mode, 0).unwrap();
        let place = |path: &str| place(layer.path(), path.as_bytes()).unwrap();
        assert_eq!(place(""), Place::Directory);
        assert_eq!(place("dir"), Place::Directory);
        assert_eq!(place("dir/file"), Place::File);
        assert_eq!(place("dir/file/x"), Place::Hidden);
        assert_eq!(place("dir/sub"), Place::LastDirectory);
        assert_eq!(place("dir/sub/x"), Place::Hidden);
        assert_eq!(place("dir/gone"), Place::Hidden);
        assert_eq!(place("other"), Place::Nothing);
    }
}
