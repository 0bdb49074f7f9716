// Testcontainers for Node: a container with a published port, a network, and the reaper, which removes
// what a test that died has left. Prints the reaper's session. Run with DOCKER_HOST, NODE_PATH and
// RYUK_CONTAINER_IMAGE set.

const assert = require("node:assert");
const { GenericContainer, Network, Wait } = require("testcontainers");

(async () => {
  const network = await new Network().start();
  const script = "mkdir /www; hostname >/www/index.html; echo ready; exec httpd -f -p 80 -h /www";
  const container = await new GenericContainer("busybox")
    .withCommand(["sh", "-c", script])
    .withNetwork(network)
    .withNetworkAliases("web")
    .withExposedPorts(80)
    .withCopyContentToContainer([{ content: "copied", target: "/copied" }])
    .withWaitStrategy(Wait.forAll([Wait.forLogMessage("ready"), Wait.forHttp("/", 80)]))
    .start();
  const page = await fetch(`http://${container.getHost()}:${container.getMappedPort(80)}/`);
  assert.strictEqual(page.status, 200);
  const ran = await container.exec(["sh", "-c", "cat /copied; wget -qO- http://web/"]);
  assert.strictEqual(ran.exitCode, 0, ran.output);
  assert(ran.output.startsWith("copied"), ran.output);

  const stopped = await new GenericContainer("busybox").withCommand(["sleep", "60"]).start();
  await stopped.stop();
  console.log("testcontainers: ok", container.getId(), network.getId());
  // Neither the container nor the network is stopped: that is the reaper's work.
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
