"""docker-py 1.10, of 2016, in API 1.24: containers, exec, files, images, networks, volumes. Run with DOCKER_HOST
set. It cleans up what it makes."""

import io
import os
import socket
import tarfile

import docker

client = docker.Client(base_url=os.environ["DOCKER_HOST"], timeout=60)
assert client._version == "1.24", client._version
assert client.ping() == "OK"
version = client.version()
assert version["ApiVersion"] == "1.24" or float(version["ApiVersion"][2:]) >= 24, version
assert client.info()["Driver"]
tag = "of-2016-%d" % os.getpid()


def archive(name, content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


# Images: the classic builder, inspect, history, tag, export and load.
dockerfile = b"FROM busybox\nARG A=x\nLABEL year=2016\nRUN echo built $A >/file\nCMD cat /file\n"
built = list(
    client.build(fileobj=io.BytesIO(archive("Dockerfile", dockerfile)), custom_context=True, tag=tag,
                 buildargs={"A": "y"}, rm=True, decode=True)
)
assert any("Successfully built" in line.get("stream", "") for line in built), built
image = client.inspect_image(tag)
assert image["Config"]["Labels"] == {"year": "2016"}, image["Config"]
assert len(client.history(tag)) >= 3
assert any(tag + ":latest" in (one["RepoTags"] or []) for one in client.images())
assert client.tag(tag, tag, "again")
client.load_image(client.get_image(tag).data)

# A container on a network, with a volume and a published port.
volume = client.create_volume(tag)
assert volume["Name"] == tag and volume["Driver"] == "local", volume
network = client.create_network(tag, driver="bridge")["Id"]
host = client.create_host_config(
    binds=[tag + ":/data:rw"], port_bindings={80: ("127.0.0.1",)}, mem_limit="64m", network_mode=tag,
    restart_policy={"Name": "on-failure", "MaximumRetryCount": 3}, cap_drop=["NET_RAW"], dns=["192.0.2.1"],
)
script = "echo out; echo err >&2; trap 'exit 3' TERM; while :; do sleep 0.1; done"
made = client.create_container(
    tag, command=["sh", "-c", script], name=tag, environment={"A": "b"}, ports=[80], host_config=host,
    networking_config=client.create_networking_config({tag: client.create_endpoint_config(aliases=["me"])}),
)
client.start(made)
stream = client.logs(made, stream=True, follow=True, stdout=True, stderr=False)
assert next(stream) == b"out\n"
seen = client.inspect_container(made)
assert seen["State"]["Running"] and seen["HostConfig"]["Memory"] == 64 << 20, seen["HostConfig"]
assert "me" in seen["NetworkSettings"]["Networks"][tag]["Aliases"]
assert int(client.port(made, 80)[0]["HostPort"]) > 0
assert [one["Id"] for one in client.containers(filters={"name": tag})] == [made["Id"]]
assert client.top(made)["Titles"]
assert client.stats(made, decode=True, stream=False)["memory_stats"]["usage"] > 0

run = client.exec_create(made, ["sh", "-c", "echo $A; echo kept >/data/file; touch /new"])
assert client.exec_start(run) == b"b\n"
assert client.exec_inspect(run)["ExitCode"] == 0
assert client.put_archive(made, "/tmp", archive("put", b"content"))
data, stat = client.get_archive(made, "/tmp/put")
with tarfile.open(fileobj=io.BytesIO(data.read())) as tar:
    assert tar.extractfile("put").read() == b"content"
assert stat["size"] == 7, stat
assert any(change["Path"] == "/new" for change in client.diff(made))

client.pause(made)
assert client.inspect_container(made)["State"]["Paused"]
client.unpause(made)
client.update_container(made, mem_limit="96m")
assert client.inspect_container(made)["HostConfig"]["Memory"] == 96 << 20
client.rename(made, tag + "-renamed")
committed = client.commit(made, repository=tag, tag="committed")["Id"]
client.restart(made, timeout=1)
client.stop(made, timeout=10)
assert client.wait(made) == 3
assert client.logs(made, stdout=False, stderr=True) == b"err\nerr\n"
try:
    client.remove_volume(tag)
    raise AssertionError("a volume in use is not removed")
except docker.errors.APIError as error:
    assert error.response.status_code == 409, error
client.remove_container(made, v=True)
try:
    client.inspect_container(made)
    raise AssertionError("it is removed")
except docker.errors.NotFound:
    pass

# Input by the attached connection.
talk = client.create_container("busybox", command=["cat"], stdin_open=True, detach=False)
connection = client.attach_socket(talk, {"stdin": 1, "stdout": 1, "stream": 1})
client.start(talk)
raw = getattr(connection, "_sock", connection)
raw.sendall(b"said\n")
raw.shutdown(socket.SHUT_WR)
assert client.wait(talk) == 0
assert client.logs(talk) == b"said\n"
client.remove_container(talk)

client.remove_network(network)
client.remove_volume(tag)
for name in (tag + ":committed", tag + ":again", tag):
    client.remove_image(name)
print("docker-py 1.10: ok")
