// How connections end, what each side is told, and what ends them: clients, the server, silence,
// deadlines and SIGTERM.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { startFixture, unharmed, waitFor, freePort } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { MODES, barrier, call, client, closeAll, collectAll, connect, connected, cut, engine, once } = clients;

/** The reason that the server logged for `id` in the namespace of `witness`. */
function reasonOf(witness, id, ms = 5000) {
  return waitFor(
    async () => (await call(witness, "log"))[0].find((entry) => entry.id === id)?.reason,
    `a log entry of ${id}`,
    ms,
  );
}

describe("reasons", () => {
  let fixture;
  let witness;
  before(async () => (fixture = await startFixture()));
  after(() => fixture.stop());
  afterEach(async () => {
    closeAll();
    await raw.closeAll();
    await fixture.settle();
  });

  for (const mode of MODES) {
    test(`${mode}: the client leaves the namespace`, async () => {
      witness = await connect(fixture);
      const socket = await connect(fixture, "/", { mode });
      const { id } = socket;
      const told = once(socket, "disconnect");
      socket.disconnect();
      assert.equal((await told)[0], "io client disconnect");
      assert.equal(await reasonOf(witness, id), "client namespace disconnect");
    });

    test(`${mode}: the client closes its connection`, async () => {
      witness = await connect(fixture);
      const socket = await connect(fixture, "/", { mode });
      const { id } = socket;
      socket.io.engine.close();
      assert.equal(await reasonOf(witness, id), "transport close");
    });

    test(`${mode}: bye(false) leaves the namespace, not the connection`, async () => {
      witness = await connect(fixture);
      const socket = await connect(fixture, "/", { mode });
      const other = socket.io.socket("/custom");
      await connected(other);
      const { id } = socket;
      const told = once(socket, "disconnect");
      socket.emit("bye", false);
      assert.equal((await told)[0], "io server disconnect");
      assert.equal(await reasonOf(witness, id), "server namespace disconnect");
      assert.deepEqual(await call(other, "echo", 1), [1]);
      socket.connect();
      await connected(socket);
      assert.notEqual(socket.id, id);
      assert.deepEqual(await call(socket, "rooms"), [[socket.id]]);
    });

    test(`${mode}: bye(true) ends the whole connection`, async () => {
      witness = await connect(fixture);
      const socket = await connect(fixture, "/", { mode });
      const other = socket.io.socket("/custom");
      await connected(other);
      const { id } = socket;
      const told = [once(socket, "disconnect"), once(other, "disconnect")];
      socket.emit("bye", true);
      assert.equal((await told[0])[0], "io server disconnect");
      assert.equal((await told[1])[0], "io server disconnect");
      assert.equal(await reasonOf(witness, id), "server namespace disconnect");
      await fixture.settle({ engineSessions: 1, sockets: 1 });
    });

    test(`${mode}: drop closes without a DISCONNECT packet, and the client comes back`, async () => {
      witness = await connect(fixture);
      const socket = await connect(fixture, "/", { mode, reconnection: true, reconnectionDelay: 20 });
      const { id } = socket;
      const told = once(socket, "disconnect");
      const back = once(socket, "connect");
      socket.emit("drop");
      assert.equal((await told)[0], "transport close");
      await back;
      assert.notEqual(socket.id, id);
      assert.deepEqual(await call(socket, "rooms"), [[socket.id]]);
      assert.match(await reasonOf(witness, id), /^(forced close|forced server close|transport close)$/);
    });

    test(`${mode}: what was sent before bye still arrives`, async () => {
      const socket = await connect(fixture, "/", { mode });
      const seen = collectAll(socket);
      const told = once(socket, "disconnect");
      for (let i = 0; i < 20; i++) socket.emit("emit-back", "before", i);
      socket.emit("bye", true);
      await told;
      assert.deepEqual(seen, Array.from({ length: 20 }, (_, i) => ["before", i]));
    });
  }

  test("a cut TCP connection", async () => {
    witness = await connect(fixture);
    const socket = await connect(fixture);
    const { id } = socket;
    cut(socket);
    assert.match(await reasonOf(witness, id), /^transport (close|error)$/);
  });

  test("a reset TCP connection", async () => {
    witness = await connect(fixture);
    const socket = await raw.joined(fixture);
    socket.reset();
    assert.match(await reasonOf(witness, socket.connect.sid), /^transport (close|error)$/);
  });

  test("a WebSocket close frame", async () => {
    witness = await connect(fixture);
    const socket = await raw.joined(fixture);
    socket.write(raw.frame(8, Buffer.from([3, 232])));
    assert.equal(await reasonOf(witness, socket.connect.sid), "transport close");
    await socket.ended();
    assert.equal(socket.closeCode, 1000);
  });

  test("a packet that cannot be parsed", async () => {
    witness = await connect(fixture);
    const socket = await raw.joined(fixture);
    socket.send("4nonsense");
    assert.match(await reasonOf(witness, socket.connect.sid), /^(parse error|forced close|transport error)$/);
    await socket.ended();
  });

  test("an unknown Engine.IO packet type", async () => {
    witness = await connect(fixture);
    const socket = await raw.joined(fixture);
    socket.send("9");
    assert.match(await reasonOf(witness, socket.connect.sid), /^(parse error|transport error)$/);
    await socket.ended();
  });

  test("rooms and pending questions go with the socket", async () => {
    witness = await connect(fixture);
    const socket = await connect(fixture);
    await call(socket, "join", ["r1", "r2", "r3"]);
    socket.emit("call-me", 60000, "never answered");
    await once(socket, "never answered");
    assert.equal((await fixture.stats()).rooms, 5);
    cut(socket);
    await fixture.settle({ engineSessions: 1, sockets: 1, rooms: 1 });
  });

  test("the log is per namespace and keeps the last 100, newest last", async () => {
    witness = await connect(fixture, "/dyn-100");
    const ids = [];
    for (let i = 0; i < 105; i++) {
      const socket = await raw.joined(fixture, "/dyn-100");
      ids.push(socket.connect.sid);
      socket.send("41/dyn-100,");
      await fixture.settle({ sockets: 1 });
      socket.destroy();
    }
    const [log] = await call(witness, "log");
    assert.deepEqual(log.map(({ id }) => id), ids.slice(5));
    assert.deepEqual(Object.keys(log[0]).sort(), ["id", "reason"]);
  });
});

describe("silence", () => {
  let fixture;
  before(async () => (fixture = await startFixture({ ping_interval: 250, ping_timeout: 200, connect_timeout: 300 })));
  after(() => fixture.stop());
  afterEach(async () => {
    closeAll();
    await raw.closeAll();
    await fixture.settle();
  });

  test("a WebSocket that answers no ping is reaped: ping timeout", async () => {
    const witness = await connect(fixture);
    const socket = await raw.joined(fixture);
    const started = Date.now();
    socket.autopong = false;
    assert.equal(await reasonOf(witness, socket.connect.sid), "ping timeout");
    assert.ok(Date.now() - started >= 250, "not before the ping had its time");
    await socket.ended();
  });

  test("a polling client that stops polling is reaped: ping timeout", async () => {
    const witness = await connect(fixture);
    const socket = await raw.joinedPolling(fixture);
    assert.equal(await reasonOf(witness, socket.connect.sid), "ping timeout");
    const answer = await socket.get();
    assert.deepEqual([answer.status, answer.body], [400, '{"code":1,"message":"Session ID unknown"}']);
  });

  test("other packets do not stand in for a pong", async () => {
    const witness = await connect(fixture);
    const socket = await raw.joined(fixture);
    socket.autopong = false;
    const talk = setInterval(() => socket.send('42["echo",1]'), 50);
    try {
      assert.equal(await reasonOf(witness, socket.connect.sid), "ping timeout");
    } finally {
      clearInterval(talk);
    }
  });

  test("stock clients live through many pings in every mode", async () => {
    const sockets = await Promise.all(MODES.map((mode) => connect(fixture, "/", { mode })));
    const pings = sockets.map((socket) => {
      let n = 0;
      socket.io.on("ping", () => (n += 1));
      return () => n;
    });
    await waitFor(() => pings.every((n) => n() >= 4), "four pings each");
    for (const socket of sockets) assert.deepEqual(await call(socket, "echo", 1), [1]);
  });

  test("a connection that joins no namespace is closed after the connect timeout", async () => {
    const started = Date.now();
    const socket = await raw.session(fixture);
    await socket.ended(2000);
    const took = Date.now() - started;
    assert.ok(took >= 250 && took < 1500, `${took} ms`);
    const polling = await raw.polling(fixture);
    await waitFor(async () => (await polling.get()).status === 400, "the end of the polling session", 3000);
  });

  test("a refused client is closed after the connect timeout, a joined one is not", async () => {
    const refused = await raw.session(fixture);
    refused.send("40/nope,");
    assert.equal(await refused.take(), '44/nope,{"message":"Invalid namespace"}');
    const stays = await connect(fixture, "/greet");
    await refused.ended(2000);
    await waitFor(async () => (await fixture.stats()).engineSessions === 1, "one session");
    assert.ok(stays.connected);
  });
});

describe("SIGTERM and SIGKILL", () => {
  test("SIGTERM with clients connected: exit 0 within 5 s, clients told, port free at once", async () => {
    const port = await freePort();
    const fixture = await startFixture({}, { port });
    const sockets = [];
    for (const mode of MODES) {
      for (let i = 0; i < 5; i++) sockets.push(await connect(fixture, "/", { mode }));
    }
    const extra = [
      await engine(fixture, "/engine.io/"),
      await engine(fixture, "/engine.io/", { mode: "polling" }),
    ];
    const ws = await raw.ws(fixture, "/ws-echo");
    const half = raw.tcp(fixture, "GET /socket.io/?EIO=4&transport=poll");
    await half.opened;
    const silent = await raw.joined(fixture);
    const told = sockets.map((socket) => once(socket, "disconnect", 6000));
    sockets[0].emit("call-me", 60000, "never");
    sockets[1].emit("burst", 1000, 1000);
    const started = Date.now();
    const exit = await fixture.stop();
    const took = Date.now() - started;
    assert.deepEqual(exit, { code: 0, signal: null });
    assert.ok(took < 5000, `${took} ms`);
    for (const [reason] of await Promise.all(told)) {
      assert.match(reason, /^(io server disconnect|transport close|transport error)$/);
    }
    await Promise.all([ws.ended(), half.ended(), silent.ended()]);
    for (const socket of extra) socket.close();
    const next = await startFixture({}, { port });
    assert.deepEqual(await call(await connect(next), "echo", 1), [1]);
    closeAll();
    await next.stop();
  });

  test("SIGTERM without clients is quick", async () => {
    const fixture = await startFixture();
    const started = Date.now();
    assert.deepEqual(await fixture.stop(), { code: 0, signal: null });
    assert.ok(Date.now() - started < 2000);
  });

  test("after SIGKILL the port is usable and clients reconnect to the new process", async () => {
    const port = await freePort();
    const first = await startFixture({}, { port });
    const options = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 };
    const sockets = await Promise.all(MODES.map((mode) => connect(first, "/", { mode, ...options })));
    const gone = sockets.map((s) => once(s, "disconnect"));
    await first.stop("SIGKILL");
    for (const [reason] of await Promise.all(gone)) assert.match(reason, /^transport (close|error)$/);
    const back = sockets.map((s) => once(s, "connect", 9000));
    const second = await startFixture({}, { port });
    await Promise.all(back);
    for (const socket of sockets) assert.deepEqual(await call(socket, "echo", 2), [2]);
    closeAll();
    await unharmed(second);
    await second.stop();
  });
});

describe("reconnection", () => {
  let fixture;
  before(async () => (fixture = await startFixture()));
  after(() => fixture.stop());
  afterEach(() => (closeAll(), raw.closeAll()));

  test("what is emitted while away is sent on return, in order", async () => {
    for (const mode of MODES) {
      const socket = await connect(fixture, "/", { mode, reconnection: true, reconnectionDelay: 20 });
      const seen = collectAll(socket);
      const back = once(socket, "connect");
      socket.io.engine.close();
      for (let i = 0; i < 10; i++) socket.emit("echo", i);
      await back;
      await barrier(socket);
      assert.deepEqual(seen, Array.from({ length: 10 }, (_, i) => ["echo-back", i]));
    }
  });

  test("a client turned away at first gets in when its token is right", async () => {
    const socket = client(fixture, "/auth", { auth: { token: "old" } });
    await once(socket, "connect_error");
    socket.auth = { token: "secret" };
    socket.connect();
    await connected(socket);
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  });
});
