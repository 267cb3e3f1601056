// Starts the conformance server (the executable named by FIXTURE_BIN) as a fresh process and looks
// at it from outside: its two HTTP endpoints and /proc/<pid>.
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const path = require("node:path");

process.setMaxListeners(0);

const ROOT = path.resolve(__dirname, "../../..");
const BIN = process.env.FIXTURE_BIN || path.join(ROOT, "target/release/examples/conformance");

/** True when the server under test is the Node.js reference: some tests skip its known faults. */
const NODE = process.env.FIXTURE_PEER === "node";

/** Options for `test()`: skipped on the Node.js reference, with the fault that it has there. */
function exceptNode(fault) {
  return { skip: NODE ? `Node.js: ${fault}` : false };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls `condition` until it returns something truthy; fails with `what` after `ms`. */
async function waitFor(condition, what, ms = 5000, every = 20) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}; last: ${show(last)}`);
    await sleep(every);
  }
}

function show(value) {
  return value instanceof Error ? value.message : JSON.stringify(value);
}

class Fixture {
  constructor(child, port) {
    this.child = child;
    this.port = port;
    this.pid = child.pid;
    this.url = `http://127.0.0.1:${port}`;
    this.exit = new Promise((resolve) =>
      child.once("exit", (code, signal) => resolve({ code, signal })),
    );
  }

  get alive() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** One GET on a connection of its own; resolves to `{status, headers, body}`. */
  get(target, ms = 5000) {
    return new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: this.port, path: target, agent: false };
      const request = http.get({ ...options, timeout: ms }, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const body = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode, headers: response.headers, body });
        });
      });
      request.on("timeout", () => request.destroy(new Error(`no answer to ${target}`)));
      request.on("error", reject);
    });
  }

  async stats() {
    return JSON.parse((await this.get("/fixture/stats")).body);
  }

  /** Waits until the gauges named in `expected` have these values. */
  async settle(expected = { engineSessions: 0, sockets: 0, rooms: 0 }, ms = 8000) {
    const wanted = JSON.stringify(expected);
    return waitFor(
      async () => {
        const stats = await this.stats();
        const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, stats[key]]));
        if (JSON.stringify(seen) !== wanted) throw new Error(`stats are ${JSON.stringify(stats)}`);
        return stats;
      },
      `stats ${wanted}`,
      ms,
    );
  }

  /** Resident memory in bytes. */
  rss() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  /** Open descriptors. */
  descriptors() {
    return fs.readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Asks the process to end (SIGTERM), or forces it after 6 s; resolves to its exit. */
  async stop(signal = "SIGTERM") {
    if (!this.alive) return this.exit;
    this.child.kill(signal);
    const force = setTimeout(() => this.child.kill("SIGKILL"), 6000);
    const exit = await this.exit;
    clearTimeout(force);
    return exit;
  }
}

/**
 * Starts one fixture. `env` holds FIXTURE_* variables without that prefix, in lower case or upper
 * case (`{ping_interval: 300}`); `port` fixes the port; `limits` is a shell prefix ("ulimit -n 64").
 */
async function startFixture(env = {}, { port, limits } = {}) {
  const chosen = port || (await freePort());
  const variables = { PATH: process.env.PATH, HOME: process.env.HOME, FIXTURE_PORT: String(chosen) };
  for (const [key, value] of Object.entries(env)) {
    variables[`FIXTURE_${key.toUpperCase()}`] = String(value);
  }
  const [command, args] = limits ? ["sh", ["-c", `${limits}; exec "$0"`, BIN]] : [BIN, []];
  const child = spawn(command, args, { env: variables, stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (data) => {
    errors = (errors + data).slice(-4000);
  });
  const failed = new Promise((_, reject) => child.once("error", reject));
  failed.catch(() => {});
  const fixture = new Fixture(child, chosen);
  // A failed test must not keep its process waiting for a server that nobody stops.
  child.unref();
  child.stderr.unref();
  fixture.errors = () => errors;
  process.once("exit", () => fixture.alive && child.kill("SIGKILL"));
  const ready = waitFor(
    async () => {
      if (!fixture.alive) return "dead";
      return (await fixture.get("/fixture/health", 2000)).body === "ok";
    },
    "the fixture's port",
    10000,
  );
  if ((await Promise.race([ready, failed])) === "dead") {
    throw new Error(`${BIN} ended at start: ${errors}`);
  }
  return fixture;
}

/** The server answers, is the same process, and its gauges are back at zero. */
async function unharmed(fixture, expected) {
  if (!fixture.alive) throw new Error(`the server ended: ${fixture.errors()}`);
  const health = await fixture.get("/fixture/health");
  if (health.status !== 200 || health.body !== "ok") throw new Error(`health: ${show(health)}`);
  await fixture.settle(expected);
}

/** The end of a test file: the server is unharmed, and stopped in any case. */
async function finish(fixture) {
  try {
    await unharmed(fixture);
  } finally {
    await fixture.stop();
  }
}

module.exports = { BIN, Fixture, NODE, exceptNode, finish, freePort, sleep, startFixture, unharmed, waitFor };
