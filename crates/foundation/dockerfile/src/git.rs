//! Git repositories as build sources: `https://host/repo.git#ref:dir`, `git@host:repo`, with options in
//! the fragment or the query.

use crate::quote::quoted;
use crate::text::boolean;

/// A repository, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitUrl {
    /// The address for git, without options.
    pub remote: String,
    /// A branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// A directory in it; empty for all.
    pub directory: String,
    /// The commit it has to be; empty for any.
    pub checksum: String,
    /// Whether `.git` is kept, when said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched, when said.
    pub submodules: Option<bool>,
    /// Whether it could as well be a local path (`github.com/…`): only a build context is taken so.
    pub looks_local: bool,
}

/// The address is git's, but its options make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum GitError {
    #[error("query {} has no value", quoted(.0))]
    NoValue(String),
    #[error("query {} has multiple values", quoted(.0))]
    Twice(String),
    #[error("unexpected query {}", quoted(.0))]
    Unexpected(String),
    #[error("ref conflicts: {} vs {}", quoted(.0), quoted(.1))]
    RefConflict(String, String),
    #[error("subdir conflicts: {} vs {}", quoted(.0), quoted(.1))]
    DirectoryConflict(String, String),
    #[error("invalid {} value: {}", .0, quoted(.1))]
    NotBoolean(String, String),
    #[error("branch conflicts with tag")]
    BranchAndTag,
}

/// The repository that `text` names; `None` when it names none.
///
/// # Errors
/// See [`GitError`].
pub fn git_url(text: &str) -> Result<Option<GitUrl>, GitError> {
    if text.starts_with("./") || text.starts_with("../") {
        return Ok(None);
    }
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let looks_local = address.starts_with("github.com/");
    if !looks_local && !is_remote(address) {
        return Ok(None);
    }
    let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut url = GitUrl {
        remote: address.to_owned(),
        reference: decoded(reference, false),
        directory: decoded(directory, false),
        looks_local,
        ..GitUrl::default()
    };
    url.options(query)?;
    Ok(Some(url))
}

fn is_remote(address: &str) -> bool {
    match address.split_once("://") {
        Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
            // A web address is a repository's only when it says so.
            "http" | "https" => rest.contains('/') && rest.ends_with(".git"),
            "ssh" | "git" => !rest.is_empty(),
            _ => false,
        },
        None => is_scp(address),
    }
}

/// `user@host:path`.
fn is_scp(address: &str) -> bool {
    let Some((user, rest)) = address.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    let word = |text: &str, extra: [char; 2]| {
        !text.is_empty()
            && text
                .chars()
                .all(|ch| ch.is_ascii_alphanumeric() || extra.contains(&ch))
    };
    word(user, ['-', '_']) && word(host, ['-', '.'])
}

impl GitUrl {
    fn options(&mut self, query: &str) -> Result<(), GitError> {
        let (mut tag, mut branch) = (String::new(), String::new());
        let mut seen: Vec<String> = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let (key, value) = (decoded(key, true), decoded(value, true));
            if seen.contains(&key) {
                return Err(GitError::Twice(key));
            }
            let switch = matches!(key.as_str(), "submodules" | "keep-git-dir");
            if value.is_empty() && !switch {
                return Err(GitError::NoValue(key));
            }
            match key.as_str() {
                "ref" => self.set_reference(value)?,
                "tag" => tag = value,
                "branch" => branch = value,
                "subdir" if self.directory.is_empty() || self.directory == value => {
                    self.directory = value;
                }
                "subdir" => {
                    return Err(GitError::DirectoryConflict(self.directory.clone(), value));
                }
                "checksum" | "commit" => self.checksum = value,
                "keep-git-dir" => self.keep_git_dir = Some(switched(&key, &value)?),
                "submodules" => self.submodules = Some(switched(&key, &value)?),
                _ => return Err(GitError::Unexpected(key)),
            }
            seen.push(key);
        }
        if !tag.is_empty() {
            self.set_reference(prefixed("refs/tags/", &tag))?;
        }
        if !branch.is_empty() {
            if !tag.is_empty() {
                return Err(GitError::BranchAndTag);
            }
            self.set_reference(prefixed("refs/heads/", &branch))?;
        }
        Ok(())
    }

    fn set_reference(&mut self, value: String) -> Result<(), GitError> {
        if !self.reference.is_empty() && self.reference != value {
            return Err(GitError::RefConflict(self.reference.clone(), value));
        }
        self.reference = value;
        Ok(())
    }
}

fn prefixed(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) {
        name.to_owned()
    } else {
        format!("{prefix}{name}")
    }
}

fn switched(key: &str, value: &str) -> Result<bool, GitError> {
    if value.is_empty() {
        return Ok(true);
    }
    boolean(value).ok_or_else(|| GitError::NotBoolean(key.to_owned(), value.to_owned()))
}

/// `text` with its percent escapes decoded, and `+` as a blank in queries.
fn decoded(text: &str, query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let mut ahead = rest.clone();
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                rest = ahead;
            }
            (b'+', _, _) if query => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{GitUrl, git_url};

    #[test]
    fn repositories_are_told_from_other_addresses() {
        for (text, is_git) in [
            ("https://example.com/a.git", true),
            ("https://example.com/a.git#main:dir", true),
            ("https://example.com/a", false),
            ("https://example.com/a.tar.gz", false),
            ("git://example.com/a", true),
            ("ssh://git@example.com/a", true),
            ("git@example.com:a/b", true),
            ("github.com/a/b", true),
            ("./git@example.com:a", false),
            ("file", false),
            ("ftp://example.com/a.git", false),
            ("a@b", false),
        ] {
            assert_eq!(git_url(text).expect(text).is_some(), is_git, "{text}");
        }
    }

    #[test]
    fn options_come_in_the_fragment_or_the_query() {
        let wanted = GitUrl {
            remote: "https://h/r.git".into(),
            reference: "refs/tags/v1".into(),
            directory: "sub dir".into(),
            checksum: "abc".into(),
            keep_git_dir: Some(true),
            submodules: Some(false),
            looks_local: false,
        };
        let text = "https://h/r.git?tag=v1&subdir=sub+dir&commit=abc&keep-git-dir&submodules=0";
        assert_eq!(git_url(text), Ok(Some(wanted)));

        let found = git_url("git@h:r#dev:a%20b")
            .expect("reads")
            .expect("is git");
        assert_eq!(
            (found.reference.as_str(), found.directory.as_str()),
            ("dev", "a b")
        );
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for (query, wanted) in [
            ("?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("?subdir=a#b:c", "subdir conflicts: \"c\" vs \"a\""),
            ("?x=1", "unexpected query \"x\""),
            ("?ref", "query \"ref\" has no value"),
            ("?ref=a&ref=a", "query \"ref\" has multiple values"),
            ("?branch=a&tag=b", "branch conflicts with tag"),
            ("?submodules=maybe", "invalid submodules value: \"maybe\""),
        ] {
            let error = git_url(&format!("https://h/r.git{query}")).expect_err(query);
            assert_eq!(error.to_string(), wanted);
        }
    }
}
