//! Copies as BuildKit does them: where files go, what is made on the way, what is unpacked.

use std::os::fd::{AsFd as _, BorrowedFd};

use arca_archive::Transfer;
use arca_dockerfile::PatternMatcher;

use super::edit::{Ids, make_dirs, resolved, set_time, split_time};
use super::{glob, path, unpack};
use crate::Error;
use crate::graph::{Copy, Mode};

/// Which entries below a source are copied, by patterns.
#[derive(Debug)]
pub(crate) struct Selection {
    include: Option<PatternMatcher>,
    exclude: Option<PatternMatcher>,
}

impl Selection {
    /// Reads the patterns of a copy; `None` when it has none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed pattern.
    pub(crate) fn of(include: &[String], exclude: &[String]) -> Result<Option<Self>, Error> {
        if include.is_empty() && exclude.is_empty() {
            return Ok(None);
        }
        let read = |patterns: &[String]| {
            let matcher = PatternMatcher::new(patterns.iter().map(String::as_str));
            matcher.map_err(|error| Error::Invalid(error.to_string()))
        };
        Ok(Some(Self {
            include: (!include.is_empty()).then(|| read(include)).transpose()?,
            exclude: (!exclude.is_empty()).then(|| read(exclude)).transpose()?,
        }))
    }

    /// Is the entry copied for itself? A directory is also made for what is in it.
    pub(crate) fn takes(&self, path: &[u8], _directory: bool) -> bool {
        let path = String::from_utf8_lossy(path);
        let included = self.include.as_ref().is_none_or(|m| m.matches(&path));
        included && !self.exclude.as_ref().is_some_and(|m| m.matches(&path))
    }
}

/// The files that a copy names, below the root of its source, not resolved.
///
/// # Errors
/// [`Error::Failed`] when there are none and there have to be.
pub(crate) fn sources(root: BorrowedFd<'_>, copy: &Copy) -> Result<Vec<Vec<u8>>, Error> {
    if !copy.allow_wildcard {
        return Ok(vec![copy.source.as_bytes().to_vec()]);
    }
    let found = glob::find(root, copy.source.as_bytes(), copy.follow_symlink)?;
    if found.is_empty() && !copy.allow_empty_wildcard {
        return Err(Error::NotFound(format!(
            "lstat {}: no such file or directory",
            copy.source
        )));
    }
    Ok(found)
}

/// Does a copy.
///
/// # Errors
/// [`Error::NotFound`] for a source that is missing; others as they come.
pub(crate) fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    copy: &Copy,
    owner: Option<Ids>,
) -> Result<(), Error> {
    let work = Work::new(from, to, copy, owner)?;
    if !copy.create_dest_path {
        let at = resolved(to, copy.destination.as_bytes())?;
        let (above, _) = path::split(&at);
        path::open_dir(to, above)
            .map_err(|error| Error::errno("lstat", path::shown(above))(error))?;
    }
    for source in sources(from, copy)? {
        if copy.attempt_unpack && work.unpack(&source)? {
            continue;
        }
        work.one(&source)?;
    }
    Ok(())
}

/// The change of permissions that a copy asks for.
fn mode_change(mode: &Mode) -> Result<Box<dyn Fn(u32, bool) -> u32>, Error> {
    match mode {
        Mode::Bits(bits) => {
            let bits = *bits & 0o7777;
            Ok(Box::new(move |_, _| bits))
        }
        Mode::Symbolic(text) => {
            let mode = arca_dockerfile::mode(text)
                .map_err(|error| Error::Invalid(format!("invalid chmod {text:?}: {error}")))?;
            Ok(Box::new(move |old, directory| mode.apply(old, directory)))
        }
    }
}

/// A copy under way.
struct Work<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    copy: &'a Copy,
    owner: Option<Ids>,
    selection: Option<Selection>,
    mode: Option<Box<dyn Fn(u32, bool) -> u32>>,
}

impl<'a> Work<'a> {
    fn new(
        from: BorrowedFd<'a>,
        to: BorrowedFd<'a>,
        copy: &'a Copy,
        owner: Option<Ids>,
    ) -> Result<Self, Error> {
        Ok(Self {
            from,
            to,
            copy,
            owner,
            selection: Selection::of(&copy.include, &copy.exclude)?,
            mode: copy.mode.as_ref().map(mode_change).transpose()?,
        })
    }

    fn parents(&self) -> (Option<Ids>, Option<i64>) {
        (Some(self.owner.unwrap_or((0, 0))), self.copy.timestamp)
    }

    /// Unpacks the source, if it is an archive.
    fn unpack(&self, source: &[u8]) -> Result<bool, Error> {
        let at = resolved(self.from, source)?;
        let Some(archive) = unpack::archive(self.from, &at)? else {
            return Ok(false);
        };
        let target = resolved(self.to, self.copy.destination.as_bytes())?;
        make_dirs(self.to, &target, 0o755, self.parents())?;
        unpack::extract_to(archive, self.to, &target, self.owner)?;
        Ok(true)
    }

    /// Copies one file or directory.
    fn one(&self, source: &[u8]) -> Result<(), Error> {
        let missing = || {
            let shown = path::shown(source.strip_prefix(b"/").unwrap_or(source));
            Error::NotFound(format!("{shown}: not found"))
        };
        let dots = source.ends_with(b"/.") || source.ends_with(b"/");
        let at = path::resolve(self.from, source, self.copy.follow_symlink || dots)
            .map_err(|error| Error::errno("resolve", path::shown(source))(error))?;
        let stat = super::digest::stat_of(self.from, &at)?.ok_or_else(missing)?;
        let directory = path::is_dir(&stat);
        let target = self.target(source, directory)?;
        let (above, name) = path::split(&target);
        make_dirs(self.to, above, 0o755, self.parents())?;
        let transfer = Transfer {
            owner: self.owner,
            mode: self.mode.as_deref(),
            mtime: self.copy.timestamp.map(split_time),
            replace: self.copy.always_replace_existing,
            select: None,
        };
        if !directory {
            return self.leaf(&transfer, &at, (above, name));
        }
        let there = path::look(self.to, &target)
            .map_err(|error| Error::errno("read", path::shown(&target))(error))?;
        if there.as_ref().is_some_and(|stat| !path::is_dir(stat)) {
            if !self.copy.always_replace_existing {
                let shown = path::shown(&target);
                return Err(Error::Failed(format!(
                    "cannot copy to non-directory: {shown}"
                )));
            }
            let parent = path::open_dir(self.to, above)
                .map_err(|error| Error::errno("open", path::shown(above))(error))?;
            rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::empty())
                .map_err(|error| Error::errno("remove", path::shown(&target))(error))?;
        }
        let existed = there.is_some_and(|stat| path::is_dir(&stat));
        make_dirs(self.to, &target, 0o755, self.parents())?;
        self.contents(&transfer, &at, &target, !existed)
    }

    fn contents(
        &self,
        transfer: &Transfer<'_>,
        at: &[u8],
        target: &[u8],
        attributes: bool,
    ) -> Result<(), Error> {
        let open = |root, path: &[u8]| {
            path::open_dir(root, path)
                .map_err(|error| Error::errno("open", path::shown(path))(error))
        };
        let (source, destination) = (open(self.from, at)?, open(self.to, target)?);
        let select = |path: &[u8], directory| {
            self.selection
                .as_ref()
                .is_none_or(|selection| selection.takes(path, directory))
        };
        let transfer = Transfer {
            select: self.selection.is_some().then_some(&select),
            ..*transfer
        };
        transfer
            .contents(source.as_fd(), destination.as_fd(), attributes)
            .map_err(Error::Archive)?;
        set_time(self.to, target, self.copy.timestamp.filter(|_| attributes))
    }

    fn leaf(
        &self,
        transfer: &Transfer<'_>,
        at: &[u8],
        (above, name): (&[u8], &[u8]),
    ) -> Result<(), Error> {
        let (from_above, from_name) = path::split(at);
        if let Some(selection) = &self.selection
            && !selection.takes(from_name, false)
        {
            return Ok(());
        }
        let open = |root, path: &[u8]| {
            path::open_dir(root, path)
                .map_err(|error| Error::errno("open", path::shown(path))(error))
        };
        let (source, destination) = (open(self.from, from_above)?, open(self.to, above)?);
        transfer
            .leaf((source.as_fd(), from_name), (destination.as_fd(), name))
            .map_err(Error::Archive)
    }

    /// Where one source goes: below the destination if that is a directory, or its place.
    fn target(&self, source: &[u8], directory: bool) -> Result<Vec<u8>, Error> {
        let destination = self.copy.destination.as_bytes();
        let at = resolved(self.to, destination)?;
        let into = destination.ends_with(b"/") || destination.ends_with(b"/.");
        if into {
            make_dirs(self.to, &at, 0o755, self.parents())?;
        }
        if self.copy.parents {
            return Ok(self.below_with_parents(&at, source));
        }
        let there = path::look(self.to, &at)
            .map_err(|error| Error::errno("read", path::shown(&at))(error))?;
        let is_dir = there.as_ref().is_some_and(path::is_dir);
        let below = if directory {
            !self.copy.dir_copy_contents && there.is_some()
        } else {
            is_dir
        };
        if !below {
            return Ok(at);
        }
        let trimmed = source.strip_suffix(b"/").unwrap_or(source);
        let (_, name) = path::split(trimmed);
        // What is in the way of the name may itself be a link.
        resolved(self.to, &path::join(&at, name))
    }

    /// `--parents`: the source's own path below the destination, after its pivot.
    fn below_with_parents(&self, at: &[u8], source: &[u8]) -> Vec<u8> {
        let mut written = self.copy.source.as_bytes();
        let mut depth = 0;
        if let Some(pivot) = written.windows(3).position(|part| part == b"/./") {
            written = written.get(..pivot).unwrap_or_default();
            depth = written
                .split(|byte| *byte == b'/')
                .filter(|part| !part.is_empty() && *part != b".")
                .count();
        }
        let parts: Vec<&[u8]> = source
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .skip(depth)
            .collect();
        path::join(at, &parts.join(&b'/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Bed {
        from: tempfile::TempDir,
        to: tempfile::TempDir,
    }

    impl Bed {
        fn new() -> Self {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir_all(from.path().join("dir/sub")).unwrap();
            fs::write(from.path().join("dir/a"), "a").unwrap();
            fs::write(from.path().join("dir/sub/b"), "b").unwrap();
            fs::write(from.path().join("file"), "f").unwrap();
            Self { from, to }
        }

        fn copy(
            &self,
            source: &str,
            destination: &str,
            change: impl Fn(&mut Copy),
        ) -> Result<(), Error> {
            let mut wanted = Copy {
                source: source.to_owned(),
                destination: destination.to_owned(),
                follow_symlink: true,
                dir_copy_contents: true,
                create_dest_path: true,
                allow_wildcard: true,
                ..Copy::default()
            };
            change(&mut wanted);
            let from = arca_archive::open_root(self.from.path()).unwrap();
            let to = arca_archive::open_root(self.to.path()).unwrap();
            copy(from.as_fd(), to.as_fd(), &wanted, None)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.to.path().join(path)).unwrap_or_default()
        }
    }

    #[test]
    fn files_go_to_a_name_or_into_a_directory() {
        let bed = Bed::new();
        bed.copy("/file", "/x/y", |_| ()).unwrap();
        bed.copy("/file", "/z/", |_| ()).unwrap();
        bed.copy("/file", "/x", |_| ()).unwrap();
        assert_eq!(
            [bed.read("x/y"), bed.read("z/file"), bed.read("x/file")],
            ["f"; 3]
        );
    }

    #[test]
    fn of_a_directory_the_contents_are_copied() {
        let bed = Bed::new();
        bed.copy("/dir", "/x", |_| ()).unwrap();
        assert_eq!([bed.read("x/a"), bed.read("x/sub/b")], ["a", "b"]);
        bed.copy("/dir", "/x", |copy| copy.dir_copy_contents = false)
            .unwrap();
        assert_eq!(bed.read("x/dir/a"), "a");
    }

    #[test]
    fn links_at_the_destination_are_followed_inside_of_it() {
        let bed = Bed::new();
        fs::create_dir(bed.to.path().join("real")).unwrap();
        symlink("/real", bed.to.path().join("link")).unwrap();
        symlink("/../../out", bed.to.path().join("away")).unwrap();
        bed.copy("/file", "/link/", |_| ()).unwrap();
        bed.copy("/file", "/away", |_| ()).unwrap();
        assert_eq!([bed.read("real/file"), bed.read("out")], ["f", "f"]);
    }

    #[test]
    fn a_source_that_is_missing_is_named() {
        let bed = Bed::new();
        let error = bed.copy("/none", "/", |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "/none: not found");
        assert!(bed.copy("/n*", "/", |_| ()).is_err());
        bed.copy("/n*", "/", |copy| copy.allow_empty_wildcard = true)
            .unwrap();
    }

    #[test]
    fn patterns_leave_out_and_parents_are_kept() {
        let bed = Bed::new();
        bed.copy("/dir", "/x", |copy| copy.exclude = vec!["sub".to_owned()])
            .unwrap();
        assert_eq!([bed.read("x/a"), bed.read("x/sub/b")], ["a", ""]);
        bed.copy("/dir/sub/b", "/p/", |copy| copy.parents = true)
            .unwrap();
        bed.copy("/dir/./sub/b", "/q/", |copy| copy.parents = true)
            .unwrap();
        assert_eq!([bed.read("p/dir/sub/b"), bed.read("q/sub/b")], ["b", "b"]);
    }

    #[test]
    fn an_archive_is_unpacked() {
        let bed = Bed::new();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        tar.append_data(&mut header, "in/t", &b"t"[..]).unwrap();
        let plain = tar.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &plain).unwrap();
        for (name, bytes) in [
            ("plain.tar", plain.clone()),
            ("x.tgz", gzip.finish().unwrap()),
        ] {
            fs::write(bed.from.path().join(name), bytes).unwrap();
            let to = format!("/{name}.d");
            bed.copy(&format!("/{name}"), &to, |copy| copy.attempt_unpack = true)
                .unwrap();
            assert_eq!(bed.read(&format!("{name}.d/in/t")), "t");
        }
        bed.copy("/file", "/plain", |copy| copy.attempt_unpack = true)
            .unwrap();
        assert_eq!(bed.read("plain"), "f");
    }
}
