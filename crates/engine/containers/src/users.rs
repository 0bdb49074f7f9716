//! Users and groups by the container's own `/etc/passwd` and `/etc/group` (passwd(5), group(5)).
//!
//! Files are opened below a descriptor of the root filesystem, never by a path of the host. It
//! blocks: callers are on a thread for that.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::Error;
use crate::spec::oci::User;

/// Bytes that are read of a file at most.
const LIMIT: u64 = 16 << 20;

/// A user as the process gets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// IDs.
    pub(crate) user: User,
    /// Home directory, `/` when it is not known.
    pub(crate) home: String,
}

/// Root, without further groups.
pub(crate) fn root() -> User {
    User::default()
}

/// Opens a path inside a root directory; symbolic links cannot lead out of it.
pub(crate) fn open_in(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    openat2(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .map(File::from)
}

/// Looks up `user` (`name|uid[:group|gid]`, empty for root) and the additional `groups`.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text for a name that is not there.
pub(crate) fn resolve(
    root: BorrowedFd<'_>,
    user: &str,
    groups: &[String],
) -> Result<Account, Error> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let passwd = lines(root, "etc/passwd");
    let listed = find_user(&passwd, name);
    let (uid, mut gid, home, login) = match (&listed, number(name)) {
        (Some(found), _) => (found.uid, found.gid, found.home.clone(), found.name.clone()),
        (None, Some(uid)) => (uid, 0, "/".to_owned(), String::new()),
        (None, None) => {
            in_range(name)?;
            let text = format!("unable to find user {name}: no matching entries in passwd file");
            return Err(Error::Invalid(text));
        }
    };
    let group_file = lines(root, "etc/group");
    let mut additional = Vec::new();
    match group {
        Some(group) => {
            gid = group_id(&group_file, group)?;
        }
        None if !login.is_empty() => additional = memberships(&group_file, &login),
        None => {}
    }
    for group in groups {
        let found = group_id(&group_file, group)?;
        additional.push(found);
    }
    additional.insert(0, gid);
    let mut seen = Vec::with_capacity(additional.len());
    additional.retain(|gid| {
        !seen.contains(gid) && {
            seen.push(*gid);
            true
        }
    });
    Ok(Account {
        user: User {
            uid,
            gid,
            additional_gids: additional,
        },
        home,
    })
}

/// A line of passwd(5).
struct Entry {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Finds a user by name, or by number when no name is like it.
fn find_user(passwd: &[String], wanted: &str) -> Option<Entry> {
    let id = number(wanted);
    let entries = || {
        passwd.iter().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let home = fields
                .nth(1)
                .filter(|home| !home.is_empty())
                .unwrap_or("/")
                .to_owned();
            Some(Entry {
                name,
                uid,
                gid,
                home,
            })
        })
    };
    entries().find(|entry| entry.name == wanted || Some(entry.uid) == id)
}

/// Finds a group by name, or by number.
fn find_group(groups: &[String], wanted: &str) -> Option<u32> {
    let id = number(wanted);
    groups.iter().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid: u32 = fields.nth(1)?.parse().ok()?;
        (name == wanted || Some(gid) == id).then_some(gid)
    })
}

/// The groups that name a user as a member.
fn memberships(groups: &[String], user: &str) -> Vec<u32> {
    groups
        .iter()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let gid = fields.nth(2)?.parse().ok()?;
            fields
                .next()?
                .split(',')
                .any(|member| member == user)
                .then_some(gid)
        })
        .collect()
}

/// The number of a group that is there, or is a number.
fn group_id(groups: &[String], group: &str) -> Result<u32, Error> {
    if let Some(gid) = find_group(groups, group).or_else(|| number(group)) {
        return Ok(gid);
    }
    in_range(group)?;
    let text = format!("unable to find group {group}: no matching entries in group file");
    Err(Error::Invalid(text))
}

/// Refuses a number that no user and no group can have.
fn in_range(text: &str) -> Result<(), Error> {
    if text.parse::<i64>().is_ok() && number(text).is_none() {
        let text = "uids and gids must be in range 0-2147483647";
        return Err(Error::Invalid(text.to_owned()));
    }
    Ok(())
}

fn number(text: &str) -> Option<u32> {
    text.parse::<u32>()
        .ok()
        .filter(|id| i32::try_from(*id).is_ok())
}

/// The lines of a file of the container; none when it cannot be read.
fn lines(root: BorrowedFd<'_>, path: &str) -> Vec<String> {
    let Ok(file) = open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK) else {
        return Vec::new();
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Vec::new();
    }
    BufReader::new(file.take(LIMIT))
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Makes a working directory inside a root, with the directories above it.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text when something else is there, [`Error::File`] when it
/// cannot be made.
pub(crate) fn make_directory(root: BorrowedFd<'_>, path: &str, owner: &User) -> Result<(), Error> {
    let failed = |errno: Errno| match errno {
        Errno::NOTDIR | Errno::EXIST => {
            Error::Invalid(format!("Cannot mkdir: {path} is not a directory"))
        }
        errno => Error::File {
            what: "make directory",
            path: path.into(),
            cause: errno.into(),
        },
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut at = open_in(root, "/", flags).map_err(failed)?;
    let mut below = String::new();
    for part in path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        below.push('/');
        below.push_str(part);
        at = match open_in(root, &below, flags) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(at.as_fd(), part, Mode::from_raw_mode(0o755))
                    .map_err(failed)?;
                let next = open_in(root, &below, flags).map_err(failed)?;
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(owner.uid),
                    rustix::fs::Gid::from_raw(owner.gid),
                );
                rustix::fs::chownat(
                    &next,
                    "",
                    Some(uid),
                    Some(gid),
                    rustix::fs::AtFlags::EMPTY_PATH,
                )
                .map_err(failed)?;
                next
            }
            Err(errno) => return Err(failed(errno)),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn root() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\n#no\nweb:x:33:34::/var/www:/bin/sh\n";
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        let group = "root:x:0:\nwheel:x:10:root\nweb:x:34:\nlog:x:50:root,web\n";
        fs::write(dir.path().join("etc/group"), group).unwrap();
        let file = File::open(dir.path()).unwrap();
        (dir, file)
    }

    fn ids(user: &str, groups: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let (_dir, file) = root();
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        let found = resolve(file.as_fd(), user, &groups).map_err(|error| error.to_string())?;
        Ok((
            found.user.uid,
            found.user.gid,
            found.user.additional_gids,
            found.home,
        ))
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(ids("", &[]), Ok((0, 0, vec![0, 10, 50], "/root".into())));
        assert_eq!(
            ids("web", &[]),
            Ok((33, 34, vec![34, 50], "/var/www".into()))
        );
        assert_eq!(
            ids("33", &["wheel", "77"]),
            Ok((33, 34, vec![34, 50, 10, 77], "/var/www".into()))
        );
        assert_eq!(ids("1000", &[]), Ok((1000, 0, vec![0], "/".into())));
        assert_eq!(
            ids("web:wheel", &[]),
            Ok((33, 10, vec![10], "/var/www".into()))
        );
        assert_eq!(
            ids("1000:1001", &[]),
            Ok((1000, 1001, vec![1001], "/".into()))
        );
    }

    #[test]
    fn a_missing_name_is_refused_in_dockers_words() {
        let text = "unable to find user nosuch: no matching entries in passwd file";
        assert_eq!(ids("nosuch", &[]), Err(text.to_owned()));
        let text = "unable to find group nosuch: no matching entries in group file";
        assert_eq!(ids("web:nosuch", &[]), Err(text.to_owned()));
        let text = "uids and gids must be in range 0-2147483647";
        for user in ["2147483648", "-1", "0:-1"] {
            assert_eq!(ids(user, &[]), Err(text.to_owned()), "{user}");
        }
    }

    #[test]
    fn a_link_out_of_the_root_leads_nowhere() {
        let (dir, file) = root();
        fs::remove_file(dir.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/../../../../proc/version", dir.path().join("etc/passwd"))
            .unwrap();
        assert!(lines(file.as_fd(), "etc/passwd").is_empty());
    }

    #[test]
    fn a_working_directory_is_made_once_and_not_over_a_file() {
        let (dir, file) = root();
        make_directory(file.as_fd(), "/a/b", &User::default()).unwrap();
        make_directory(file.as_fd(), "/a/b/", &User::default()).unwrap();
        assert!(dir.path().join("a/b").is_dir());
        let error = make_directory(file.as_fd(), "/etc/passwd", &User::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Cannot mkdir: /etc/passwd is not a directory"
        );
    }
}
