//! The sources of `COPY` and `ADD`: paths, addresses of the web, git repositories.

use arca_dockerfile::{Add, GitUrl, Instruction, git_url};
use arca_types::Digest;

use super::copy::{Copies, Way};
use crate::Error;
use crate::frontend::convert::Converter;
use crate::frontend::definition::git_source;
use crate::frontend::naming::rooted;
use crate::frontend::{checks, named};
use crate::graph::{self, HttpSource, Op, Source};

impl Converter<'_> {
    pub(super) fn copy_source(
        &mut self,
        instruction: &Instruction,
        way: &Way<'_>,
        source: &str,
        (name, copies): (&str, &mut Copies),
    ) -> Result<(), Error> {
        let git = git_url(source).map_err(|error| Error::Invalid(error.to_string()))?;
        if let Some(url) = git.filter(|url| !url.looks_local) {
            let add = way
                .add
                .ok_or_else(|| Error::Invalid("source can't be a git ref for COPY".to_owned()))?;
            return self.copy_repository(&url, add, name, copies);
        }
        if source.starts_with("http://") || source.starts_with("https://") {
            let add = way
                .add
                .ok_or_else(|| Error::Invalid("source can't be a URL for COPY".to_owned()))?;
            return self.copy_download(source, add, name, copies);
        }
        if way.stage.is_none() {
            let verb = if way.add.is_some() { "Add" } else { "Copy" };
            checks::copied(self, verb, source, instruction.lines);
        }
        copies.push(way.files, path_copy(&copies.template, source, way));
        Ok(())
    }

    fn copy_repository(
        &mut self,
        url: &GitUrl,
        add: &Add,
        name: &str,
        copies: &mut Copies,
    ) -> Result<(), Error> {
        let keep = match (add.keep_git_dir, url.keep_git_dir) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(Error::Invalid(
                    "inconsistent keep-git-dir configuration".to_owned(),
                ));
            }
            (ours, theirs) => theirs.or(ours).unwrap_or_default(),
        };
        let checksum = match (add.checksum.as_str(), url.checksum.as_str()) {
            ("", theirs) => theirs,
            (ours, "") => ours,
            (ours, theirs) if ours == theirs => ours,
            (ours, theirs) => {
                return Err(Error::Invalid(format!(
                    "checksum mismatch {ours:?} != {theirs:?}"
                )));
            }
        };
        let source = Source::Git(git_source(url, keep, checksum.to_owned()));
        let tree = self
            .plan
            .op(Op::Source(source), Vec::new(), None, named(name));
        let copy = graph::Copy {
            source: "/".to_owned(),
            ..copies.template.clone()
        };
        copies.push(Some(tree), copy);
        Ok(())
    }

    fn copy_download(
        &mut self,
        url: &str,
        add: &Add,
        name: &str,
        copies: &mut Copies,
    ) -> Result<(), Error> {
        let checksum = match add.checksum.as_str() {
            "" => None,
            text => Some(
                text.parse::<Digest>()
                    .map_err(|error| Error::Invalid(error.to_string()))?,
            ),
        };
        let filename = file_name(url);
        let source = Source::Http(HttpSource {
            url: url.to_owned(),
            checksum,
            filename: filename.clone(),
            ..HttpSource::default()
        });
        let tree = self
            .plan
            .op(Op::Source(source), Vec::new(), None, named(name));
        let copy = graph::Copy {
            source: rooted(&filename),
            attempt_unpack: add.unpack.unwrap_or_default(),
            ..copies.template.clone()
        };
        copies.push(Some(tree), copy);
        Ok(())
    }
}

/// The copy of a path, which may be a pattern.
fn path_copy(template: &graph::Copy, source: &str, way: &Way<'_>) -> graph::Copy {
    let (source, include) = if way.parents {
        // What comes before `/./` is not made at the destination.
        let (parent, pattern) = source.split_once("/./").unwrap_or(("/", source));
        let pattern = rooted(pattern).trim_start_matches('/').to_owned();
        (parent, vec![pattern])
    } else {
        (source, Vec::new())
    };
    let unpack = way
        .add
        .map(|add| add.unpack.unwrap_or(true))
        .unwrap_or_default();
    graph::Copy {
        source: rooted(source),
        include,
        follow_symlink: true,
        dir_copy_contents: true,
        attempt_unpack: unpack,
        allow_wildcard: true,
        allow_empty_wildcard: true,
        ..template.clone()
    }
}

/// The name of a downloaded file: the last part of the address's path.
fn file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn downloads_are_named_by_their_address() {
        assert_eq!(file_name("https://h/a/b.tar.gz?x=/y#z"), "b.tar.gz");
        assert_eq!(file_name("https://h/a/"), "a");
        assert_eq!(file_name("https://h"), "__unnamed__");
        assert_eq!(file_name("https://h/?q"), "__unnamed__");
    }
}
