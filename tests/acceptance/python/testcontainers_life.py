"""Testcontainers for Python: a container with a published port, and the reaper, which removes what a test
that died has left. Prints the container. Run with DOCKER_HOST and RYUK_CONTAINER_IMAGE set."""

import os
import sys
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

SCRIPT = "mkdir /www; echo page >/www/index.html; echo ready; exec httpd -f -p 80 -h /www"

container = DockerContainer("busybox").with_command(["sh", "-c", SCRIPT]).with_exposed_ports(80)
container.start()
wait_for_logs(container, "ready", timeout=20)
port = container.get_exposed_port(80)
page = urllib.request.urlopen(f"http://{container.get_container_host_ip()}:{port}/", timeout=10).read()
assert page == b"page\n", page
code, output = container.exec(["cat", "/www/index.html"])
assert (code, output) == (0, b"page\n"), (code, output)

with DockerContainer("busybox").with_command(["sleep", "60"]) as other:
    assert other.get_wrapped_container().status
print("testcontainers: ok", container.get_wrapped_container().id)
sys.stdout.flush()
# Nothing is stopped: that is the reaper's work.
os._exit(0)
