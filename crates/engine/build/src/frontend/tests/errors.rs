//! What is told of Dockerfiles that are wrong, or not as they should be.

use arca_types::chain;

use super::{Host, MISTAKES, error, host, solve};

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
