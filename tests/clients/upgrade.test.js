// The upgrade from polling to WebSocket while both sides stream numbered messages: nothing is lost,
// doubled or out of order.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, test } = require("node:test");
const { startFixture, unharmed, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { barrier, call, client, closeAll, connect, connected, engine, once } = clients;

let fixture;
before(async () => (fixture = await startFixture()));
after(() => fixture.stop());
afterEach(async () => {
  closeAll();
  await raw.closeAll();
  await unharmed(fixture);
});

const range = (n) => Array.from({ length: n }, (_, i) => i);
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("Socket.IO: 4 rounds of 15 clients that upgrade in the middle of two streams", async () => {
  const publisher = await connect(fixture, "/", { mode: "websocket" });
  let published = 0;
  let publishing = true;
  const stream = (async () => {
    while (publishing) {
      const n = published++;
      publisher.emit("in", ["crowd"], [], "n", n % 7 ? [n] : [n, Buffer.from([n & 255])]);
      if (n % 4 === 0) await barrier(publisher);
    }
  })();

  async function one() {
    const socket = client(fixture, "/", { mode: "upgrade" });
    const heard = [];
    const answers = [];
    const acks = [];
    socket.on("n", (n, bin) => heard.push([n, bin && Buffer.from(bin)[0]]));
    socket.on("echo-back", (i) => answers.push(i));
    await connected(socket);
    await call(socket, "join", "crowd");
    let sent = 0;
    let extra = 40;
    let upgraded = socket.io.engine.transport.name === "websocket";
    socket.io.engine.once("upgrade", () => (upgraded = true));
    while (extra > 0) {
      const i = sent++;
      if (i % 5 === 3) socket.emit("echo", i, Buffer.from("b"));
      else socket.emit("echo", i);
      if (i % 3 === 0) socket.emit("echo", i, (n) => acks.push(n));
      if (i % 2) await turn();
      if (upgraded) extra -= 1;
    }
    await call(socket, "leave", "crowd");
    await barrier(socket);
    assert.deepEqual(answers, range(sent), "the client's stream");
    assert.deepEqual(acks, range(sent).filter((i) => i % 3 === 0), "its acks");
    assert.ok(heard.length > 0);
    const [first] = heard[0];
    assert.deepEqual(heard.map(([n]) => n), range(heard.length).map((i) => first + i), "the room's stream");
    for (const [n, bin] of heard) assert.equal(bin, n % 7 ? undefined : n & 255);
    assert.equal((await call(socket, "whoami"))[0].transport, "websocket");
    socket.disconnect();
  }

  try {
    for (let round = 0; round < 4; round++) await Promise.all(range(15).map(one));
  } finally {
    publishing = false;
    await stream;
  }
});

test("Engine.IO: 3 rounds of 20 clients, text and binary echoed across the upgrade", async () => {
  async function one() {
    const socket = await engine(fixture, "/engine.io/", { mode: undefined });
    let sent = 0;
    let extra = 30;
    let upgraded = socket.transport.name === "websocket";
    socket.once("upgrade", () => (upgraded = true));
    while (extra > 0) {
      const i = sent++;
      socket.send(i % 4 ? `t${i}` : Buffer.from(`b${i}`));
      if (i % 2) await turn();
      if (upgraded) extra -= 1;
    }
    await waitFor(() => socket.seen.length >= sent, "all echoes");
    assert.deepEqual(socket.seen.map(([m]) => m.toString()), range(sent).map((i) => (i % 4 ? `t${i}` : `b${i}`)));
    socket.close();
  }
  for (let round = 0; round < 3; round++) await Promise.all(range(20).map(one));
});

test("a burst started on polling ends on WebSocket, whole and in order", async () => {
  for (let round = 0; round < 10; round++) {
    const socket = client(fixture, "/", { mode: "upgrade" });
    const seen = [];
    socket.on("b", (i) => seen.push(i));
    await connected(socket);
    const done = call(socket, "burst", 2000, 20);
    const more = call(socket, "burst", 2000, 20);
    await Promise.all([done, more, clients.upgraded(socket)]);
    assert.deepEqual(seen, [...range(2000), ...range(2000)]);
    socket.disconnect();
  }
});

test("what is queued when the upgrade packet arrives follows on the WebSocket", async () => {
  const socket = await raw.joinedPolling(fixture);
  const sender = await connect(fixture);
  const next = await raw.ws(fixture, `${raw.EIO}&transport=websocket&sid=${socket.sid}`);
  const { sid } = socket.connect;
  next.send("2probe");
  assert.equal(await next.take(), "3probe");
  for (let i = 0; i < 50; i++) sender.emit("in", [sid], [], "q", [i]);
  await barrier(sender);
  next.send("5");
  const got = [];
  while (got.length < 50) got.push(await next.take());
  assert.deepEqual(got, range(50).map((i) => `42["q",${i}]`));
  next.destroy();
});

test("a client that dies in the middle of its upgrade leaves nothing behind", async () => {
  for (let i = 0; i < 20; i++) {
    const socket = await raw.joinedPolling(fixture);
    const next = await raw.ws(fixture, `${raw.EIO}&transport=websocket&sid=${socket.sid}`);
    if (i % 4 > 0) next.send("2probe");
    if (i % 4 > 1) await next.take();
    if (i % 4 > 2) next.send("5");
    next.destroy();
    if (i % 4 < 3) await socket.post("1");
  }
  await fixture.settle();
});

test("heartbeats go on over the new transport", async () => {
  const quick = await startFixture({ ping_interval: 100, ping_timeout: 400 });
  const sockets = await Promise.all(range(8).map(() => connect(quick, "/", { mode: "upgrade" })));
  const pings = sockets.map(() => 0);
  sockets.forEach((s, i) => s.io.on("ping", () => (pings[i] += 1)));
  await waitFor(() => pings.every((n) => n >= 5), "five pings on every socket");
  assert.ok(sockets.every((s) => s.connected));
  closeAll();
  await raw.closeAll();
  await quick.stop();
});

test("pings and pongs that cross the upgrade do not end it", async () => {
  const quick = await startFixture({ ping_interval: 40, ping_timeout: 400 });
  for (let round = 0; round < 3; round++) {
    const sockets = await Promise.all(range(10).map(() => connect(quick, "/", { mode: "upgrade" })));
    const before = sockets.map(() => 0);
    sockets.forEach((s, i) => s.io.on("ping", () => (before[i] += 1)));
    await waitFor(() => before.every((n) => n >= 12), "pings beyond the timeout", 5000);
    for (const socket of sockets) assert.deepEqual(await call(socket, "echo", 1), [1]);
    for (const socket of sockets) socket.disconnect();
  }
  await quick.settle();
  await quick.stop();
});
