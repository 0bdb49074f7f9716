//! Dockerfiles, and the graphs, configurations, warnings and errors that come of them.

mod asked;
mod errors;
mod graphs;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use arca_types::{Digest, Platform, chain};
use async_trait::async_trait;

use super::{Gateway, ImageRequest, dockerfile};
use crate::graph::{Edge, ExecMountKind, FileActionKind, Op, Source};
use crate::{BuildResult, Error, ResolvedImage, SolveInput};

/// A build whose client has some files, on a host that has some images.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) files: BTreeMap<&'static str, String>,
    /// The configuration of `busybox`, if it is not the usual one.
    pub(super) busybox: Option<serde_json::Value>,
    pub(super) warnings: Mutex<Vec<String>>,
    pub(super) asked: Mutex<Vec<String>>,
}

const BUSYBOX: &str = r#"{"created":"2020-01-01T00:00:00Z","architecture":"amd64","os":"linux",
    "config":{"Env":["PATH=/bin"],"Cmd":["sh"],"Labels":null},
    "rootfs":{"type":"layers","diff_ids":["sha256:aa"]},"history":[{"created_by":"base"}]}"#;

const TRIGGERS: &str = r#"{"architecture":"amd64","os":"linux",
    "config":{"OnBuild":["COPY . /src","RUN make"],"WorkingDir":"/w","User":"me"},
    "rootfs":{"type":"layers","diff_ids":["sha256:aa"]}}"#;

#[async_trait]
impl Gateway for Host {
    fn platform(&self) -> Platform {
        Platform::new("linux", "amd64", None)
    }

    async fn resolve_image(&self, request: &ImageRequest) -> Result<ResolvedImage, Error> {
        self.asked
            .lock()
            .expect("lock")
            .push(request.log_name.clone());
        let own = self.busybox.as_ref().map(ToString::to_string);
        let config = match request.reference.as_str() {
            "docker.io/library/triggers:latest" => TRIGGERS,
            name if name.contains("missing") => {
                return Err(Error::NotFound(format!("{name}: not found")));
            }
            _ => own.as_deref().unwrap_or(BUSYBOX),
        };
        Ok(ResolvedImage {
            reference: request.reference.clone(),
            digest: Digest::sha256(&[7; 32]),
            config: config.into(),
            platform: self.platform(),
        })
    }

    async fn read_file(&self, _: &Edge, path: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.files.get(path).map(|text| text.clone().into_bytes()))
    }

    fn warn(&self, warning: crate::progress::Warning) {
        self.warnings.lock().expect("lock").push(warning.short);
    }
}

fn host(text: &str) -> Host {
    Host {
        files: BTreeMap::from([("Dockerfile", text.to_owned())]),
        ..Host::default()
    }
}

pub(super) async fn solve(host: &Host, attrs: &[(&str, &str)]) -> Result<BuildResult, Error> {
    let attrs = attrs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let input = SolveInput {
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attrs.collect(),
        ..SolveInput::default()
    };
    dockerfile(&input, host).await
}

async fn build(text: &str, attrs: &[(&str, &str)]) -> BuildResult {
    solve(&host(text), attrs)
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn error(text: &str, attrs: &[(&str, &str)]) -> String {
    chain(&solve(&host(text), attrs).await.expect_err("an error"))
}

fn config(result: &BuildResult) -> serde_json::Value {
    serde_json::from_slice(&result.metadata["containerimage.config"]).expect("JSON")
}

fn history(result: &BuildResult) -> Vec<String> {
    let config = config(result);
    let steps = config["history"].as_array().cloned().unwrap_or_default();
    steps
        .iter()
        .map(|step| step["created_by"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The vertices below the result, inputs first, one a line.
fn graph(result: &BuildResult) -> String {
    fn walk(edge: &Edge, seen: &mut Vec<Digest>, out: &mut String) -> usize {
        if let Some(at) = seen
            .iter()
            .position(|digest| digest == edge.vertex.digest())
        {
            return at;
        }
        let inputs: Vec<_> = edge
            .vertex
            .inputs()
            .iter()
            .map(|input| walk(input, seen, out))
            .collect();
        seen.push(edge.vertex.digest().clone());
        let what = describe(edge.vertex.op());
        writeln!(
            out,
            "{} {} <- {inputs:?} {what}",
            seen.len() - 1,
            edge.vertex.name()
        )
        .expect("a string");
        seen.len() - 1
    }
    let (mut seen, mut out) = (Vec::new(), String::new());
    for edge in result.refs.values().flatten() {
        walk(edge, &mut seen, &mut out);
    }
    out
}

fn describe(op: &Op) -> String {
    match op {
        Op::Source(Source::Local(local)) => {
            format!(
                "follow={:?} exclude={:?}",
                local.follow_paths, local.exclude
            )
        }
        Op::Source(source) => source.identifier(),
        Op::Merge | Op::Diff { .. } => op.name(),
        Op::File(actions) => {
            let kinds: Vec<String> = actions
                .iter()
                .map(|action| match &action.kind {
                    FileActionKind::Copy(copy) => format!(
                        "copy {}->{} include={:?} unpack={} owner={} mode={:?}",
                        copy.source,
                        copy.destination,
                        copy.include,
                        copy.attempt_unpack,
                        copy.owner.is_some(),
                        copy.mode
                    ),
                    FileActionKind::MkFile(file) => {
                        format!(
                            "mkfile {} {:?}",
                            file.path,
                            String::from_utf8_lossy(&file.data)
                        )
                    }
                    _ => action.name(),
                })
                .collect();
            kinds.join("; ")
        }
        Op::Exec(exec) => {
            let mounts: Vec<String> = exec
                .mounts
                .iter()
                .map(|mount| match &mount.kind {
                    ExecMountKind::Bind(bind) => {
                        format!("{}=bind:{:?}:{}", mount.target, bind.input, bind.selector)
                    }
                    ExecMountKind::Cache(cache) => format!("{}=cache:{}", mount.target, cache.id),
                    ExecMountKind::Tmpfs(_) => format!("{}=tmpfs", mount.target),
                    ExecMountKind::Secret(secret) => {
                        format!("{}=secret:{}", mount.target, secret.id)
                    }
                    ExecMountKind::Ssh(_) => format!("{}=ssh", mount.target),
                })
                .collect();
            format!(
                "{:?} in {} env={:?} {}",
                exec.args,
                exec.cwd,
                exec.env,
                mounts.join(" ")
            )
        }
    }
}

const MISTAKES: &[(&str, &str)] = &[
    ("", "the Dockerfile cannot be empty"),
    ("ARG a\n", "dockerfile contains no stages to build"),
    ("FROM $x\n", "base name ($x) should not be blank"),
    (
        "FROM missing\n",
        "missing: docker.io/library/missing:latest: not found",
    ),
    (
        "FROM busybox:missing\n",
        "busybox:missing: docker.io/library/busybox:missing: not found",
    ),
    (
        "FROM UPPER\n",
        "failed to parse stage name \"UPPER\": invalid reference format: repository name (library/UPPER) must be lowercase",
    ),
    (
        "FROM --platform=x busybox\n",
        "failed to parse platform x: \"x\": unknown operating system or architecture: invalid argument",
    ),
    (
        "FROM --platform=$TARGETPLATFROM busybox\n",
        "empty platform value from expression $TARGETPLATFROM (did you mean TARGETPLATFORM?)",
    ),
    ("FROM busybox\nCOPY --from=3 a b\n", "invalid stage index 3"),
    (
        "FROM busybox\nCOPY --from=$x a b\n",
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
    ),
    (
        "FROM busybox AS a\nCOPY --from=a x y\n",
        "circular dependency detected on stage: a",
    ),
    (
        "FROM busybox AS a\nCOPY --from=b x y\nFROM a AS b\n",
        "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
    ),
    (
        "FROM busybox\nCOPY --chmod=9 a b\n",
        "invalid chmod parameter: '9'. it should be octal string and between 0 and 07777",
    ),
    (
        "FROM busybox\nCOPY https://x/y z\n",
        "source can't be a URL for COPY",
    ),
    (
        "FROM busybox\nCOPY https://x/y.git z\n",
        "source can't be a git ref for COPY",
    ),
    (
        "FROM busybox\nADD --checksum=sha256:x a b\n",
        "checksum requires HTTP(S) or Git sources",
    ),
    (
        "FROM busybox\nADD --checksum=sha256:x https://x/a https://x/b c/\n",
        "checksum can't be specified for multiple sources",
    ),
    (
        "FROM busybox\nENV a=${b?none}\n",
        "failed to process \"${b?none}\": b: none",
    ),
    ("FROM busybox\nEXPOSE x\n", "invalid containerPort: x"),
    ("FROM busybox\nSTOPSIGNAL x\n", "invalid signal: x"),
    (
        "FROM busybox\nRUN --mount=target=/ a\n",
        "invalid mount target \"/\"",
    ),
    (
        "FROM busybox\nRUN --mount=type=ssh,source=x a\n",
        "ssh does not support source",
    ),
    (
        "# syntax=docker/dockerfile:1.20-labs\nFROM scratch\nXYZZY\n",
        "dockerfile parse error on line 3: unknown instruction: XYZZY",
    ),
    (
        "# syntax=tonistiigi/other\nFROM scratch\n",
        "front end tonistiigi/other is not supported: front-end images cannot be run, only docker/dockerfile is built in",
    ),
    (
        "# check=error=true\nFROM busybox as a\n",
        "lint violation found for rules: FromAsCasing",
    ),
];
