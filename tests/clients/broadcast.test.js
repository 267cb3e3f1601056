// Broadcasts: the operators, the control namespace (FIXTURE.md 8.1 on one node), broadcast with ack.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { startFixture } = require("./lib/fixture");
const clients = require("./lib/clients");

const { MODES, barrier, call, closeAll, collect, collectAll, connect, control, once } = clients;

let fixture;
before(async () => (fixture = await startFixture({ node_name: "solo" })));
after(() => fixture.stop());
afterEach(async () => {
  closeAll();
  await fixture.settle();
});

/** Four sockets: a and b in red, b and c in blue, d in no room; mixed transports. */
async function people(nsp = "/") {
  const modes = ["websocket", "polling", "upgrade", "websocket"];
  const sockets = await Promise.all(modes.map((mode) => connect(fixture, nsp, { mode })));
  const [a, b, c, d] = sockets;
  await call(a, "join", "red");
  await call(b, "join", ["red", "blue"]);
  await call(c, "join", "blue");
  return { a, b, c, d, sockets, who: { a, b, c, d } };
}

async function receivers({ who }, action) {
  const logs = Object.fromEntries(Object.entries(who).map(([name, s]) => [name, collectAll(s)]));
  await action();
  for (const socket of Object.values(who)) await barrier(socket);
  for (const socket of Object.values(who)) socket.offAny();
  for (const log of Object.values(logs)) assert.ok(log.length <= 1, `twice: ${JSON.stringify(log)}`);
  return Object.keys(who).filter((name) => logs[name].length === 1).join("");
}

for (const nsp of ["/", "/custom", "/dyn-9"]) {
  describe(`operators in ${nsp}`, () => {
    test("to and in: union of rooms, exceptions, each socket once, with or without the sender", async () => {
      const all = await people(nsp);
      const { a, b, d } = all;
      const cases = [
        [a, "to", ["red"], [], "b"],
        [a, "in", ["red"], [], "ab"],
        [a, "to", ["red", "blue"], [], "bc"],
        [a, "in", ["red", "blue"], [], "abc"],
        [a, "to", [], [], "bcd"],
        [a, "in", [], [], "abcd"],
        [d, "to", ["red", "blue"], ["blue"], "a"],
        [d, "in", [], ["red"], "cd"],
        [b, "to", [], ["blue"], "ad"],
        [b, "in", [], ["red", "blue"], "d"],
        [a, "in", ["nobody here"], [], ""],
        [a, "to", ["red"], ["nobody here"], "b"],
        [a, "in", ["red", "red"], [], "ab"],
        [a, "in", [d.id], [], "d"],
        [a, "to", [a.id], [], ""],
        [a, "in", [], [b.id, d.id], "ac"],
      ];
      for (const [sender, operator, rooms, except, expected] of cases) {
        const got = await receivers(all, async () =>
          assert.deepEqual(await call(sender, operator, rooms, except, "ev", [1, { x: null }]), ["sent"]),
        );
        assert.equal(got, expected, `${operator} ${JSON.stringify([rooms, except])}`);
      }
    });

    test("arguments arrive unchanged, binary too, in any transport", async () => {
      const { a, sockets } = await people(nsp);
      const logs = sockets.map((s) => collect(s, "ev"));
      await call(a, "in", [], [], "ev", ["ü", [Buffer.from([1, 2]), { n: Buffer.alloc(0) }], null]);
      await call(a, "in", ["red"], [], "ev", []);
      for (const socket of sockets) await barrier(socket);
      for (const [i, log] of logs.entries()) {
        assert.equal(log.length, i < 2 ? 2 : 1);
        const [[first, [bin, { n }], last]] = log;
        assert.deepEqual([first, [...Buffer.from(bin)], Buffer.from(n).length, last], ["ü", [1, 2], 0, null]);
      }
    });

    test("broadcast reaches everybody, the sender included, and only its namespace", async () => {
      const all = await people(nsp);
      const foreign = await connect(fixture, nsp === "/" ? "/custom" : "/");
      const seen = collectAll(foreign);
      assert.equal(await receivers(all, () => all.c.emit("broadcast", { n: 1 })), "abcd");
      await barrier(foreign);
      assert.deepEqual(seen, []);
    });
  });
}

test("rooms of one name in two namespaces are two rooms", async () => {
  const [a, b] = await Promise.all([connect(fixture, "/"), connect(fixture, "/custom")]);
  await Promise.all([call(a, "join", "same"), call(b, "join", "same")]);
  const seen = collectAll(b);
  await call(a, "in", ["same"], [], "ev", []);
  await barrier(b);
  assert.deepEqual(seen, []);
});

test("a left room and a gone member get nothing", async () => {
  const all = await people();
  await call(all.b, "leave", "red");
  assert.equal(await receivers(all, () => call(all.d, "in", ["red"], [], "ev", [])), "a");
  all.a.disconnect();
  await fixture.settle({ sockets: 3 });
  await call(all.d, "in", ["red"], [], "ev", []);
  assert.equal((await fixture.stats()).rooms, 4);
});

test("many publishers: each one's order is kept at every receiver", async () => {
  const { sockets } = await people();
  const logs = sockets.map((s) => collect(s, "n"));
  for (let i = 0; i < 100; i++) {
    for (const [p, socket] of sockets.entries()) {
      socket.emit("in", [], [], "n", i % 10 ? [p, i] : [p, i, Buffer.from([i])]);
    }
  }
  for (let round = 0; round < 2; round++) for (const socket of sockets) await barrier(socket);
  for (const log of logs) {
    for (let p = 0; p < 4; p++) {
      const numbers = log.filter(([from]) => from === p).map(([, i]) => i);
      assert.deepEqual(numbers, Array.from({ length: 100 }, (_, i) => i));
    }
  }
});

describe("broadcast-call", () => {
  test("collects the first argument of every answer", async () => {
    const { a, who } = await people();
    for (const [name, s] of Object.entries(who)) s.on("q", (x, ack) => ack(`${name}${x}`, "second"));
    const [all] = await call(a, "broadcast-call", [], 5000, "q", [7]);
    assert.equal(all.timeout, false);
    assert.deepEqual(all.responses.sort(), ["a7", "b7", "c7", "d7"]);
    const [red] = await call(a, "broadcast-call", ["red"], 5000, "q", [8]);
    assert.deepEqual([red.timeout, red.responses.sort()], [false, ["a8", "b8"]]);
  });

  test("silent receivers: timeout and the answers that came", async () => {
    const { a, b, c, d } = await people();
    a.on("q", (ack) => ack(1));
    b.on("q", (ack) => ack({ two: 2 }));
    c.on("q", () => {});
    let late;
    d.on("q", (ack) => (late = ack));
    const [answer] = await call(a, "broadcast-call", [], 200, "q", []);
    assert.equal(answer.timeout, true);
    assert.deepEqual(new Set(answer.responses.map((r) => JSON.stringify(r))), new Set(["1", '{"two":2}']));
    late("too late");
    assert.deepEqual(await call(d, "echo", "fine"), ["fine"]);
  });

  test("a receiver that leaves while it is asked", async () => {
    const { a, b } = await people();
    a.on("q", (ack) => ack("a"));
    b.on("q", () => b.disconnect());
    const [answer] = await call(a, "broadcast-call", ["red"], 400, "q", []);
    assert.deepEqual(answer, { timeout: true, responses: ["a"] });
  });

  test("binary questions and answers", async () => {
    const { a, who } = await people();
    for (const s of Object.values(who)) s.on("q", (x, ack) => ack(x));
    const [answer] = await call(a, "broadcast-call", ["blue"], 5000, "q", [Buffer.from([5, 6])]);
    assert.equal(answer.timeout, false);
    assert.deepEqual(answer.responses.map((r) => [...Buffer.from(r)]), [[5, 6], [5, 6]]);
  });

  test("nobody there", async () => {
    const { a } = await people();
    const [answer] = await call(a, "broadcast-call", ["empty"], 300, "q", []);
    assert.deepEqual(answer, { timeout: false, responses: [] });
  });
});

describe("the control namespace", () => {
  const withCtl = async () => ({ ctl: await connect(fixture, "/ctl"), ...(await people()) });

  test("name, serverCount, unknown operations", async () => {
    const ctl = await connect(fixture, "/ctl");
    assert.equal(await control(ctl, "name"), "solo");
    assert.equal(await control(ctl, "serverCount"), 1);
    const [answer] = await call(ctl, "ctl", "frobnicate", {});
    assert.equal(answer.ok, false);
    assert.equal(typeof answer.error, "string");
  });

  test("broadcast with a selector", async () => {
    const all = await withCtl();
    const cases = [
      [{}, "abcd"],
      [{ rooms: ["red"] }, "ab"],
      [{ rooms: ["red", "blue"], except: ["blue"] }, "a"],
      [{ except: ["red"] }, "cd"],
      [{ local: true, rooms: ["blue"] }, "bc"],
      [{ rooms: ["red"], volatile: true }, "ab"],
      [{ nsp: "/custom" }, ""],
    ];
    for (const [selector, expected] of cases) {
      const got = await receivers(all, async () =>
        assert.equal(await control(all.ctl, "broadcast", { ...selector, event: "ev", args: [1] }), null),
      );
      // A volatile packet may be dropped for the one who polls, never sent to others.
      if (selector.volatile) assert.ok(["a", "ab"].includes(got), got);
      else assert.equal(got, expected, JSON.stringify(selector));
    }
  });

  test("broadcastAck", async () => {
    const { ctl, who } = await withCtl();
    for (const [name, s] of Object.entries(who)) s.on("q", (ack) => ack(name));
    const red = await control(ctl, "broadcastAck", { rooms: ["red"], event: "q", args: [] });
    assert.deepEqual([red.timeout, red.responses.sort()], [false, ["a", "b"]]);
    const none = await control(ctl, "broadcastAck", { rooms: ["void"], event: "q", args: [], timeoutMs: 300 });
    assert.deepEqual(none, { timeout: false, responses: [] });
    who.c.removeAllListeners("q");
    const silent = await control(ctl, "broadcastAck", { event: "q", args: [], timeoutMs: 200 });
    assert.deepEqual([silent.timeout, silent.responses.sort()], [true, ["a", "b", "d"]]);
  });

  test("socketsJoin and socketsLeave", async () => {
    const { ctl, a, b, d } = await withCtl();
    assert.equal(await control(ctl, "socketsJoin", { rooms: ["red"], join: ["x", "y"] }), null);
    assert.deepEqual(await call(a, "rooms"), [[a.id, "red", "x", "y"].sort()]);
    assert.equal(await control(ctl, "socketsLeave", { rooms: ["x"], except: ["blue"], leave: "x" }), null);
    assert.deepEqual(await call(a, "rooms"), [[a.id, "red", "y"].sort()]);
    assert.deepEqual(await call(b, "rooms"), [[b.id, "red", "blue", "x", "y"].sort()]);
    await control(ctl, "socketsJoin", { rooms: [d.id], join: "only-d" });
    const [found] = await control(ctl, "fetchSockets", { rooms: ["only-d"] });
    assert.equal(found.id, d.id);
  });

  test("fetchSockets shows id, rooms, auth and data", async () => {
    const { ctl, a, b, c, d } = await withCtl();
    const special = await connect(fixture, "/auth", { auth: { token: "secret", user: "ann" } });
    const nobody = await connect(fixture, "/auth", { auth: { token: "secret" } });
    const inAuth = await control(ctl, "fetchSockets", { nsp: "/auth" });
    const byId = Object.fromEntries(inAuth.map((s) => [s.id, s]));
    assert.deepEqual(byId[special.id], {
      id: special.id,
      rooms: [special.id],
      auth: { token: "secret", user: "ann" },
      data: { user: "ann" },
    });
    assert.deepEqual(byId[nobody.id].data, { user: null });
    const value = { deep: [1, null, "ü", { x: true }] };
    assert.deepEqual(await call(a, "set-data", value), []);
    const red = await control(ctl, "fetchSockets", { rooms: ["red"] });
    assert.deepEqual(red.map((s) => s.id).sort(), [a.id, b.id].sort());
    assert.deepEqual(red.find((s) => s.id === a.id).data, value);
    assert.deepEqual(red.find((s) => s.id === b.id).rooms, [b.id, "blue", "red"].sort());
    const everyone = await control(ctl, "fetchSockets");
    assert.deepEqual(everyone.map((s) => s.id).sort(), [a, b, c, d].map((s) => s.id).sort());
    assert.deepEqual(await control(ctl, "fetchSockets", { rooms: ["void"] }), []);
  });

  test("disconnectSockets, from the namespace and with the connection", async () => {
    const { ctl, a, c, d } = await withCtl();
    const ids = [a.id, c.id];
    const second = a.io.socket("/custom");
    await once(second, "connect");
    const gone = once(a, "disconnect");
    assert.equal(await control(ctl, "disconnectSockets", { rooms: ["red"] }), null);
    assert.equal((await gone)[0], "io server disconnect");
    assert.deepEqual(await call(second, "echo", 1), [1]);
    assert.deepEqual(await call(d, "echo", 1), [1]);
    const closed = [once(c, "disconnect"), once(c.io, "close")];
    await control(ctl, "disconnectSockets", { rooms: ["blue"], close: true });
    assert.equal((await closed[0])[0], "io server disconnect");
    await closed[1];
    const log = await control(ctl, "log", { nsp: "/" });
    for (const id of ids) {
      assert.equal(log.find((entry) => entry.id === id).reason, "server namespace disconnect");
    }
  });

  test("server-side events never come back to their own server", async () => {
    const ctl = await connect(fixture, "/ctl");
    assert.equal(await control(ctl, "serverSideEmit", { nsp: "/custom", args: [1, "a"] }), null);
    const answer = await control(ctl, "serverSideEmitAck", { args: [2] });
    assert.deepEqual(answer, { error: false, responses: [] });
    assert.deepEqual(await control(ctl, "serverEvents"), []);
  });
});

for (const mode of MODES) {
  test(`a fan-out over ${mode}: 100 messages to 30 sockets, in order, none lost`, async () => {
    const sockets = await Promise.all(Array.from({ length: 30 }, () => connect(fixture, "/", { mode })));
    await Promise.all(sockets.map((s) => call(s, "join", "crowd")));
    const logs = sockets.map((s) => collect(s, "m"));
    for (let i = 0; i < 100; i++) sockets[0].emit("in", ["crowd"], [], "m", [i, "x".repeat(50)]);
    await barrier(sockets[0]);
    await Promise.all(sockets.map(barrier));
    for (const log of logs) assert.deepEqual(log.map(([i]) => i), Array.from({ length: 100 }, (_, i) => i));
  });
}
