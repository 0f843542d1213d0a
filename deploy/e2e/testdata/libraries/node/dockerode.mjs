// Uses an engine by dockerode, from the first ping to the last prune.
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import Docker from "dockerode";
import { pack, extract } from "tar-fs";
import { tmpdir } from "node:os";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { page, refused, text } from "./check.mjs";

const docker = new Docker();
const done = (stream) => new Promise((resolve, reject) =>
  docker.modem.followProgress(stream, (error, output) => (error ? reject(error) : resolve(output))));

// The system and images.
assert.equal((await docker.ping()).toString(), "OK");
assert.equal((await docker.version()).ApiVersion, "1.56");
assert.equal((await docker.info()).OSType, "linux");
await done(await docker.pull("busybox:latest"));
await refused(docker.getImage("nosuch").inspect(), 404, "No such image: nosuch");
await docker.getImage("busybox").tag({ repo: "moved", tag: "1" });
const saved = await docker.getImage("moved:1").get();
const archive = await new Response(saved).arrayBuffer();
await docker.getImage("moved:1").remove();
const loaded = await done(await docker.loadImage(new PassThrough().end(Buffer.from(archive))));
assert(JSON.stringify(loaded).includes("Loaded image: moved:1"), JSON.stringify(loaded));

// run attaches and waits.
const output = new PassThrough();
const errors = new PassThrough();
const [result, once] = await docker.run("busybox", ["sh", "-c", "echo out; echo err >&2; exit 3"], [output, errors], { Tty: false });
assert.equal(result.StatusCode, 3);
output.end();
errors.end();
assert.equal(await text(output), "out\n");
assert.equal(await text(errors), "err\n");
await once.remove();

// Input of a connection that is upgraded.
const cat = await docker.createContainer({ Image: "busybox", Cmd: ["cat"], OpenStdin: true, StdinOnce: true });
const pipe = await cat.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
const echoed = new PassThrough();
cat.modem.demuxStream(pipe, echoed, echoed);
pipe.on("end", () => echoed.end());
await cat.start();
pipe.write("through attach\n");
pipe.end();
assert.equal(await text(echoed), "through attach\n");
assert.equal((await cat.wait()).StatusCode, 0);
await cat.remove();

// A web server with a network, a volume and a port.
const network = await docker.createNetwork({ Name: "front", Driver: "bridge", IPAM: { Config: [{ Subnet: "10.9.0.0/24" }] } });
await docker.createVolume({ Name: "data", Labels: { a: "b" } });
const web = await docker.createContainer({
  name: "web",
  Image: "busybox",
  Cmd: ["sh", "-c", "echo up; echo page >/data/index.html; exec httpd -f -p 80 -h /data"],
  Labels: { x: "y" },
  ExposedPorts: { "80/tcp": {} },
  HostConfig: { NetworkMode: "front", Binds: ["data:/data"], PortBindings: { "80/tcp": [{ HostPort: "" }] } },
  NetworkingConfig: { EndpointsConfig: { front: { Aliases: ["www"], IPAMConfig: { IPv4Address: "10.9.0.7" } } } },
});
await refused(docker.createContainer({ name: "web", Image: "busybox" }), 409, "is already in use");
const events = await docker.getEvents({ filters: { container: ["web"] } });
await web.start();
await refused(web.start(), 304, "already started");
let found = await web.inspect();
assert.equal(found.NetworkSettings.Networks.front.IPAddress, "10.9.0.7");
assert.equal(await page(`http://127.0.0.1:${found.NetworkSettings.Ports["80/tcp"][0].HostPort}/`), "page\n");

// exec, files, logs, statistics and processes.
const exec = await web.exec({ Cmd: ["sh", "-c", "cat; exit 9"], AttachStdin: true, AttachStdout: true, AttachStderr: true });
const running = await exec.start({ hijack: true, stdin: true });
const executed = new PassThrough();
docker.modem.demuxStream(running, executed, executed);
running.on("end", () => executed.end());
running.write("text\n");
running.end();
assert.equal(await text(executed), "text\n");
assert.equal((await exec.inspect()).ExitCode, 9);

const dir = mkdtempSync(`${tmpdir()}/dockerode-`);
writeFileSync(`${dir}/file`, "content");
await web.putArchive(pack(dir), { path: "/tmp" });
const back = mkdtempSync(`${tmpdir()}/dockerode-`);
await new Promise((resolve, reject) =>
  web.getArchive({ path: "/tmp/file" }).then((s) => s.pipe(extract(back)).on("finish", resolve).on("error", reject), reject));
assert.equal(readFileSync(`${back}/file`, "utf8"), "content");
assert((await web.infoArchive({ path: "/tmp/file" })).headers["x-docker-container-path-stat"]);

const logs = await web.logs({ follow: true, stdout: true, stderr: true });
const line = await new Promise((resolve) => logs.once("data", resolve));
assert.equal(line.subarray(8).toString(), "up\n");
logs.destroy();
assert.equal(Object.keys((await web.stats({ stream: false })).networks).length, 1);
assert.equal((await web.top()).Processes.length, 1);
assert.equal((await docker.listContainers({ filters: { label: ["x=y"] } }))[0].Id, web.id);

// Networks and builds.
await network.disconnect({ Container: web.id });
await network.connect({ Container: web.id, EndpointConfig: { IPAMConfig: { IPv4Address: "10.9.0.77" } } });
found = await network.inspect();
assert.equal(found.Containers[web.id].IPv4Address, "10.9.0.77/24");
await refused(network.remove(), 403, "has active endpoints");
writeFileSync(`${dir}/Dockerfile`, "FROM busybox\nCOPY file /made\nRUN test -e /made\n");
const built = await done(await docker.buildImage({ context: dir, src: ["Dockerfile", "file"] }, { t: "built:1" }));
assert(JSON.stringify(built).includes("Successfully tagged built:1"), JSON.stringify(built));

// The end.
await web.pause();
await web.unpause();
await web.update({ Memory: 64 << 20, MemorySwap: 128 << 20 });
await web.restart({ t: 0 });
await web.stop({ t: 0 });
await refused(web.stop(), 304, "already stopped");
await web.remove({ v: true });
const missing = new Set(["start", "exec_die", "kill", "die", "pause", "unpause", "update", "restart", "stop", "destroy"]);
let rest = "";
for await (const part of events) {
  rest += part;
  const lines = rest.split("\n");
  rest = lines.pop();
  lines.forEach((l) => missing.delete(JSON.parse(l).Action));
  if (missing.size === 0) break;
}
await docker.pruneContainers();
assert.deepEqual((await docker.pruneNetworks()).NetworksDeleted, ["front"]);
assert.deepEqual((await docker.pruneVolumes({ filters: { all: ["true"] } })).VolumesDeleted, ["data"]);
assert((await docker.pruneImages({ filters: { dangling: { false: true } } })).ImagesDeleted.length > 0);
console.log("all of dockerode");
process.exit(0);
