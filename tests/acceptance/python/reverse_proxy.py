"""What a reverse proxy that configures itself does (Traefik's Docker provider): in API 1.24 it lists containers, reads
labels, health and addresses of each, and does so again after events of which it hears by one request that stays
open. Run with DOCKER_HOST, where the engine's bridges are. It cleans up what it makes."""

import os
import urllib.request

import docker

KIND = "proxy-%d" % os.getpid()
client = docker.APIClient(os.environ["DOCKER_HOST"], version="1.24", timeout=60)
assert client.info()["Swarm"]["LocalNodeState"] == "inactive"
network = client.create_network(KIND)["Id"]


def routes():
    """Host names with the addresses behind them: of running containers that are healthy, or have no check."""
    found = {}
    for listed in client.containers(filters={"label": "proxy.kind=" + KIND}):
        try:
            seen = client.inspect_container(listed["Id"])
        except docker.errors.NotFound:
            continue
        if seen["State"].get("Health", {"Status": "healthy"})["Status"] != "healthy":
            continue
        assert listed["NetworkSettings"]["Networks"][KIND]["NetworkID"] == network
        address = seen["NetworkSettings"]["Networks"][KIND]["IPAddress"]
        labels = seen["Config"]["Labels"]
        port = labels.get("proxy.port") or next(iter(seen["Config"]["ExposedPorts"])).split("/")[0]
        found.setdefault(labels["proxy.host"], set()).add("%s:%s" % (address, port))
    return found


def service(name, host, port, health=None, **labels):
    script = "mkdir /www; echo %s >/www/index.html; exec httpd -f -p %s -h /www" % (name, port)
    made = client.create_container(
        "busybox", ["sh", "-c", script], name="%s-%s" % (KIND, name), ports=[port], healthcheck=health,
        labels={"proxy.kind": KIND, "proxy.host": host, **labels}, stop_signal="KILL",
        host_config=client.create_host_config(network_mode=KIND),
    )
    client.start(made)
    return made["Id"]


def served(address):
    for _ in range(200):
        try:
            return urllib.request.urlopen("http://%s/" % address, timeout=10).read().decode().strip()
        except ConnectionRefusedError:
            pass  # it listens soon
    raise AssertionError(address)


events = client.events(filters={"type": "container", "label": "proxy.kind=" + KIND}, decode=True)


def until(action, container):
    for event in events:
        assert event["Type"] == "container" and event["Actor"]["Attributes"]["proxy.kind"] == KIND, event
        if event["Action"] == action and event["Actor"]["ID"] == container:
            # What programs of 2016 read.
            assert event["id"] == container and event["status"] == action and event["from"] == "busybox", event
            return event


one = service("one", "a.example", 80)
until("start", one)
assert list(routes()) == ["a.example"]
two = service("two", "a.example", 8080, **{"proxy.port": "8080"})
until("start", two)
both = routes()["a.example"]
assert len(both) == 2 and sorted(map(served, both)) == ["one", "two"], both

# Only what is healthy gets visitors.
check = {"test": ["CMD", "test", "-e", "/ready"], "interval": 10 ** 9, "retries": 1}
three = service("three", "b.example", 80, health=check)
until("start", three)
assert "b.example" not in routes()
client.exec_start(client.exec_create(three, ["touch", "/ready"]))
until("health_status: healthy", three)
assert [served(address) for address in routes()["b.example"]] == ["three"]
client.exec_start(client.exec_create(three, ["rm", "/ready"]))
until("health_status: unhealthy", three)
assert "b.example" not in routes()

client.stop(one, timeout=1)
died = until("die", one)
assert died["Actor"]["Attributes"]["exitCode"] == "137" and died["timeNano"] > 0, died
assert [served(address) for address in routes()["a.example"]] == ["two"]
client.restart(two, timeout=1)
until("restart", two)
assert [served(address) for address in routes()["a.example"]] == ["two"]
for container in (one, two, three):
    client.remove_container(container, force=True)
    until("destroy", container)
assert routes() == {}
client.remove_network(network)
print("reverse proxy: ok")
