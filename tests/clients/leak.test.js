// A leak test: clients connect, join, talk and leave over every transport and in every way, in two
// equal rounds. Afterwards every gauge and the descriptors are where they began, and the second
// round did not need more memory than the first.
"use strict";

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");
const { NODE, finish, startFixture, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { call, closeAll, connect, engine, once } = clients;
const { EIO, frame, joined, joinedPolling, polling, session, tcp, text, ws } = raw;

let fixture;
before(async () => {
  fixture = await startFixture({
    ping_interval: 500,
    ping_timeout: 500,
    connect_timeout: 400,
    upgrade_timeout: 300,
    recovery_ms: 200,
    permessage_deflate: 1,
  });
});
after(() => finish(fixture));

const range = (n) => Array.from({ length: n }, (_, i) => i);

/** Joins rooms, sets data, talks, and leaves a question and a broadcast question open. */
async function talk(socket, i) {
  socket.send(`420["join",["room-${i}","room-${i % 7}","all"]]`);
  socket.send(`421["set-data",{"n":${i},"pad":"${"d".repeat(200)}"}]`);
  socket.send('42["call-me",100000,"q"]');
  socket.send(`422["broadcast-call",["room-${i}"],100000,"q",[]]`);
  socket.send('452-3["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  socket.send(Buffer.alloc(100));
  socket.send(Buffer.alloc(100));
  socket.send(`42["in",["room-${i % 7}"],[],"m",["${"x".repeat(2000)}"]]`);
  await socket.find(/^462-3\[/);
}

/** The ways of a raw WebSocket client to leave. */
const LEAVE = [
  (s) => s.destroy(),
  (s) => s.reset(),
  (s) => (s.send("41"), s.write(frame(8, Buffer.from([3, 232])))),
  (s) => s.write(frame(8, "")),
  (s) => s.send("1"),
  (s) => s.send('42["bye",true]'),
  (s) => s.send('42["drop"]'),
  (s) => s.send("4rubbish"),
  (s) => s.write(text("x", { masked: false })),
  (s) => s.send(`42["echo","${"x".repeat(150000)}"]`),
  (s) => (s.autopong = false),
  (s) => (s.send('4510-["echo",{"_placeholder":true,"num":0}]'), s.send(Buffer.alloc(9)), s.destroy()),
  (s) => (s.write(text("4", { fin: false })), s.destroy()),
];

async function websockets(n) {
  await inGroups(n, 50, async (i) => {
    const socket = await joined(fixture, "/", '{"who":"leak"}');
    await talk(socket, i);
    LEAVE[i % LEAVE.length](socket);
    if (i % LEAVE.length === 4) socket.autopong = false;
  });
}

async function pollers(n) {
  await inGroups(n, 25, async (i) => {
    const socket = await joinedPolling(fixture);
    await socket.post(`420["join",["p-${i}","all"]]\x1e42["call-me",100000,"q"]\x1e42["burst",5,100]`);
    await socket.poll();
    if (i % 4 === 0) await socket.post("1");
    if (i % 4 === 1) await socket.post('42["bye",true]').then(() => socket.get());
    if (i % 4 === 2) tcp(fixture, `GET ${socket.target} HTTP/1.1\r\nHost: x\r\n\r\n`).destroy();
    // The fourth kind falls silent and is reaped by the heartbeat.
  });
}

async function refused(n) {
  await inGroups(n, 50, async (i) => {
    if (i % 5 === 0) {
      const socket = await session(fixture);
      socket.send('40/auth,{"token":"wrong"}');
      await socket.find(/^44\/auth/);
      socket.destroy();
    } else if (i % 5 === 1) {
      const socket = await session(fixture);
      socket.send("40/nope,");
    } else if (i % 5 === 2) {
      await session(fixture);
    } else if (i % 5 === 3) {
      await polling(fixture);
    } else {
      const socket = await ws(fixture, "/ws-echo");
      socket.send("x");
      await socket.take();
      socket.destroy();
    }
  });
}

async function upgrades(n) {
  await inGroups(n, 25, async (i) => {
    const socket = await joinedPolling(fixture);
    await socket.post(`42["join","u-${i}"]`);
    const next = await ws(fixture, `${EIO}&transport=websocket&sid=${socket.sid}`);
    next.send("2probe");
    await next.take();
    if (i % 3 === 0) return next.destroy();
    if (i % 3 === 1) return undefined;
    next.send("5");
    next.send('420["echo",1]');
    await next.find(/^430/);
    return next.destroy();
  });
}

async function stock(n) {
  const modes = ["polling", "websocket", "upgrade"];
  await inGroups(n, 15, async (i) => {
    const socket = await connect(fixture, i % 2 ? "/" : "/custom", { mode: modes[i % 3] });
    await call(socket, "join", ["stock", `stock-${i}`]);
    const gone = once(socket, "disconnect");
    if (i % 4 === 0) socket.disconnect();
    else if (i % 4 === 1) socket.emit("bye", true);
    else if (i % 4 === 2) socket.emit("drop");
    else socket.io.engine.close();
    await gone;
  });
  await inGroups(10, 10, async (i) => {
    const socket = await engine(fixture, "/engine.io/", { mode: modes[i % 3] });
    socket.send("x");
    socket.close();
  });
}

async function inGroups(n, size, work) {
  for (let at = 0; at < n; at += size) {
    await Promise.all(range(Math.min(size, n - at)).map((k) => work(at + k)));
  }
}

async function round() {
  await websockets(650);
  await pollers(160);
  await refused(200);
  await upgrades(75);
  await stock(60);
  closeAll();
  // The silent are reaped by the server itself before the rest is closed from here.
  await fixture.settle({ engineSessions: 0, sockets: 0, rooms: 0 }, 10000);
  await raw.closeAll();
}

test("rounds of more than a thousand clients leave nothing behind", async () => {
  const start = await fixture.settle();
  const descriptors = fixture.descriptors();
  const back = () => waitFor(() => fixture.descriptors() <= descriptors + 2, "the descriptors", 8000);
  const memory = [];
  for (let i = 0; i < 3; i++) {
    await round();
    await back();
    memory.push(fixture.rss());
    assert.deepEqual(await fixture.stats(), start);
  }
  // The first round also pays for what is set up once. An allocator may have given its pages back between the two, or do
  // so in a moment.
  const [, before, after] = memory;
  // A garbage-collected heap may grow on; an allocator that frees may not.
  const factor = NODE ? 1.5 : 1.1;
  const slack = 2 << 20;
  const bound = before * factor + slack;
  if (after > bound) await waitFor(() => fixture.rss() <= bound, `less memory; after each round: ${memory}`, 8000);
});
