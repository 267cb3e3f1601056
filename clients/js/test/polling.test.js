import assert from "node:assert/strict";
import test from "node:test";
import { fakeClock, settle, start } from "./support.js";

/** A server that answers GETs when told and records POSTs. */
class PollingServer {
  requests = [];
  posts = [];
  /** @type {((text: string, status?: number) => void) | null} */ answer = null;

  fetch = (href, { method, body, signal }) => {
    const url = new URL(href);
    this.requests.push(`${method} ${url.searchParams.get("sid") ?? "-"}`);
    const response = (text, status = 200) => ({
      ok: status === 200,
      status,
      text: async () => text,
    });
    if (method === "POST") {
      this.posts.push(body);
      return Promise.resolve(response("ok"));
    }
    return new Promise((resolve, reject) => {
      this.answer = (text, status) => resolve(response(text, status));
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  };

  async open(handshake = {}) {
    const open = {
      sid: "e1",
      upgrades: ["websocket"],
      pingInterval: 25000,
      pingTimeout: 20000,
      maxPayload: 100,
    };
    this.answer(`0${JSON.stringify({ ...open, ...handshake })}`);
    await settle();
    this.answer('40{"sid":"a"}');
    await settle();
  }
}

test("polling carries text and binary both ways", async (t) => {
  fakeClock(t);
  const server = new PollingServer();
  const { socket } = start({ transports: ["polling"], fetch: server.fetch });
  const got = [];
  socket.on("m", (...args) => got.push(args));
  await server.open();
  assert.equal(socket.transport, "polling");
  assert.deepEqual(server.requests.slice(0, 3), ["GET -", "GET e1", "POST e1"]);
  assert.deepEqual(server.posts, ["40"]);

  socket.emit("a", 1);
  socket.emit("b", new Uint8Array([1, 2, 255]));
  await settle();
  assert.equal(server.posts[1], '42["a",1]\x1e451-["b",{"_placeholder":true,"num":0}]\x1ebAQL/');

  server.answer('42["m","x"]\x1e451-["m",{"_placeholder":true,"num":0}]\x1ebAQL/\x1e2\x1e6');
  await settle();
  assert.deepEqual(got[0], ["x"]);
  assert.deepEqual(new Uint8Array(got[1][0]), new Uint8Array([1, 2, 255]));
  assert.equal(server.posts[2], "3", "the ping is answered");
});

test("requests stay below the server's limit, and leaving says so", async (t) => {
  fakeClock(t);
  const server = new PollingServer();
  const { socket } = start({ transports: ["polling"], fetch: server.fetch });
  await server.open();
  for (let i = 0; i < 5; i++) socket.emit("m", "x".repeat(30));
  await settle();
  const bodies = server.posts.slice(1);
  assert.deepEqual(
    bodies.map((body) => body.split("\x1e").length),
    [2, 2, 1],
  );
  assert.ok(bodies.every((body) => body.length <= 100));
  await socket.disconnect();
  assert.deepEqual(server.posts.slice(-2), ["41", "1"], "the goodbye is not cut off by the close");
  assert.equal(socket.state, "disconnected");
});

test("a session that is being closed is not polled again", async (t) => {
  fakeClock(t);
  const server = new PollingServer();
  const { socket } = start({ transports: ["polling"], fetch: server.fetch });
  await server.open();
  const before = server.requests.length;
  const closed = socket.disconnect();
  // The server answers the request that was waiting before it lets the session go.
  server.answer("6");
  await closed;
  await settle();
  assert.deepEqual(server.requests.slice(before), ["POST e1", "POST e1"]);
});

test("a session that the server does not know leads to a new one", async (t) => {
  const clock = fakeClock(t);
  const server = new PollingServer();
  const { told } = start({ transports: ["polling"], fetch: server.fetch });
  await server.open();
  server.answer('{"code":1,"message":"Session ID unknown"}', 400);
  await settle();
  const [{ reason, detail }] = told("disconnect");
  assert.equal(reason, "transport error");
  assert.match(detail, /400.*Session ID unknown/);
  await clock.advance(1_000);
  assert.equal(server.requests.at(-1), "GET -");
});

test("where WebSocket does not open, polling does", async (t) => {
  const clock = fakeClock(t);
  const server = new PollingServer();
  const { network, socket, told } = start({
    transports: ["websocket", "polling"],
    fetch: server.fetch,
  });
  network.last.fail();
  await server.open();
  assert.equal(socket.transport, "polling");
  assert.deepEqual(told("error"), []);
  assert.deepEqual(told("state"), ["connected"], "one attempt, from connecting to connected");
  await clock.advance(1);
});

test("a WebSocket that hangs falls back at the deadline", async (t) => {
  const clock = fakeClock(t);
  const server = new PollingServer();
  const { socket } = start({
    transports: ["websocket", "polling"],
    fetch: server.fetch,
    connectTimeout: 4_000,
  });
  await clock.advance(4_000);
  await server.open();
  assert.equal(socket.transport, "polling");
});

test("without any WebSocket constructor polling serves", async (t) => {
  fakeClock(t);
  const native = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  t.after(() => (globalThis.WebSocket = native));
  const server = new PollingServer();
  const { socket } = start({
    transports: ["websocket", "polling"],
    WebSocket: undefined,
    fetch: server.fetch,
  });
  await server.open();
  assert.equal(socket.transport, "polling");
});

// A server that restarts must not push everybody onto the slower transport.
test("where WebSocket has worked, polling is tried after three failures in a row", async (t) => {
  const clock = fakeClock(t);
  const server = new PollingServer();
  const { network } = start({
    transports: ["websocket", "polling"],
    fetch: server.fetch,
    reconnect: { base: 1, cap: 1 },
  });
  await network.admit();
  network.last.end(1006);
  for (let failures = 1; failures < 3; failures++) {
    await clock.advance(1);
    network.last.fail();
    await settle();
    assert.deepEqual(server.requests, [], `after ${failures}`);
  }
  await clock.advance(1);
  network.last.fail();
  await settle();
  assert.deepEqual(server.requests, ["GET -"]);
});
