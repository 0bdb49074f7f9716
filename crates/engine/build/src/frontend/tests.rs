//! Dockerfiles, and the graphs, configurations, warnings and errors that come of them.

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

#[tokio::test]
async fn only_what_the_target_needs_is_in_the_graph() {
    let text = "FROM busybox AS a\nRUN one\nFROM busybox AS unused\nRUN two\nFROM scratch\nCOPY --from=a /x /y/\nCOPY z* ./\n";

    let result = build(text, &[]).await;

    assert_eq!(
        graph(&result),
        "0 [a 1/2] FROM docker.io/library/busybox:latest <- [] docker-image://docker.io/library/busybox:latest\n\
         1 [a 2/2] RUN one <- [0] [\"/bin/sh\", \"-c\", \"one\"] in / env=[\"PATH=/bin\"] /=bind:Some(0):\n\
         2 [stage-2 1/2] COPY --from=a /x /y/ <- [1] copy /x->/y/ include=[] unpack=false owner=false mode=None\n\
         3 [internal] load build context <- [] follow=[\"z*\"] exclude=[]\n\
         4 [stage-2 2/2] COPY z* ./ <- [2, 3] copy /z*->/ include=[] unpack=false owner=false mode=None\n"
    );
    assert_eq!(
        history(&result),
        ["COPY /x /y/ # buildkit", "COPY z* ./ # buildkit"]
    );
}

#[tokio::test]
async fn instructions_make_the_configuration_and_its_history() {
    let text = "FROM busybox\nARG V=1\nENV A=$V B='x y' C\\ D=e\nLABEL l=\"$A\"\nEXPOSE 80 443/UDP\nVOLUME [\"/v\"]\nUSER me\nWORKDIR /w\nWORKDIR sub\nSHELL [\"/bin/bash\",\"-c\"]\nENTRYPOINT [\"e\"]\nCMD run it\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=90s CMD check\nMAINTAINER who\nONBUILD RUN later\nRUN echo $V\n";

    let result = build(text, &[("build-arg:V", "2"), ("label:k", "v")]).await;

    let config = config(&result);
    assert_eq!(config["author"], "who");
    assert_eq!(
        config["config"],
        serde_json::json!({
            "User": "me", "ExposedPorts": {"80/tcp": {}, "443/udp": {}},
            "Env": ["PATH=/bin", "A=2", "B=x y", "C D=e"], "Entrypoint": ["e"],
            "Cmd": ["/bin/bash", "-c", "run it"], "Volumes": {"/v": {}}, "WorkingDir": "/w/sub",
            "Labels": {"k": "v", "l": "2"}, "StopSignal": "SIGINT", "ArgsEscaped": true,
            "Healthcheck": {"Test": ["CMD-SHELL", "check"], "Interval": 90_000_000_000_i64},
            "OnBuild": ["RUN later"], "Shell": ["/bin/bash", "-c"],
        })
    );
    assert_eq!(
        history(&result),
        [
            "base",
            "ARG V=2",
            "ENV A=2 B=x y C D=e",
            "LABEL l=2",
            "EXPOSE [443/udp 80/tcp]",
            "VOLUME [/v]",
            "USER me",
            "WORKDIR /w",
            "WORKDIR /w/sub",
            "SHELL [/bin/bash -c]",
            "ENTRYPOINT [\"e\"]",
            "CMD [\"/bin/bash\" \"-c\" \"run it\"]",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK &{[\"CMD-SHELL\" \"check\"] \"1m30s\" \"0s\" \"0s\" \"0s\" '\\x00'}",
            "MAINTAINER who",
            "RUN |1 V=2 /bin/bash -c echo $V # buildkit",
        ]
    );
    assert!(config.get("created").is_none());
}

#[tokio::test]
async fn an_entrypoint_takes_the_bases_command_away() {
    let result = build("FROM busybox\nENTRYPOINT [\"x\"]\n", &[]).await;

    assert!(config(&result)["config"].get("Cmd").is_none());
}

#[tokio::test]
async fn a_mount_is_what_its_kind_says() {
    let text = "FROM busybox AS a\nFROM busybox\nENV N=1\nRUN --mount=type=cache,target=/c/$N --mount=target=/b,from=a,source=/s --mount=type=tmpfs,target=/t --mount=type=secret,id=k --mount=type=secret,id=e,env=E --mount=type=ssh --mount=target=ctx,source=dir --network=none run $E\n";

    let result = build(
        text,
        &[
            ("build-arg:BUILDKIT_CACHE_MOUNT_NS", "ns"),
            ("build-arg:http_proxy", "p"),
        ],
    )
    .await;

    let graph = graph(&result);
    assert!(graph.contains(
        "/=bind:Some(0): /b=bind:Some(1):/s /c/1=cache:ns//c/1 /ctx=bind:Some(2):/dir /t=tmpfs /run/secrets/k=secret:k /run/buildkit/ssh_agent.0=ssh"
    ), "{graph}");
    assert!(
        graph.contains("follow=[\"dir\"]") && graph.contains("run ****"),
        "{graph}"
    );
    assert!(
        graph.contains("SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"),
        "{graph}"
    );
}

#[tokio::test]
async fn heredocs_become_scripts_text_and_files() {
    let text = "FROM busybox\nRUN <<EOF\none\ntwo\nEOF\nRUN <<S\n#!/bin/py\nthree\nS\nRUN cat <<A >b\nfour\nA\nENV V=5\nCOPY <<a <<'b' /d/\n$V\na\n$V\nb\n";

    let result = build(text, &[]).await;

    let graph = graph(&result);
    for wanted in [
        "RUN <<EOF (one...)",
        "[\"/bin/sh\", \"-c\", \"one\\ntwo\\n\"]",
        "[\"/bin/sh\", \"-c\", \"/dev/pipes/S\"]",
        "mkfile /S \"#!/bin/py\\nthree\\n\"",
        "\"cat <<A >b\\nfour\\nA\"",
        "mkfile /a \"5\\n\"",
        "mkfile /b \"$V\\n\"",
    ] {
        assert!(graph.contains(wanted), "{wanted}: {graph}");
    }
    assert_eq!(
        history(&result).last().map(String::as_str),
        Some("COPY <<a <<b /d/ # buildkit")
    );
}

#[tokio::test]
async fn copies_take_owners_permissions_parents_and_links() {
    let text = "FROM busybox\nCOPY --chown=1:2 --chmod=u+x a /x\nCOPY --parents p/./q/*.c /y/\nCOPY --link b /z\nADD --unpack=false c.tar /t/\nADD d.tar /t/\n";

    let graph = graph(&build(text, &[]).await);

    for wanted in [
        "copy /a->/x include=[] unpack=false owner=true mode=Some(Symbolic(\"u+x\"))",
        "copy /p->/y/ include=[\"q/*.c\"]",
        "[stage-0 4/6] LINK COPY --link b /z",
        "copy /c.tar->/t/ include=[] unpack=false",
        "copy /d.tar->/t/ include=[] unpack=true",
    ] {
        assert!(
            graph.contains(wanted) || graph.contains(&wanted.replace("stage-0 ", "")),
            "{wanted}: {graph}"
        );
    }
}

#[tokio::test]
async fn triggers_of_the_base_run_first() {
    let text = "FROM triggers AS a\nRUN own\nONBUILD RUN next\nFROM a\nRUN last\n";

    let result = build(text, &[]).await;

    let graph = graph(&result);
    let names: Vec<&str> = graph
        .lines()
        .filter_map(|line| line.split(" <-").next())
        .collect();
    assert_eq!(
        names,
        [
            // The base is named before it is known what it leaves to be done.
            "0 [a 1/2] FROM docker.io/library/triggers:latest",
            "1 [internal] load build context",
            "2 [a 2/4] ONBUILD COPY . /src",
            "3 [a 3/4] ONBUILD RUN make",
            "4 [a 4/4] RUN own",
            "5 [stage-1 1/2] ONBUILD RUN next",
            "6 [stage-1 2/2] RUN last",
        ]
    );
    assert!(config(&result)["config"].get("OnBuild").is_none());
}

#[tokio::test]
async fn arguments_have_scopes_and_defaults() {
    let text = "ARG A=1\nARG B=${A}2\nFROM busybox:$B AS one\nRUN a=$A\nARG A\nARG C=${A:-x}c\nARG TARGETARCH\nRUN a=$A c=$C t=$TARGETARCH\nFROM one\nRUN c=$C\n";

    let result = build(text, &[("build-arg:A", "9")]).await;

    let graph = graph(&result);
    assert!(graph.contains("docker.io/library/busybox:92"), "{graph}");
    assert!(
        graph.contains("\"A=9\", \"C=9c\", \"TARGETARCH=amd64\""),
        "{graph}"
    );
    assert_eq!(
        history(&result)[1..],
        [
            "RUN /bin/sh -c a=$A # buildkit",
            "ARG A=9",
            "ARG C=9c",
            "ARG TARGETARCH=amd64",
            "RUN |3 A=9 C=9c TARGETARCH=amd64 /bin/sh -c a=$A c=$C t=$TARGETARCH # buildkit",
            "RUN |3 A=9 C=9c TARGETARCH=amd64 /bin/sh -c c=$C # buildkit",
        ]
    );
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

#[tokio::test]
async fn mistakes_are_told_in_buildkits_words() {
    for (text, wanted) in MISTAKES {
        assert_eq!(error(text, &[]).await, *wanted, "{text}");
    }
    let target = [("target", "buidl")];
    assert_eq!(
        error("FROM scratch AS build\n", &target).await,
        "target stage \"buidl\" could not be found (did you mean build?)"
    );
    assert_eq!(
        chain(&solve(&Host::default(), &[]).await.expect_err("no file")),
        "failed to read dockerfile: open Dockerfile: no such file or directory"
    );
}

#[tokio::test]
async fn errors_say_where_they_are() {
    let failure = solve(&host("FROM scratch\n\nEXPOSE \\\n x\n"), &[])
        .await
        .expect_err("an error");

    assert_eq!(
        failure
            .ranges()
            .iter()
            .map(|range| range.start.0)
            .collect::<Vec<_>>(),
        [3, 4]
    );
}

#[tokio::test]
async fn what_is_advised_against_is_told() {
    let mut host = host(
        "# check=experimental=all\nARG G\nFROM --platform=$TARGETPLATFORM busybox\nFROM --platform=linux/amd64 busybox$H AS x\nWORKDIR rel\nENV k v\nENV API_KEY=1 PUBLIC_KEY=2\nCMD a\nCMD [\"b\"]\nEXPOSE 1:80/TCP\nCOPY ignored/x $NOPE/\n",
    );
    host.files.insert(".dockerignore", "ignored\n".to_owned());

    solve(&host, &[]).await.expect("builds");

    let told = host.warnings.lock().expect("lock").join("\n");
    assert_eq!(
        told,
        "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 3)\n\
         UndefinedArgInFrom: FROM argument 'H' is not declared (did you mean G?) (line 4)\n\
         FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\" (line 4)\n\
         WorkdirRelativePath: Relative workdir \"rel\" can have unexpected results if the base image changes (line 5)\n\
         LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 6)\n\
         SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"API_KEY\") (line 7)\n\
         JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 8)\n\
         MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 8)\n\
         ExposeProtoCasing: Defined protocol '1:80/TCP' in EXPOSE instruction should be lowercase (line 10)\n\
         ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:80/TCP' (line 10)\n\
         UndefinedVar: Usage of undefined variable '$NOPE' (line 11)\n\
         CopyIgnoredFile: Attempting to Copy file \"ignored/x\" that is excluded by .dockerignore (line 11)"
    );
}

#[tokio::test]
async fn requests_are_answered() {
    let text = "# V version\nARG V=1\n# base first\nFROM busybox:$V AS base\nARG X=2\nRUN --mount=type=secret,id=tok,required --mount=type=ssh true\nFROM base\n";
    let text_of = |result: &BuildResult| {
        String::from_utf8(result.metadata["result.txt"].clone()).expect("text")
    };

    let targets = build(text, &[("requestid", "frontend.targets")]).await;
    assert_eq!(
        text_of(&targets),
        "TARGET    DESCRIPTION\nbase      first\n(default) \n"
    );

    let outline = build(
        text,
        &[("requestid", "frontend.outline"), ("target", "base")],
    )
    .await;
    assert_eq!(
        text_of(&outline),
        "TARGET:      base\nDESCRIPTION: first\n\nBUILD ARG   VALUE   DESCRIPTION\nV           1       version\nX           2       \n\nSECRET   REQUIRED\ntok      true\n\nSSH       REQUIRED\ndefault   \n\n"
    );

    let lint = build("FROM busybox as a\n", &[("requestid", "frontend.lint")]).await;
    assert_eq!(lint.metadata["result.statuscode"], b"1");
    assert_eq!(
        text_of(&lint),
        "\nWARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/\n'as' and 'FROM' keywords' casing do not match\nDockerfile:1\n--------------------\n   1 | >>> FROM busybox as a\n   2 |     \n--------------------\n"
    );

    let broken = build("FROM busybox\nXYZZY\n", &[("requestid", "frontend.lint")]).await;
    let json: serde_json::Value =
        serde_json::from_slice(&broken.metadata["result.json"]).expect("JSON");
    assert_eq!(
        json["buildError"]["message"],
        "dockerfile parse error on line 2: unknown instruction: XYZZY"
    );
    assert_eq!(
        json["buildError"]["location"]["ranges"][0]["start"]["line"],
        2
    );
}

#[tokio::test]
async fn what_a_client_relies_on_is_there_or_refused() {
    let known = "moby.buildkit.frontend.contexts,moby.buildkit.frontend.inputs+forward";
    build("FROM scratch\nLABEL a=1\n", &[("frontend.caps", known)]).await;

    let asked = [("frontend.caps", "moby.buildkit.frontend.flying")];
    assert_eq!(
        error("FROM scratch\n", &asked).await,
        "unsupported frontend capability moby.buildkit.frontend.flying"
    );
}

#[tokio::test]
async fn several_platforms_are_several_results() {
    let text = "FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETPLATFORM\nRUN one\nFROM busybox\nCOPY --from=b /a /\n";

    let result = build(text, &[("platform", "linux/amd64,linux/arm64")]).await;

    assert_eq!(
        result.refs.keys().collect::<Vec<_>>(),
        ["linux/amd64", "linux/arm64"]
    );
    let config: serde_json::Value =
        serde_json::from_slice(&result.metadata["containerimage.config/linux/arm64"])
            .expect("JSON");
    assert_eq!(config["architecture"], "arm64");
    let graph = graph(&result);
    assert!(
        graph.contains("[linux/amd64->arm64 b 2/2] RUN one"),
        "{graph}"
    );
}

#[tokio::test]
async fn named_contexts_take_the_place_of_images_and_stages() {
    let text = "FROM busybox AS a\nFROM scratch\nCOPY --from=ctx x /\nCOPY --from=a y /\n";
    let attrs = [
        ("context:ctx", "local:dir"),
        ("context:a", "docker-image://other:1"),
    ];

    let result = build(text, &attrs).await;

    let graph = graph(&result);
    assert!(
        graph.contains("[context ctx] load from client <- [] follow=[\"x\"]"),
        "{graph}"
    );
    assert!(
        graph.contains("[context a] docker.io/library/other:1"),
        "{graph}"
    );
    let wrong = [
        ("context:ctx", "ftp:x"),
        ("context:a", "docker-image://other:1"),
    ];
    assert_eq!(
        error(text, &wrong).await,
        "unsupported context source ftp for ctx"
    );
}
