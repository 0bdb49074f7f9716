// dockerode, the client of most Node tools, drives the life of a container. Run with DOCKER_HOST and
// NODE_PATH set.

const assert = require("node:assert");
const { PassThrough } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const Docker = require("dockerode");

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace("unix://", ""), version: "v1.51" });

async function text(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

// Takes the two streams of a container apart.
async function apart(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on("end", () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

async function life() {
  assert.strictEqual((await docker.version()).ApiVersion, "1.51");
  assert.strictEqual((await docker.info()).OSType, "linux");

  const written = new PassThrough();
  const output = text(written);
  const [result, ran] = await docker.run("busybox", ["sh", "-c", "echo hi; exit 3"], written, { Tty: true });
  written.end();
  assert.strictEqual(result.StatusCode, 3);
  assert.strictEqual((await output).trim(), "hi");
  await ran.remove();

  const name = `dockerode-${process.pid}`;
  const container = await docker.createContainer({
    name,
    Image: "busybox",
    Cmd: ["sh", "-c", "echo out; echo err >&2; trap 'exit 4' TERM; while :; do sleep 0.1; done"],
    Env: ["A=b"],
    Labels: { by: name },
    HostConfig: { Memory: 64 << 20 },
  });
  try {
    const events = await docker.getEvents({ filters: { container: [container.id] } });
    await container.start();
    const started = JSON.parse(await new Promise((resolve) => events.once("data", (data) => resolve(data.toString().split("\n")[0]))));
    assert.strictEqual(started.Action, "start");
    events.destroy();

    const inspected = await container.inspect();
    assert.strictEqual(inspected.State.Running, true);
    assert.strictEqual(inspected.HostConfig.Memory, 64 << 20);
    const listed = await docker.listContainers({ filters: { label: [`by=${name}`] } });
    assert.deepStrictEqual(listed.map((one) => one.Id), [container.id]);

    const exec = await container.exec({ Cmd: ["sh", "-c", "echo $A; cat; exit 5"], AttachStdin: true, AttachStdout: true, AttachStderr: true });
    const session = await exec.start({ hijack: true, stdin: true });
    const said = apart(session);
    session.write("from outside\n");
    session.end();
    assert.deepStrictEqual(await said, ["b\nfrom outside\n", ""]);
    assert.strictEqual((await exec.inspect()).ExitCode, 5);

    const stats = await container.stats({ stream: false });
    assert(stats.memory_stats.usage > 0);
    assert((await container.top()).Titles.includes("PID"));
    await container.pause();
    assert.strictEqual((await container.inspect()).State.Status, "paused");
    await container.unpause();

    const waiting = container.wait();
    await container.stop({ t: 10 });
    assert.strictEqual((await waiting).StatusCode, 4);
    const logs = await container.logs({ stdout: true, stderr: true, follow: true });
    assert.deepStrictEqual(await apart(logs), ["out\n", "err\n"]);

    const archive = await container.getArchive({ path: "/etc/passwd" });
    assert((await text(archive)).includes("root:x:0:0"));
  } finally {
    await container.remove({ force: true });
  }
  await assert.rejects(container.inspect(), { statusCode: 404 });
}

// By the classic builder, and by BuildKit through POST /build.
async function builds() {
  const context = { context: __dirname, src: ["Dockerfile"] };
  for (const version of [undefined, "2"]) {
    const tag = `dockerode-built-${process.pid}:${version ?? "1"}`;
    const stream = await docker.buildImage(context, { t: tag, version, buildargs: { WHO: "dockerode" } });
    const lines = await new Promise((resolve, reject) => docker.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all))));
    const failed = lines.find((line) => line.error);
    assert(!failed, failed?.error);
    const [result, ran] = await docker.run(tag, [], new PassThrough(), { Tty: true });
    assert.strictEqual(result.StatusCode, 0);
    await ran.remove();
    assert.strictEqual((await docker.getImage(tag).inspect()).Config.Labels.who, "dockerode");
    await docker.getImage(tag).remove();
  }
}

async function resources() {
  const name = `dockerode-${process.pid}`;
  const volume = await docker.createVolume({ Name: name, Labels: { a: "b" } });
  assert.strictEqual((await docker.getVolume(name).inspect()).Labels.a, "b");
  await docker.getVolume(volume.name ?? name).remove();
  const network = await docker.createNetwork({ Name: name, Internal: true });
  assert.strictEqual((await network.inspect()).Internal, true);
  await network.remove();

  const image = docker.getImage("busybox");
  await image.tag({ repo: name, tag: "1" });
  const saved = new PassThrough();
  const size = text(saved).then((archive) => archive.length);
  await pipeline(await docker.getImage(`${name}:1`).get(), saved);
  assert((await size) > 100000);
  await docker.getImage(`${name}:1`).remove();
}

(async () => {
  await life();
  await resources();
  await builds();
  console.log("dockerode: ok");
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
