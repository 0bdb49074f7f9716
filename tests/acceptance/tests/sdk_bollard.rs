//! bollard, a client of the Rust registry, drives the life of a container.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::Engine;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;

#[tokio::test]
async fn the_life_of_a_container() {
    let engine = tokio::task::spawn_blocking(Engine::start).await.unwrap();
    let name = engine.name("bollard");
    let socket = engine.http().socket().to_str().unwrap().to_owned();
    let docker = Docker::connect_with_unix(&socket, 60, API_DEFAULT_VERSION)
        .unwrap()
        .negotiate_version()
        .await
        .unwrap();
    let version = docker.version().await.unwrap();
    assert_eq!(version.api_version.as_deref(), Some("1.51"));
    assert_eq!(docker.ping().await.unwrap(), "OK");

    let body = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(
            [
                "sh",
                "-c",
                "echo out; echo err >&2; trap 'exit 3' TERM; while :; do sleep 0.1; done",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        env: Some(vec!["A=b".to_owned()]),
        host_config: Some(HostConfig {
            memory: Some(64 << 20),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let created = docker.create_container(Some(options), body).await.unwrap();
    docker.start_container(&name, None).await.unwrap();
    let inspected = docker.inspect_container(&name, None).await.unwrap();
    assert_eq!(inspected.id.as_deref(), Some(created.id.as_str()));
    assert_eq!(inspected.state.unwrap().running, Some(true));
    assert_eq!(inspected.host_config.unwrap().memory, Some(64 << 20));
    let filters = [("name".to_owned(), vec![name.clone()])].into();
    let options = ListContainersOptionsBuilder::default()
        .filters(&filters)
        .build();
    assert_eq!(
        docker.list_containers(Some(options)).await.unwrap().len(),
        1
    );

    let options = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", "echo $A; exit 4"]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(&name, options).await.unwrap();
    match docker.start_exec(&exec.id, None).await.unwrap() {
        StartExecResults::Attached { mut output, .. } => {
            let mut text = String::new();
            while let Some(part) = output.next().await {
                text.push_str(&part.unwrap().to_string());
            }
            assert_eq!(text, "b\n");
        }
        StartExecResults::Detached => panic!("the exec is attached"),
    }
    assert_eq!(
        docker.inspect_exec(&exec.id).await.unwrap().exit_code,
        Some(4)
    );

    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(true)
        .build();
    let mut logs = docker.logs(&name, Some(options));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match logs.next().await.unwrap().unwrap() {
            LogOutput::StdOut { message } => {
                seen.push(format!("1 {}", String::from_utf8_lossy(&message)))
            }
            LogOutput::StdErr { message } => {
                seen.push(format!("2 {}", String::from_utf8_lossy(&message)))
            }
            other => panic!("{other:?}"),
        }
    }
    seen.sort();
    assert_eq!(seen, ["1 out\n", "2 err\n"]);
    let mut stats = docker.stats(&name, None);
    let sample = stats.next().await.unwrap().unwrap();
    assert!(sample.memory_stats.unwrap().usage.unwrap() > 0);
    drop(stats);

    let options = StopContainerOptionsBuilder::default().t(10).build();
    docker.stop_container(&name, Some(options)).await.unwrap();
    // bollard makes an error of an exit code that is not zero.
    match docker.wait_container(&name, None).next().await.unwrap() {
        Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => assert_eq!(code, 3),
        other => panic!("{other:?}"),
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(&name, Some(options)).await.unwrap();
    match docker.inspect_container(&name, None).await.unwrap_err() {
        bollard::errors::Error::DockerResponseServerError {
            status_code,
            message,
        } => {
            assert_eq!(
                (status_code, message),
                (404, format!("No such container: {name}"))
            );
        }
        other => panic!("{other:?}"),
    }
    tokio::task::spawn_blocking(move || drop(engine))
        .await
        .unwrap();
}
