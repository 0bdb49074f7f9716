"""docker-py drives the life of a container, as a second client. Run with DOCKER_HOST set."""

import io
import os
import socket
import sys
import tarfile

import docker


def main() -> None:
    client = docker.from_env(version="auto", timeout=60)
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51", client.version()
    assert client.info()["OSType"] == "linux"
    image = client.images.get("busybox:latest")
    assert image.id.startswith("sha256:")
    assert any("busybox:latest" in i.tags for i in client.images.list())

    output = client.containers.run("busybox", ["echo", "hi"], remove=True)
    assert output == b"hi\n", output
    try:
        client.containers.run("busybox", ["sh", "-c", "echo oops >&2; exit 3"], remove=True)
        raise AssertionError("no error")
    except docker.errors.ContainerError as error:
        assert error.exit_status == 3 and b"oops" in error.stderr, error

    name = f"docker-py-{os.getpid()}"
    container = client.containers.run(
        "busybox",
        ["sh", "-c", "echo out; echo err >&2; trap 'exit 4' TERM; while :; do sleep 0.1; done"],
        name=name,
        detach=True,
        environment={"A": "b"},
        labels={"by": "docker-py"},
        mem_limit="64m",
        ports={"80/tcp": None},
    )
    try:
        container.reload()
        assert container.status == "running", container.status
        assert container.attrs["HostConfig"]["Memory"] == 64 << 20
        assert container.ports["80/tcp"][0]["HostPort"].isdigit(), container.ports
        assert [c.id for c in client.containers.list(filters={"label": "by=docker-py", "name": name})] == [container.id]

        code, output = container.exec_run(["sh", "-c", "echo $A; exit 5"])
        assert (code, output) == (5, b"b\n"), (code, output)
        code, (out, err) = container.exec_run(["sh", "-c", "echo 1; echo 2 >&2"], demux=True)
        assert (code, out, err) == (0, b"1\n", b"2\n"), (code, out, err)

        logs = container.logs(stdout=True, stderr=True, stream=True, follow=True)
        seen = {next(logs), next(logs)}
        assert seen == {b"out\n", b"err\n"}, seen
        logs.close()

        connection = container.attach_socket(params={"stdin": 0, "stdout": 1, "stderr": 1, "stream": 1, "logs": 1})
        getattr(connection, "_sock", connection).shutdown(socket.SHUT_RDWR)
        connection.close()

        assert "PID" in container.top()["Titles"]
        stats = container.stats(stream=False)
        assert stats["memory_stats"]["usage"] > 0 and stats["pids_stats"]["current"] >= 1, stats
        container.pause()
        container.reload()
        assert container.status == "paused"
        container.unpause()
        container.rename(name + "-renamed")
        container.restart(timeout=5)
        container.stop(timeout=10)
        assert container.wait(condition="not-running")["StatusCode"] == 4
    finally:
        container.remove(force=True)
    try:
        client.containers.get(name + "-renamed")
        raise AssertionError("not removed")
    except docker.errors.NotFound as error:
        assert "No such container" in str(error)

    image.tag("docker-py-test", tag="x")
    saved = b"".join(client.images.get("docker-py-test:x").save(named="docker-py-test:x"))
    names = tarfile.open(fileobj=io.BytesIO(saved)).getnames()
    assert "manifest.json" in names, names
    client.images.remove("docker-py-test:x")
    loaded = client.images.load(saved)
    assert loaded[0].id == image.id
    client.images.remove("docker-py-test:x")

    events = client.events(since=0, until=int(__import__("time").time()) + 1, decode=True, filters={"container": container.id})
    actions = [event["Action"] for event in events]
    assert actions[:2] == ["create", "start"] or actions[:3] == ["create", "attach", "start"], actions
    assert actions[-1] == "destroy", actions
    print("docker-py: the life of a container: ok", docker.__version__)


sys.exit(main())
