// Uses an engine as a test does that starts what it depends on by testcontainers.
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { mkdtempSync, writeFileSync } from "node:fs";
import { GenericContainer, Network, Wait } from "testcontainers";
import { page, text } from "./check.mjs";

const limit = 60_000;
setInterval(() => {}, 1000); // the library's log streams do not keep the process alive
const network = await new Network().start();

// A web server, whose log, port and page are waited for.
const lines = [];
const web = await new GenericContainer("busybox:latest")
  .withNetwork(network)
  .withNetworkAliases("www")
  .withEnvironment({ A: "1" })
  .withLabels({ x: "y" })
  .withCopyContentToContainer([{ content: "page\n", target: "/w/index.html" }])
  .withTmpFs({ "/scratch": "size=1m" })
  .withCommand(["sh", "-c", "echo up; exec httpd -f -vv -p 80 -h /w"])
  .withExposedPorts(80)
  .withHealthCheck({ test: ["CMD", "test", "-e", "/w/index.html"], interval: 500, timeout: limit, retries: 100 })
  .withLogConsumer((stream) => stream.on("data", (line) => lines.push(String(line))))
  .withWaitStrategy(Wait.forAll([
    Wait.forListeningPorts(), Wait.forHttp("/", 80), Wait.forLogMessage("up"), Wait.forHealthCheck(),
    Wait.forSuccessfulCommand("test -e /w/index.html"),
  ]).withStartupTimeout(limit))
  .start();
assert.equal(await page(`http://${web.getHost()}:${web.getMappedPort(80)}/`), "page\n");
assert(web.getIpAddress(network.getName()), "address");

// Commands and files.
const ran = await web.exec(["sh", "-c", "echo $A; echo e >&2; exit 5"]);
assert.deepEqual([ran.exitCode, ran.stdout, ran.stderr], [5, "1\n", "e\n"]);
const dir = mkdtempSync(`${tmpdir()}/testcontainers-`);
writeFileSync(`${dir}/file`, "content\n");
await web.copyFilesToContainer([{ source: `${dir}/file`, target: "/tmp/new/file" }]);
assert((await text(await web.copyArchiveFromContainer("/tmp/new/file"))).includes("content"), "copied file");
const made = await web.commit({ repo: "made", tag: "1" });
assert(made, "commit");

// Another container uses the first by its alias, and ends.
const other = await new GenericContainer("busybox:latest")
  .withNetwork(network)
  .withCommand(["wget", "-q", "-O", "-", "http://www/"])
  .withWaitStrategy(Wait.forOneShotStartup().withStartupTimeout(limit))
  .start();
assert.equal(await text(await other.logs()), "page\n");
await other.stop();

// An image that is built.
writeFileSync(`${dir}/Dockerfile`, "FROM busybox\nCOPY file /made\nRUN test -e /made\nCMD cat /made; sleep 1000\n");
const image = await GenericContainer.fromDockerfile(dir).build("built:1", { deleteOnExit: false });
const built = await image.withWaitStrategy(Wait.forLogMessage("content").withStartupTimeout(limit)).start();
await built.stop();

await web.restart({ timeout: 0 });
assert.equal(await page(`http://${web.getHost()}:${web.getMappedPort(80)}/`), "page\n");
assert(lines.some((line) => line.includes("up")), "lines of the log");
await web.stop();
await network.stop();
console.log("all of testcontainers");
process.exit(0);
