//! What clients ask of a build besides an image.

use super::{build, error, graph};
use crate::BuildResult;

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
