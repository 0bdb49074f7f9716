"""The engine that conformance.py asks, and the objects there that its requests are about."""

import os
import socket
import time

import requests
import urllib3
from requests.adapters import HTTPAdapter

HOLD = ["sh", "-c", "echo out; echo err >&2; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
LONGEST = 1 << 20


class Connection(urllib3.connection.HTTPConnection):
    """A connection to a unix socket."""

    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


class Pool(urllib3.HTTPConnectionPool):
    """Connections to a unix socket."""

    def __init__(self, path: str) -> None:
        # Nothing is sent twice: what an engine says the first time is what is judged.
        super().__init__("engine", retries=False)
        self.ConnectionCls = type("Connection", (Connection,), {"path": path})


class Adapter(HTTPAdapter):
    """Sends requests to a unix socket."""

    def __init__(self, path: str) -> None:
        self.pool = Pool(path)
        # As above: requests has a mind of its own about this.
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        return self.pool

    def request_url(self, request, proxies):
        return request.path_url


class Socket:
    """An engine behind a unix socket."""

    def __init__(self, path: str) -> None:
        self.session = requests.Session()
        self.session.mount("http://engine", Adapter(path))

    def send(self, data: dict) -> requests.Response:
        """The answer, with as much of its body as comes within a second and a mebibyte."""
        data = {**data, "stream": True, "timeout": 20, "allow_redirects": False}
        data.pop("cookies", None)
        response = self.session.request(**data)
        body, end = b"", time.monotonic() + 1
        try:
            connection = getattr(response.raw, "_connection", None)
            if connection is not None and getattr(connection, "sock", None) is not None:
                connection.sock.settimeout(1)
            if response.status_code != 101:
                for part in response.iter_content(65536):
                    body += part
                    if len(body) > LONGEST or time.monotonic() > end:
                        break
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            pass
        response.close()
        response._content, response._content_consumed = body, True
        return response

    def ask(self, method: str, path: str, body=None) -> requests.Response:
        """A request of the world's own."""
        return self.session.request(method, "http://engine/v1.51" + path, json=body, timeout=30)


class World:
    """What exists: two containers, a volume, a network, an exec, an image."""

    def __init__(self, engine: Socket) -> None:
        self.socket = engine
        self.prefix = os.environ.get("CONFORMANCE_PREFIX", "conformance")
        name = lambda what: f"{self.prefix}-{what}"
        self.running, self.exited, self.volume, self.network = map(name, ("running", "exited", "volume", "network"))
        self.exec = ""
        self.existing = {kind: self.names(kind) for kind in ("containers", "volumes", "networks")}

    def names(self, kind: str) -> set[str]:
        answer = self.socket.ask("GET", f"/{kind}" + ("/json?all=1" if kind == "containers" else "")).json()
        if kind == "volumes":
            return {volume["Name"] for volume in answer["Volumes"] or []}
        return {thing["Id"] for thing in answer}

    def heal(self) -> None:
        """Makes again what the requests took away."""
        state = self.state(self.running)
        if state != "running":
            if state is not None:
                self.socket.ask("DELETE", f"/containers/{self.running}?force=1")
            self.socket.ask("POST", "/volumes/create", {"Name": self.volume, "Labels": {"a": "b"}})
            if self.socket.ask("GET", f"/networks/{self.network}").status_code == 404:
                self.socket.ask("POST", "/networks/create", {"Name": self.network, "Labels": {"a": "b"}})
            self.make(self.running, HOLD)
            self.exec = ""
        if self.state(self.exited) != "exited":
            self.socket.ask("DELETE", f"/containers/{self.exited}?force=1")
            self.make(self.exited, ["sh", "-c", "echo out; exit 3"])
            self.socket.ask("POST", f"/containers/{self.exited}/wait")
        if self.socket.ask("GET", f"/exec/{self.exec or 'none'}/json").status_code == 404:
            made = self.socket.ask("POST", f"/containers/{self.running}/exec", {"Cmd": ["true"], "AttachStdout": True})
            self.exec = made.json().get("Id", "")

    def state(self, name: str) -> str | None:
        answer = self.socket.ask("GET", f"/containers/{name}/json")
        return answer.json()["State"]["Status"] if answer.status_code == 200 else None

    def make(self, name: str, command: list[str]) -> None:
        body = {
            "Image": "busybox",
            "Cmd": command,
            "Env": ["A=b"],
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9},
            "HostConfig": {
                "Memory": 64 << 20,
                "NetworkMode": self.network,
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
                "RestartPolicy": {"Name": "no"},
                "LogConfig": {"Type": "json-file", "Config": {}},
                "Mounts": [
                    {"Type": "volume", "Source": self.volume, "Target": "/v"},
                    {"Type": "bind", "Source": "/tmp", "Target": "/t", "ReadOnly": True},
                    {"Type": "tmpfs", "Target": "/m"},
                ],
            },
        }
        made = self.socket.ask("POST", f"/containers/create?name={name}", body)
        assert made.status_code == 201, made.text
        started = self.socket.ask("POST", f"/containers/{name}/start")
        assert started.status_code == 204, started.text

    def known(self, operation_id: str) -> list[tuple[dict, object]]:
        """Requests that succeed: queries and bodies."""
        none = [({}, None)]
        return {
            "ContainerList": [({"all": True, "size": True}, None)],
            "ContainerCreate": [({}, {"Image": "busybox"}), ({}, {"Image": "busybox", "HostConfig": {"Memory": 1}})],
            "ContainerLogs": [({"stdout": True, "stderr": True}, None)],
            "ContainerStats": [({"stream": False}, None)],
            "ContainerResize": [({"h": 10, "w": 10}, None)],
            "ContainerStop": [({"t": 0}, None)],
            "ContainerRestart": [({"t": 0}, None)],
            "ContainerRename": [({"name": f"{self.prefix}-renamed"}, None)],
            "ContainerDelete": [({"force": True}, None)],
            "ContainerArchive": [({"path": "/etc"}, None)],
            "ContainerArchiveInfo": [({"path": "/etc"}, None)],
            "ContainerUpdate": [({}, {"CpuShares": 512})],
            "ContainerExec": [({}, {"Cmd": ["true"]})],
            "ExecStart": [({}, {"Detach": True})],
            "ImageList": [({"all": True, "shared-size": True, "manifests": True, "digests": True}, None)],
            "ImageInspect": [({}, None), ({"manifests": True}, None)],
            "ImageTag": [({"repo": f"{self.prefix}-tag", "tag": "1"}, None)],
            "ImageDelete": [],
            "ImageGetAll": [({"names": "busybox"}, None)],
            "ImageCommit": [({"container": self.running, "repo": f"{self.prefix}-commit"}, None)],
            "ImageSearch": [],
            "SystemEvents": [({"since": "0", "until": str(int(time.time()))}, None)],
            "VolumeCreate": [({}, {"Name": f"{self.prefix}-made", "Driver": "local"})],
            "NetworkCreate": [({}, {"Name": f"{self.prefix}-made"})],
            "NetworkConnect": [({}, {"Container": self.running})],
            "NetworkDisconnect": [({}, {"Container": self.running, "Force": True})],
            "NetworkInspect": [({"verbose": True}, None)],
            "SystemAuth": [],
            "Session": [],
        }.get(operation_id, none)

    def aim(self, operation_id: str, case, pick: int) -> None:
        """Lets a request be about an object that exists (at `pick` below 6), mostly one that fits."""
        path = case.operation.path
        choose = lambda *names: names[pick % len(names)]
        parameters = {"id": "absent", "name": "absent", **(case.path_parameters or {})}
        case.path_parameters = parameters
        if pick >= 6:
            return
        if path.startswith("/containers/{id}"):
            if operation_id == "ContainerWait":
                parameters["id"] = self.exited
            else:
                parameters["id"] = choose(self.running, self.exited, self.running)
        elif path.startswith("/exec/{id}"):
            parameters["id"] = self.exec
        elif path.startswith(("/images/{name}", "/distribution/{name}")):
            parameters["name"] = choose("busybox", "busybox:latest", f"{self.prefix}-absent:1")
            if operation_id == "ImageDelete":
                parameters["name"] = f"{self.prefix}-absent"
        elif path.startswith("/volumes/{name}"):
            parameters["name"] = self.volume
        elif path.startswith("/networks/{id}"):
            parameters["id"] = choose(self.network, "bridge", "host")
        if operation_id == "ContainerCreate" and isinstance(case.body, dict):
            case.body = {**case.body, "Image": "busybox"}
        if operation_id == "ImageCommit" and isinstance(case.query, dict):
            case.query = {**case.query, "container": self.running}
        if path.startswith("/networks/{id}/") and isinstance(case.body, dict):
            case.body = {**case.body, "Container": self.running}

    def clean(self) -> None:
        """Removes what the requests made."""
        for container in self.names("containers") - self.existing["containers"]:
            self.socket.ask("DELETE", f"/containers/{container}?force=1&v=1")
        for volume in self.names("volumes") - self.existing["volumes"]:
            self.socket.ask("DELETE", f"/volumes/{requests.utils.quote(volume, safe='')}?force=1")
        for network in self.names("networks") - self.existing["networks"]:
            self.socket.ask("DELETE", f"/networks/{network}")
        for image in ("tag:1", "commit"):
            self.socket.ask("DELETE", f"/images/{self.prefix}-{image}")
