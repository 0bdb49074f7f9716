//! Where the result of a build comes from: the predicate of a statement of provenance
//! (<https://slsa.dev/provenance/v0.2>) as BuildKit writes it for its history.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arca_build::graph::{Edge, ExecMountKind, NetworkMode, Op};
use arca_build::{Job, Material, SolveInput};
use arca_types::{Digest, Platform, Reference, Timestamp};
use serde::Serialize;

/// What the predicate is called in a record.
pub(crate) const PREDICATE: &str = "https://slsa.dev/provenance/v0.2";
/// How it was built.
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";
/// Options that say nothing of what is built.
const OF_THE_HOST: [&str; 4] = [
    "cgroup-parent",
    "image-resolve-mode",
    "platform",
    "cache-imports",
];
/// What stands for a name or password.
const MASK: &str = "xxxxx";

/// The front end that made a build's graph, and what it was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frontend {
    pub(crate) name: String,
    pub(crate) attrs: BTreeMap<String, String>,
}

impl Frontend {
    /// The one that a request names.
    pub(crate) fn of(input: &SolveInput) -> Self {
        Self {
            name: input.frontend.clone(),
            attrs: input.frontend_attrs.clone(),
        }
    }

    /// Who the client says builds.
    fn builder(&self) -> &str {
        let options = self.attrs.get("attest:provenance");
        let options = options.map_or("", String::as_str).split(',');
        let mut ids = options.filter_map(|option| option.strip_prefix("builder-id="));
        ids.next().unwrap_or_default()
    }
}

/// The predicate, `ProvenancePredicateSLSA02` of BuildKit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Predicate {
    builder: Builder,
    build_type: &'static str,
    materials: Vec<Stated>,
    invocation: Invocation,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
struct Builder {
    id: String,
}

/// Something from outside, and its digest by algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Stated {
    uri: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    config_source: ConfigSource,
    parameters: Parameters,
    environment: Environment,
}

/// Where the Dockerfile was.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    uri: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    entry_point: String,
}

#[derive(Debug, Serialize)]
struct Parameters {
    frontend: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    secrets: BTreeSet<Given>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    ssh: BTreeSet<Given>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locals: Vec<Local>,
}

/// A secret or an agent that steps were given.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Given {
    id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

#[derive(Debug, Serialize)]
struct Local {
    name: String,
}

#[derive(Debug, Serialize)]
struct Environment {
    platform: String,
}

#[derive(Debug, Serialize)]
struct Metadata {
    #[serde(rename = "buildInvocationID")]
    id: String,
    #[serde(rename = "buildStartedOn")]
    started: Timestamp,
    #[serde(rename = "buildFinishedOn")]
    finished: Timestamp,
    completeness: Completeness,
    reproducible: bool,
    #[serde(
        rename = "https://mobyproject.org/buildkit@v1#hermetic",
        skip_serializing_if = "std::ops::Not::not"
    )]
    hermetic: bool,
    #[serde(rename = "https://mobyproject.org/buildkit@v1#metadata")]
    of_buildkit: OfBuildKit,
}

#[derive(Debug, Serialize)]
struct Completeness {
    parameters: bool,
    environment: bool,
    materials: bool,
}

#[derive(Debug, Serialize)]
struct OfBuildKit {
    /// What the client says of its repository.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vcs: BTreeMap<String, String>,
}

/// The predicate of what a build made.
pub(crate) fn predicate(
    job: &Job,
    frontend: &Frontend,
    result: &Edge,
    (started, finished): (Timestamp, Timestamp),
) -> Predicate {
    let used = job.materials();
    let materials: Vec<Stated> = used.iter().filter_map(stated).collect();
    let locals: Vec<Local> = used.iter().filter_map(local).collect();
    let complete = locals.is_empty();
    let mut args: BTreeMap<String, String> = frontend
        .attrs
        .iter()
        .filter(|(name, _)| !OF_THE_HOST.contains(&name.as_str()) && !name.starts_with("attest:"))
        .map(|(name, value)| match name.starts_with("context:") {
            true => (name.clone(), redacted(value)),
            false => (name.clone(), value.clone()),
        })
        .collect();
    let config_source = config_source(&mut args, &materials);
    let of_buildkit = OfBuildKit {
        vcs: vcs(&mut args),
    };
    let (mut secrets, mut ssh) = (BTreeSet::new(), BTreeSet::new());
    let network = given(result, &mut secrets, &mut ssh);
    Predicate {
        builder: Builder {
            id: frontend.builder().to_owned(),
        },
        build_type: BUILD_TYPE,
        materials,
        invocation: Invocation {
            config_source,
            parameters: Parameters {
                frontend: frontend.name.clone(),
                args,
                secrets,
                ssh,
                locals,
            },
            environment: Environment {
                platform: Platform::host().to_string(),
            },
        },
        metadata: Metadata {
            id: job.id().to_owned(),
            started,
            finished,
            completeness: Completeness {
                parameters: !frontend.name.is_empty(),
                environment: true,
                materials: complete,
            },
            reproducible: false,
            hermetic: complete && !network,
            of_buildkit,
        },
    }
}

/// Where the Dockerfile was; takes the options that say so.
fn config_source(args: &mut BTreeMap<String, String>, materials: &[Stated]) -> ConfigSource {
    let key = match (args.get("contextkey"), args.get("input:context")) {
        (Some(key), _) if !key.is_empty() => key.clone(),
        (_, Some(input)) if !input.is_empty() => "input:context".to_owned(),
        _ => "context".to_owned(),
    };
    let uri = redacted(&args.remove(&key).unwrap_or_default());
    let mut same = materials.iter().filter(|stated| stated.uri == uri);
    ConfigSource {
        digest: same
            .next()
            .map_or_else(BTreeMap::new, |found| found.digest.clone()),
        uri,
        entry_point: args.remove("filename").unwrap_or_default(),
    }
}

/// What the client says of its repository; takes the options that say so.
fn vcs(args: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    args.retain(|name, value| {
        let Some(what) = name.strip_prefix("vcs:") else {
            return true;
        };
        if !value.is_empty() {
            said.insert(what.to_owned(), redacted(value));
        }
        false
    });
    said
}

/// Collects what the steps of a graph were given; returns whether any of them had a network.
fn given(result: &Edge, secrets: &mut BTreeSet<Given>, ssh: &mut BTreeSet<Given>) -> bool {
    let mut network = false;
    let mut seen = HashSet::from([result.vertex.digest()]);
    let mut waiting = vec![&result.vertex];
    while let Some(vertex) = waiting.pop() {
        let inputs = vertex.inputs().iter().map(|input| &input.vertex);
        waiting.extend(inputs.filter(|input| seen.insert(input.digest())));
        let Op::Exec(exec) = vertex.op() else {
            continue;
        };
        network |= exec.network != NetworkMode::None;
        let given = |id: &str, optional| Given {
            id: id.to_owned(),
            optional,
        };
        for mount in &exec.mounts {
            match &mount.kind {
                ExecMountKind::Secret(secret) => {
                    secrets.insert(given(&secret.id, secret.optional));
                }
                ExecMountKind::Ssh(agent) => {
                    ssh.insert(given(&agent.id, agent.optional));
                }
                _ => {}
            }
        }
        let variables = exec.secret_env.iter();
        secrets.extend(variables.map(|secret| given(&secret.id, secret.optional)));
    }
    network
}

fn local(material: &Material) -> Option<Local> {
    match material {
        Material::Local(name) => Some(Local { name: name.clone() }),
        _ => None,
    }
}

/// What is stated of a material; nothing of a directory of the client, whose content is not known.
fn stated(material: &Material) -> Option<Stated> {
    let set = |digest: &Digest| {
        let algorithm = digest.algorithm().as_str().to_owned();
        BTreeMap::from([(algorithm, digest.hex().to_owned())])
    };
    let (uri, digest) = match material {
        Material::Image {
            reference,
            platform,
            digest,
        } => {
            let named: Reference = reference.parse().ok()?;
            (package("docker", &named, platform.as_ref()), set(digest))
        }
        Material::OciLayout {
            reference,
            platform,
        } => {
            let named: Reference = reference.parse().ok()?;
            let digest = named.digest().map_or_else(BTreeMap::new, set);
            (package("oci", &named, platform.as_ref()), digest)
        }
        Material::Git { url, commit } => {
            let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
            let digest = BTreeMap::from([(algorithm.to_owned(), commit.clone())]);
            (redacted(url), digest)
        }
        Material::Http { url, digest } => (redacted(url), set(digest)),
        Material::Local(_) => return None,
    };
    Some(Stated { uri, digest })
}

/// The URL of an image as a package (<https://github.com/package-url/purl-spec>).
fn package(kind: &str, named: &Reference, platform: Option<&Platform>) -> String {
    let name = named.repository().familiar();
    let parts = name.split('/').map(|part| escaped(part, ":"));
    let mut url = format!("pkg:{kind}/{}", parts.collect::<Vec<_>>().join("/"));
    if let Some(tag) = named.tag() {
        url.push_str(&format!("@{}", escaped(tag, "")));
    }
    let digest = named.digest().map(|digest| ("digest", digest.to_string()));
    let platform = platform.map(|platform| ("platform", platform.to_string()));
    for (index, (key, value)) in digest.into_iter().chain(platform).enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        url.push_str(&format!("{mark}{key}={}", escaped(&value, ":")));
    }
    url
}

/// Escapes what is not unreserved in a URL (RFC 3986), nor in `kept`.
fn escaped(text: &str, kept: &str) -> String {
    let mut written = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric()
            || "-._~".contains(character)
            || kept.contains(character)
        {
            written.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                written.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    written
}

/// A URL without the name and password in it.
fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            format!("{scheme}://{MASK}:{MASK}@{host}{path}")
        }
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_package() {
        let platform = "linux/arm/v7".parse::<Platform>().unwrap();
        let hex = "0".repeat(64);
        for (reference, url) in [
            (
                "busybox",
                "pkg:docker/busybox@latest?platform=linux%2Farm%2Fv7".to_owned(),
            ),
            (
                "localhost:5000/a/b:1.2",
                "pkg:docker/localhost:5000/a/b@1.2?platform=linux%2Farm%2Fv7".to_owned(),
            ),
            (
                &format!("docker.io/a/b:1@sha256:{hex}"),
                format!("pkg:docker/a/b@1?digest=sha256:{hex}&platform=linux%2Farm%2Fv7"),
            ),
        ] {
            let reference = reference.parse().unwrap();
            assert_eq!(package("docker", &reference, Some(&platform)), url);
        }
    }

    #[test]
    fn no_credentials_are_stated() {
        for (url, stated) in [
            ("https://host/a@b", "https://host/a@b"),
            (
                "https://token@host/a.git#main",
                "https://xxxxx@host/a.git#main",
            ),
            ("https://me:secret@host?x=@", "https://xxxxx:xxxxx@host?x=@"),
            ("git@host:a/b.git", "git@host:a/b.git"),
        ] {
            assert_eq!(redacted(url), stated);
        }
    }

    #[test]
    fn options_say_where_the_dockerfile_was() {
        let commit = "1".repeat(40);
        let context = "https://me:secret@host/a.git#main";
        let material = Material::Git {
            url: context.to_owned(),
            commit: commit.clone(),
        };
        let options = [
            ("context", context),
            ("filename", "Dockerfile"),
            ("vcs:source", "https://me:secret@host/a.git"),
            ("vcs:revision", ""),
            ("target", "x"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut args = BTreeMap::from(options);
        let source = config_source(&mut args, &[stated(&material).unwrap()]);
        let expected = ConfigSource {
            uri: "https://xxxxx:xxxxx@host/a.git#main".to_owned(),
            digest: [("sha1".to_owned(), commit)].into(),
            entry_point: "Dockerfile".to_owned(),
        };
        assert_eq!(source, expected);
        let said = vcs(&mut args);
        assert_eq!(said["source"], "https://xxxxx:xxxxx@host/a.git");
        assert_eq!(said.len(), 1);
        assert_eq!(args.into_keys().collect::<Vec<_>>(), ["target"]);
    }
}
