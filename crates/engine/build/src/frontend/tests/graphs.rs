//! What instructions become: a graph of operations, a configuration and its history.

use super::{build, config, graph, history};

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
