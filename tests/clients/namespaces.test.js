// Namespaces of FIXTURE.md 7.1: static, dynamic, refused; middleware; greetings in order.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { startFixture } = require("./lib/fixture");
const { MODES, barrier, call, client, closeAll, collect, connect, connected, once } = require("./lib/clients");

let fixture;
before(async () => (fixture = await startFixture()));
after(() => fixture.stop());
afterEach(closeAll);

async function refusal(nsp, options) {
  const socket = client(fixture, nsp, options);
  const [error] = await once(socket, "connect_error");
  assert.equal(socket.connected, false);
  return { socket, error };
}

for (const mode of MODES) {
  describe(`namespaces over ${mode}`, () => {
    test("/custom and /dyn-<digits> carry the same handlers, each for itself", async () => {
      const names = ["/", "/custom", "/dyn-1", "/dyn-2", "/dyn-007"];
      const sockets = await Promise.all(names.map((nsp) => connect(fixture, nsp, { mode })));
      const seen = sockets.map((socket) => collect(socket, "broadcast"));
      for (const [i, socket] of sockets.entries()) {
        assert.equal((await call(socket, "whoami"))[0].nsp, names[i]);
        socket.emit("broadcast", names[i]);
      }
      for (const socket of sockets) await barrier(socket);
      for (const socket of sockets) await barrier(socket);
      assert.deepEqual(seen, names.map((nsp) => [[nsp]]));
      assert.equal(new Set(sockets.map((s) => s.id)).size, names.length);
    });

    test("an unknown namespace is refused", async () => {
      for (const nsp of ["/nope", "/dyn-", "/dyn-x", "/dyn-1x", "/xdyn-1", "/custom/more", "/CUSTOM"]) {
        const { error } = await refusal(nsp, { mode });
        assert.equal(error.message, "Invalid namespace", nsp);
        assert.equal(error.data, undefined);
      }
    });

    test("/auth refuses with message and data", async () => {
      for (const [auth, token] of [
        [undefined, null],
        [{}, null],
        [{ token: "wrong" }, "wrong"],
        [{ token: ["secret"] }, ["secret"]],
        [{ token: null }, null],
      ]) {
        const { error } = await refusal("/auth", { mode, auth });
        assert.equal(error.message, "unauthorized");
        assert.deepEqual(error.data, { code: 401, token });
      }
    });

    test("/auth accepts the token and then has the handlers", async () => {
      const socket = await connect(fixture, "/auth", { mode, auth: { token: "secret", user: "ann" } });
      const [me] = await call(socket, "whoami");
      assert.deepEqual(me.auth, { token: "secret", user: "ann" });
      assert.equal(me.nsp, "/auth");
      assert.deepEqual(await call(socket, "echo", 1), [1]);
    });

    test("/greet: three hellos in order, at once", async () => {
      const socket = client(fixture, "/greet", { mode });
      const seen = collect(socket, "hello");
      await connected(socket);
      while (seen.length < 3) await once(socket, "hello");
      assert.deepEqual(
        seen.map((args) => args.map((a) => (typeof a === "number" ? a : [...Buffer.from(a)]))),
        [[1], [2, [1, 2, 3]], [3]],
      );
    });

    test("several namespaces share one connection and leave one by one", async () => {
      const root = await connect(fixture, "/", { mode });
      const { io } = root;
      const others = ["/custom", "/dyn-5", "/greet"].map((nsp) => io.socket(nsp));
      await Promise.all(others.map((s) => connected(s)));
      const stats = await fixture.settle({ engineSessions: 1, sockets: 4 });
      assert.equal(stats.rooms, 1);
      const refused = io.socket("/nope");
      assert.equal((await once(refused, "connect_error"))[0].message, "Invalid namespace");
      others[0].disconnect();
      await fixture.settle({ engineSessions: 1, sockets: 3 });
      assert.deepEqual(await call(others[1], "echo", "still"), ["still"]);
      root.disconnect();
      await fixture.settle({ engineSessions: 1, sockets: 2, rooms: 0 });
      assert.deepEqual(await call(others[1], "echo", "here"), ["here"]);
      others[0].connect();
      await connected(others[0]);
      assert.deepEqual(await call(others[0], "rooms"), [[others[0].id]]);
      io._close();
      await fixture.settle();
    });

    test("a refused namespace leaves the connection to the others", async () => {
      const good = await connect(fixture, "/custom", { mode });
      const bad = good.io.socket("/auth", { auth: { token: "bad" } });
      assert.equal((await once(bad, "connect_error"))[0].message, "unauthorized");
      bad.auth = { token: "secret" };
      bad.connect();
      await connected(bad);
      assert.deepEqual(await call(bad, "echo", 1), [1]);
      assert.deepEqual(await call(good, "echo", 2), [2]);
    });
  });
}

test("events sent before the answer to CONNECT are not lost", async () => {
  const socket = client(fixture, "/dyn-77", { mode: "websocket" });
  const answers = [];
  for (let i = 0; i < 5; i++) socket.emit("echo", i, (value) => answers.push(value));
  await connected(socket);
  await barrier(socket);
  assert.deepEqual(answers, [0, 1, 2, 3, 4]);
});

test("a namespace with a query is the namespace", async () => {
  const socket = await connect(fixture, "/custom?a=b", { mode: "websocket" });
  assert.equal((await call(socket, "whoami"))[0].nsp, "/custom");
});

test("static namespaces are counted from the start, dynamic ones on first use", async () => {
  const own = await startFixture();
  try {
    const { namespaces } = await own.stats();
    assert.ok(namespaces >= 5, `${namespaces}`);
    const socket = await connect(own, "/dyn-424242");
    await own.settle({ namespaces: namespaces + 1 });
    socket.disconnect();
  } finally {
    await own.stop();
  }
});
