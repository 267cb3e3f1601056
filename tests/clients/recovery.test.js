// Connection state recovery (FIXTURE_RECOVERY_MS): id, rooms, data and the missed packets, in
// order and once, or not at all.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { exceptNode, startFixture, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { MODES, barrier, call, closeAll, collect, connect, control, cut, once } = clients;

/** The arguments without the offset, which stock clients hand to the handler as the last one. */
const withoutOffset = (args) => {
  assert.equal(typeof args.at(-1), "string");
  return args.slice(0, -1);
};

const lose = (socket) =>
  socket.io.engine.transport.name === "websocket" ? cut(socket) : socket.io.engine.close();

const gone = (fixture, nsp, id) =>
  waitFor(async () => {
    const ctl = fixture.ctl;
    return (await control(ctl, "log", { nsp })).some((entry) => entry.id === id);
  }, `the departure of ${id}`);

describe("recovery", () => {
  let fixture;
  before(async () => (fixture = await startFixture({ recovery_ms: 30000 })));
  after(() => fixture.stop());
  afterEach(() => (closeAll(), raw.closeAll()));

  async function setting(mode, nsp = "/", options = {}) {
    fixture.ctl = await connect(fixture, "/ctl");
    const publisher = await connect(fixture, nsp, options);
    const socket = await connect(fixture, nsp, { mode, ...options });
    return { publisher, socket };
  }

  for (const mode of MODES) {
    test(`${mode}: id, rooms, data and every missed packet, in order, once`, async () => {
      const { publisher, socket } = await setting(mode);
      const { id } = socket;
      assert.equal(socket.recovered, false);
      await call(socket, "join", ["red", "blue"]);
      await call(socket, "leave", "blue");
      await call(socket, "set-data", { name: "ann", n: [1] });
      const seen = collect(socket, "m");
      await call(publisher, "in", ["red"], [], "m", [0]);
      await barrier(socket);
      lose(socket);
      await gone(fixture, "/", id);
      for (let i = 1; i <= 20; i++) {
        await call(publisher, "in", ["red"], [], "m", i % 5 ? [i] : [i, Buffer.from([i])]);
        await call(publisher, "in", ["blue"], [], "m", ["not for me"]);
        await call(publisher, "in", [], ["red"], "m", ["nor this"]);
      }
      await call(publisher, "to", [], [], "m", [21]);
      await call(publisher, "in", [id], [], "m", [22]);
      socket.connect();
      await once(socket, "connect");
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      await call(publisher, "in", ["red"], [], "m", [23]);
      await barrier(socket);
      const got = seen.map(withoutOffset).map((args) =>
        args.map((a) => (typeof a === "number" ? a : typeof a === "string" ? a : [...Buffer.from(a)])),
      );
      assert.deepEqual(got, Array.from({ length: 24 }, (_, i) => (i && i < 21 && i % 5 === 0 ? [i, [i]] : [i])));
      assert.deepEqual(await call(socket, "rooms"), [[id, "red"].sort()]);
      assert.equal((await call(socket, "whoami"))[0].recovered, true);
      const [me] = await control(fixture.ctl, "fetchSockets", { rooms: [id] });
      assert.deepEqual(me.data, { name: "ann", n: [1] });
    });
  }

  test("again and again: five losses in a row, with traffic, nothing lost or doubled", async () => {
    const { publisher, socket } = await setting("websocket");
    const { id } = socket;
    await call(socket, "join", "red");
    const seen = collect(socket, "m");
    let n = 0;
    const publish = async (count) => {
      for (let i = 0; i < count; i++) await call(publisher, "in", ["red"], [], "m", [n++]);
    };
    await publish(1);
    await barrier(socket);
    for (let round = 0; round < 5; round++) {
      const away = once(socket, "disconnect");
      cut(socket);
      await away;
      await publish(7);
      await fixture.settle({ sockets: 2 });
      const back = once(socket, "connect");
      socket.connect();
      await Promise.all([back, publish(5)]);
      assert.equal(socket.recovered, true, `round ${round}`);
      assert.equal(socket.id, id);
      await barrier(socket);
    }
    assert.deepEqual(seen.map(([i]) => i), Array.from({ length: n }, (_, i) => i));
  });

  test("in /auth: the middleware is skipped for the recovered, data returns", async () => {
    const auth = { token: "secret", user: "ann" };
    const { publisher, socket } = await setting("websocket", "/auth", { auth });
    socket.emit("emit-back", "x");
    await once(socket, "x");
    const { id } = socket;
    cut(socket);
    await gone(fixture, "/auth", id);
    await call(publisher, "in", [], [], "m", [1]);
    const seen = collect(socket, "m");
    socket.auth = { token: "expired" };
    socket.connect();
    await once(socket, "connect");
    assert.equal(socket.recovered, true);
    await barrier(socket);
    assert.deepEqual(seen.map(([i]) => i), [1]);
    const [me] = await control(fixture.ctl, "fetchSockets", { nsp: "/auth", rooms: [id] });
    assert.deepEqual(me.data, { user: "ann" });
  });

  test("a polling client that was dropped by the server recovers", async () => {
    const { publisher, socket } = await setting("polling");
    socket.emit("emit-back", "x");
    await once(socket, "x");
    const { id } = socket;
    const told = once(socket, "disconnect");
    socket.emit("drop");
    await told;
    await call(publisher, "broadcast-call", [], 1, "ignored", []);
    publisher.emit("broadcast", "missed");
    await barrier(publisher);
    const missed = once(socket, "broadcast");
    socket.connect();
    await once(socket, "connect");
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
    assert.equal((await missed)[0], "missed");
  });

  test("leaving on purpose is not recovered, from either side", async () => {
    for (const leave of [(s) => s.disconnect(), (s) => s.emit("bye", false), (s) => s.emit("bye", true)]) {
      const { socket } = await setting("websocket");
      socket.emit("emit-back", "x");
      await once(socket, "x");
      const { id } = socket;
      const told = once(socket, "disconnect");
      leave(socket);
      await told;
      await gone(fixture, "/", id);
      socket.connect();
      await once(socket, "connect");
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
      closeAll();
    }
  });

  test("on the wire: offset on events, none on volatile ones and questions, missed before CONNECT", async () => {
    const socket = await raw.joined(fixture);
    const { sid, pid } = socket.connect;
    assert.match(pid, /^[A-Za-z0-9_-]{20,}$/);
    assert.notEqual(pid, sid);
    socket.send('42["emit-back","e",1]42'.slice(0, -2));
    const event = JSON.parse((await socket.find(/^42\["e"/)).slice(2));
    assert.equal(event.length, 3);
    assert.equal(typeof event[2], "string");
    socket.send('42["volatile",1,1]');
    assert.equal(await socket.find(/^42\["v",/), '42["v",0,"x"]');
    const end = JSON.parse((await socket.find(/^42\["v-end"/)).slice(2));
    assert.equal(end.length, 3);
    const offset = end[2];
    assert.notEqual(offset, event[2]);
    socket.send('42["call-me",5000,"q",1]');
    assert.match(await socket.find(/^42\d*\["q"/), /^42\d+\["q",1\]$/);
    socket.destroy();
    await fixture.settle({ sockets: 0 });

    const publisher = await connect(fixture);
    for (const i of [1, 2]) await call(publisher, "in", [], [], "missed", [i]);
    const back = await raw.session(fixture);
    back.send(`40${JSON.stringify({ pid, offset })}`);
    const packets = [];
    while (!packets.at(-1)?.startsWith("40")) packets.push(await back.take());
    assert.deepEqual(JSON.parse(packets.at(-1).slice(2)), { sid, pid });
    const missed = packets.slice(0, -1).map((p) => JSON.parse(p.slice(2)));
    assert.deepEqual(missed.map(([e, i]) => [e, i]), [["missed", 1], ["missed", 2]]);
    assert.ok(missed.every((m) => typeof m[2] === "string"));
    back.destroy();
  });

  test("an unknown pid, a wrong offset and odd payloads give a new session", async () => {
    const first = await raw.joined(fixture);
    const { sid, pid } = first.connect;
    first.send('42["emit-back","e"]');
    const [, offset] = JSON.parse((await first.find(/^42\["e"/)).slice(2));
    first.destroy();
    await fixture.settle({ sockets: 0 });
    const odd = [
      { pid: "unknown-unknown-unkn", offset },
      { pid, offset: "never-issued" },
      { pid },
      { pid: 7, offset },
      { pid: null, offset: null },
      { pid: [pid], offset: [offset] },
      { pid: "x".repeat(5000), offset: "y".repeat(5000) },
    ];
    for (const payload of odd) {
      const socket = await raw.joined(fixture, "/", JSON.stringify(payload));
      assert.notEqual(socket.connect.sid, sid, JSON.stringify(payload).slice(0, 80));
      assert.notEqual(socket.connect.pid, pid);
      socket.send('421["whoami"]');
      const [me] = JSON.parse((await socket.find(/^431/)).slice(3));
      assert.equal(me.recovered, false);
      assert.deepEqual(me.rooms, [socket.connect.sid]);
      socket.destroy();
    }
  });

  test("a pid belongs to its namespace", async () => {
    const first = await raw.joined(fixture, "/custom");
    const { sid, pid } = first.connect;
    first.send('42/custom,["emit-back","e"]');
    const [, offset] = JSON.parse((await first.find(/^42\/custom,\["e"/)).slice("42/custom,".length));
    first.destroy();
    await fixture.settle({ sockets: 0 });
    const other = await raw.joined(fixture, "/", JSON.stringify({ pid, offset }));
    assert.notEqual(other.connect.sid, sid);
    other.destroy();
  });

  test("one session is never held twice", exceptNode("a pid can be recovered again while in use"), async () => {
    const first = await raw.joined(fixture);
    const { sid, pid } = first.connect;
    first.send('42["emit-back","e"]');
    const [, offset] = JSON.parse((await first.find(/^42\["e"/)).slice(2));
    first.destroy();
    await fixture.settle({ sockets: 0 });
    const payload = JSON.stringify({ pid, offset });
    const one = await raw.joined(fixture, "/", payload);
    assert.equal(one.connect.sid, sid);
    const two = await raw.joined(fixture, "/", payload);
    if (two.connect.sid === sid) {
      await one.ended();
      await fixture.settle({ sockets: 1 });
    }
    for (const socket of [one, two]) socket.destroy();
  });

  test("a broadcast with ack is not replayed, volatile is not replayed", async () => {
    const { publisher, socket } = await setting("websocket");
    socket.emit("emit-back", "x");
    await once(socket, "x");
    const { id } = socket;
    cut(socket);
    await gone(fixture, "/", id);
    await control(fixture.ctl, "broadcast", { event: "vol", args: [1], volatile: true });
    await call(publisher, "broadcast-call", [], 50, "asked", []);
    publisher.emit("broadcast", "kept");
    await barrier(publisher);
    const seen = [];
    socket.onAny((...event) => seen.push(event[0]));
    socket.connect();
    await once(socket, "connect");
    await barrier(socket);
    assert.equal(socket.recovered, true);
    assert.deepEqual(seen, ["broadcast"]);
  });
});

test("after the window nothing is recovered", async () => {
  const fixture = await startFixture({ recovery_ms: 300 });
  fixture.ctl = await connect(fixture, "/ctl");
  const socket = await connect(fixture);
  socket.emit("emit-back", "x");
  await once(socket, "x");
  await call(socket, "join", "red");
  const { id } = socket;
  cut(socket);
  await gone(fixture, "/", id);
  // The window itself has to pass; nothing observable marks its end.
  await new Promise((resolve) => setTimeout(resolve, 500));
  socket.connect();
  await once(socket, "connect");
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
  assert.deepEqual(await call(socket, "rooms"), [[socket.id]]);
  closeAll();
  await raw.closeAll();
  await fixture.stop();
});

test("switched off: no pid, no offset, no recovery", async () => {
  const fixture = await startFixture();
  const socket = await raw.joined(fixture);
  assert.deepEqual(Object.keys(socket.connect), ["sid"]);
  socket.send('42["emit-back","e",1]');
  assert.equal(await socket.find(/^42/), '42["e",1]');
  const other = await raw.joined(fixture, "/", '{"pid":"x","offset":"y"}');
  other.send('420["whoami"]');
  const [me] = JSON.parse((await other.find(/^430/)).slice(3));
  assert.deepEqual([me.recovered, me.auth], [false, { pid: "x", offset: "y" }]);
  for (const s of [socket, other]) s.destroy();
  await fixture.stop();
});
