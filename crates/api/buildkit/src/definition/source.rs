//! Sources of definitions: identifiers and their attributes.

use std::collections::BTreeMap;

use arca_build::graph::{
    GitSource, HttpSource, ImageSource, LocalDiffer, LocalSource, OciLayoutSource, ResolveMode,
    Source,
};
use tonic::Status;

use super::invalid;
use crate::pb;

/// Attributes of a source that are taken one by one; one that is left is not known.
struct Attributes(BTreeMap<String, String>);

impl Attributes {
    fn text(&mut self, key: &str) -> String {
        self.0.remove(key).unwrap_or_default()
    }

    fn list(&mut self, key: &str) -> Result<Vec<String>, Status> {
        match self.0.remove(key).filter(|text| !text.is_empty()) {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str(&text)
                .map_err(|_error| invalid(format!("invalid {key}: {text:?}"))),
        }
    }

    fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, Status> {
        match self.0.remove(key).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_error| invalid(format!("invalid {key}: {text:?}"))),
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        self.text(key) == "true"
    }

    fn done(self, source: Source) -> Result<Source, Status> {
        match self.0.into_keys().next() {
            None => Ok(source),
            Some(key) => Err(Status::unimplemented(format!(
                "the attribute {key} of a source is not supported"
            ))),
        }
    }
}

pub(super) fn source(op: &pb::SourceOp) -> Result<Source, Status> {
    let mut attributes = Attributes(op.attrs.clone());
    let unknown = || invalid(format!("invalid source identifier {:?}", op.identifier));
    let (scheme, rest) = op.identifier.split_once("://").ok_or_else(unknown)?;
    let source = match scheme {
        "docker-image" => image(rest, &mut attributes)?,
        "local" => local(rest, &mut attributes)?,
        "http" | "https" => http(&op.identifier, &mut attributes)?,
        "git" => git(rest, &mut attributes),
        "oci-layout" => Source::OciLayout(OciLayoutSource {
            reference: rest.to_owned(),
            session: attributes.text("oci.session"),
            store: attributes.text("oci.store"),
            layer_limit: attributes.number("oci.layerlimit")?,
        }),
        _ => return Err(unknown()),
    };
    attributes.done(source)
}

fn image(name: &str, attributes: &mut Attributes) -> Result<Source, Status> {
    // Only told, for usage records.
    attributes.text("image.recordtype");
    let mode = attributes.text("image.resolvemode");
    let resolve =
        ResolveMode::parse(&mode).ok_or_else(|| invalid(format!("invalid resolvemode: {mode}")))?;
    Ok(Source::Image(ImageSource {
        reference: name.to_owned(),
        resolve,
        layer_limit: attributes.number("image.layerlimit")?,
    }))
}

fn local(name: &str, attributes: &mut Attributes) -> Result<Source, Status> {
    // Makes vertices of different builds differ; nothing else.
    attributes.text("local.unique");
    Ok(Source::Local(LocalSource {
        name: name.to_owned(),
        session: attributes.text("local.session"),
        include: attributes.list("local.includepattern")?,
        exclude: attributes.list("local.excludepatterns")?,
        follow_paths: attributes.list("local.followpaths")?,
        shared_key_hint: attributes.text("local.sharedkeyhint"),
        differ: match attributes.text("local.differ").as_str() {
            "none" => LocalDiffer::None,
            _ => LocalDiffer::Metadata,
        },
        metadata_only: attributes.flag("local.metadatatransfer"),
        metadata_exceptions: attributes.list("local.metadatatransferexclude")?,
    }))
}

fn http(url: &str, attributes: &mut Attributes) -> Result<Source, Status> {
    let checksum = attributes.text("http.checksum");
    let mode = attributes.text("http.perm");
    let mode = match mode.as_str() {
        "" => None,
        text => {
            let digits = text.trim_start_matches("0o");
            let mode = u32::from_str_radix(digits, 8);
            Some(mode.map_err(|_error| invalid(format!("invalid http.perm: {text:?}")))?)
        }
    };
    let mut headers = BTreeMap::new();
    let prefix = "http.header.";
    let names: Vec<String> = attributes.0.keys().cloned().collect();
    for name in names.iter().filter(|name| name.starts_with(prefix)) {
        let value = attributes.text(name);
        headers.insert(name.trim_start_matches(prefix).to_owned(), value);
    }
    Ok(Source::Http(HttpSource {
        url: url.to_owned(),
        checksum: match checksum.as_str() {
            "" => None,
            text => Some(super::parse(text)?),
        },
        filename: attributes.text("http.filename"),
        mode,
        uid: attributes.number("http.uid")?,
        gid: attributes.number("http.gid")?,
        auth_header_secret: attributes.text("http.authheadersecret"),
        headers,
    }))
}

fn git(identifier: &str, attributes: &mut Attributes) -> Source {
    let (remote, fragment) = identifier.split_once('#').unwrap_or((identifier, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let remote = match attributes.text("git.fullurl") {
        url if url.is_empty() => format!("https://{remote}"),
        url => url,
    };
    let socket = attributes.text("git.mountsshsock");
    Source::Git(GitSource {
        remote,
        reference: reference.to_owned(),
        subdir: subdir.to_owned(),
        checksum: attributes.text("git.checksum"),
        keep_git_dir: attributes.flag("git.keepgitdir"),
        skip_submodules: attributes.flag("git.skipsubmodules"),
        auth_token_secret: attributes.text("git.authtokensecret"),
        auth_header_secret: attributes.text("git.authheadersecret"),
        known_ssh_hosts: attributes.text("git.knownsshhosts"),
        mount_ssh_sock: (!socket.is_empty()).then_some(socket),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(identifier: &str, attrs: &[(&str, &str)]) -> Result<Source, Status> {
        let attrs = attrs.iter();
        source(&pb::SourceOp {
            identifier: identifier.to_owned(),
            attrs: attrs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        })
    }

    #[test]
    fn attributes_are_read_and_unknown_ones_refused() {
        let patterns = [
            ("local.includepattern", "[\"a\",\"b*\"]"),
            ("local.unique", "x"),
        ];
        let Source::Local(local) = read("local://context", &patterns).unwrap() else {
            panic!("a local source");
        };
        assert_eq!((local.name.as_str(), local.include.len()), ("context", 2));
        assert!(read("local://context", &[("local.strange", "1")]).is_err());
        assert!(read("nowhere://x", &[]).is_err());
        let url = [("git.fullurl", "https://e.example/r.git")];
        let Source::Git(git) = read("git://e.example/r.git#v1:sub", &url).unwrap() else {
            panic!("a git source");
        };
        assert_eq!((git.reference.as_str(), git.subdir.as_str()), ("v1", "sub"));
        assert_eq!(git.remote, "https://e.example/r.git");
    }
}
