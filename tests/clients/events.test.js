// The handlers of FIXTURE.md 7.2 that concern one socket, over every transport and both parsers.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const msgpack = require("socket.io-msgpack-parser");
const { startFixture, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");

const { MODES, barrier, call, closeAll, collect, collectAll, connect, once } = clients;

const deep = (levels) => {
  let value = "bottom";
  for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { d: value };
  return value;
};

const VALUES = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e21,
  5e-324,
  Number.MAX_SAFE_INTEGER,
  "",
  "plain",
  'quotes " and \\ and / and \b\f\n\r\t',
  "nul \u0000 and line ends \u2028\u2029",
  "てすと Ж Ä ß 👩‍👩‍👧 \uffff",
  [],
  {},
  [[], [[]], {}],
  { "": 0, "a b": { c: [1, { d: null }] }, constructor: 1, toString: "x" },
  { _placeholder: false, num: 3 },
  deep(200),
  "x".repeat(60000),
];

const bytes = (length) => Buffer.from(Array.from({ length }, (_, i) => (i * 7) & 255));
const summary = (b) => ({ bin: b.length, sum: b.reduce((a, x) => (a + x) >>> 0, 0) });
const plain = (value) =>
  Buffer.isBuffer(value) || value instanceof Uint8Array || value instanceof ArrayBuffer
    ? { $: Buffer.from(value).toString("hex") }
    : Array.isArray(value)
      ? value.map(plain)
      : value && typeof value === "object"
        ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
        : value;

const variants = [
  ...MODES.map((mode) => ({ name: mode, mode, env: {} })),
  ...MODES.map((mode) => ({ name: `${mode}, msgpack`, mode, env: { parser: "msgpack" }, parser: msgpack })),
  { name: "websocket, deflate", mode: "websocket", env: { permessage_deflate: 1 } },
];

for (const { name, mode, env, parser } of variants) {
  describe(`events over ${name}`, () => {
    let fixture;
    const options = { mode, ...(parser && { parser }) };
    const open = (nsp = "/") => connect(fixture, nsp, options);

    before(async () => (fixture = await startFixture(env)));
    after(() => fixture.stop());
    afterEach(closeAll);

    test("echo with ack returns every value unchanged", async () => {
      const socket = await open();
      // The JavaScript msgpack parser itself mangles whole numbers above 2^64.
      const values = parser ? VALUES.filter((value) => value !== 1e21) : VALUES;
      for (const value of values) assert.deepEqual(await call(socket, "echo", value), [value]);
      assert.deepEqual(await call(socket, "echo"), []);
      assert.deepEqual(await call(socket, "echo", 1, [2], { c: 3 }, null), [1, [2], { c: 3 }, null]);
      const many = Array.from({ length: 3000 }, (_, i) => i);
      assert.deepEqual(await call(socket, "echo", ...many), many);
    });

    test("echo without ack emits echo-back", async () => {
      const socket = await open();
      const seen = collect(socket, "echo-back");
      socket.emit("echo", "a", { b: [null] });
      socket.emit("echo");
      socket.emit("echo", bytes(5));
      await barrier(socket);
      assert.deepEqual(plain(seen), plain([["a", { b: [null] }], [], [bytes(5)]]));
    });

    test("binary at any depth goes both ways", async () => {
      const socket = await open();
      const cases = [
        [bytes(0)],
        [bytes(1), "x", bytes(300)],
        [{ a: [bytes(3), { b: bytes(0) }], c: null }, 7],
        [[[[[bytes(40000)]]]]],
        Array.from({ length: 10 }, (_, i) => bytes(i)),
      ];
      for (const args of cases) {
        assert.deepEqual(plain(await call(socket, "echo", ...args)), plain(args));
        const sums = JSON.parse(JSON.stringify(args), (k, v) =>
          v && v.type === "Buffer" ? summary(Buffer.from(v.data)) : v,
        );
        assert.deepEqual(await call(socket, "inspect", ...args), [sums]);
      }
      assert.deepEqual(await call(socket, "inspect", 1, "two", [3]), [[1, "two", [3]]]);
      assert.deepEqual(await call(socket, "inspect"), [[]]);
    });

    test("typed arrays and array buffers arrive as binary", async () => {
      const socket = await open();
      const view = new Uint8Array([9, 8, 7, 6]);
      if (!parser) {
        const answer = await call(socket, "inspect", view, view.buffer, view.subarray(1, 3));
        assert.deepEqual(answer[0], [summary([9, 8, 7, 6]), summary([9, 8, 7, 6]), summary([8, 7])]
          .map((s, i) => ({ ...s, bin: [4, 4, 2][i] })));
      } else {
        assert.deepEqual(await call(socket, "inspect", Buffer.from(view)), [[{ bin: 4, sum: 30 }]]);
      }
    });

    test("emit-back emits under any free name", async () => {
      const socket = await open();
      const seen = collectAll(socket);
      socket.emit("emit-back", "hello", 1, "2");
      socket.emit("emit-back", "message");
      socket.emit("emit-back", "with spaces, \"quotes\" and ünïcode", { a: 1 });
      socket.emit("emit-back", "binary", bytes(3));
      socket.emit("emit-back", "error", "just a name");
      await barrier(socket);
      assert.deepEqual(plain(seen), plain([
        ["hello", 1, "2"],
        ["message"],
        ["with spaces, \"quotes\" and ünïcode", { a: 1 }],
        ["binary", bytes(3)],
        ["error", "just a name"],
      ]));
    });

    test("call-me: the answer comes back as call-result", async () => {
      const socket = await open();
      socket.on("question", (...args) => args.pop()(...args.reverse()));
      socket.emit("call-me", 5000, "question", 1, { two: 2 }, "three");
      assert.deepEqual(await once(socket, "call-result"), [{ ok: true, args: ["three", { two: 2 }, 1] }]);
      socket.emit("call-me", 5000, "question");
      assert.deepEqual(await once(socket, "call-result"), [{ ok: true, args: [] }]);
      socket.emit("call-me", 5000, "question", bytes(4), "x");
      const [result] = await once(socket, "call-result");
      assert.deepEqual(plain(result), plain({ ok: true, args: ["x", bytes(4)] }));
    });

    test("call-me: no answer is a timeout, a late one is ignored", async () => {
      const socket = await open();
      const results = collect(socket, "call-result");
      const late = once(socket, "question");
      socket.emit("call-me", 120, "question", 1);
      const [, answer] = await late;
      await once(socket, "call-result");
      answer("too late");
      await barrier(socket);
      assert.deepEqual(results, [[{ ok: false, error: "timeout" }]]);
    });

    test("call-me: several questions are told apart", async () => {
      const socket = await open();
      const answers = [];
      socket.on("q", (i, ack) => answers.push(() => ack(i)));
      const results = collect(socket, "call-result");
      for (let i = 0; i < 20; i++) socket.emit("call-me", 5000, "q", i);
      await barrier(socket);
      assert.equal(answers.length, 20);
      for (const answer of answers.reverse()) answer();
      await waitFor(() => results.length === 20, "20 results");
      const got = results.map(([r]) => r.args[0]);
      assert.deepEqual(got, Array.from({ length: 20 }, (_, i) => 19 - i));
    });

    test("join, leave and rooms answer the sorted rooms", async () => {
      const socket = await open();
      const sorted = (...rooms) => [[socket.id, ...rooms].sort()];
      assert.deepEqual(await call(socket, "rooms"), sorted());
      assert.deepEqual(await call(socket, "join", "one"), sorted("one"));
      assert.deepEqual(await call(socket, "join", ["two", "drei ß", "one"]), sorted("one", "two", "drei ß"));
      assert.deepEqual(await call(socket, "leave", "one"), sorted("two", "drei ß"));
      assert.deepEqual(await call(socket, "leave", "never joined"), sorted("two", "drei ß"));
      assert.deepEqual(await call(socket, "rooms"), sorted("two", "drei ß"));
      assert.deepEqual(await call(socket, "join", ""), sorted("", "two", "drei ß"));
    });

    test("whoami", async () => {
      const socket = await connect(fixture, "/custom", {
        ...options,
        auth: { token: "t", n: [1] },
        query: { lang: "de", "weird key": "a&b=ü/?" },
      });
      const [me] = await call(socket, "whoami");
      assert.equal(me.id, socket.id);
      assert.equal(me.nsp, "/custom");
      assert.deepEqual(me.auth, { token: "t", n: [1] });
      assert.equal(me.query.lang, "de");
      assert.equal(me.query["weird key"], "a&b=ü/?");
      assert.equal(me.query.EIO, "4");
      assert.equal(me.transport, mode === "polling" ? "polling" : "websocket");
      assert.equal(me.protocol, 4);
      assert.equal(me.recovered, false);
      assert.deepEqual(me.rooms, [socket.id]);
    });

    test("whoami without auth, and the shape of an id", async () => {
      const socket = await open();
      const [me] = await call(socket, "whoami");
      assert.deepEqual(me.auth, {});
      assert.match(me.id, /^[A-Za-z0-9_-]{20}$/);
      assert.notEqual(me.id, socket.io.engine.id);
    });

    test("burst arrives whole and in order, and then its ack", async () => {
      const socket = await open();
      for (const [n, size] of [[0, 0], [1, 0], [3000, 40], [30, 30000]]) {
        const seen = collect(socket, "b");
        assert.deepEqual(await call(socket, "burst", n, size), [n]);
        socket.removeAllListeners("b");
        assert.deepEqual(seen.map(([i]) => i), Array.from({ length: n }, (_, i) => i));
        assert.ok(seen.every(([, x]) => x === "x".repeat(size)));
      }
      const seen = collect(socket, "b");
      socket.emit("burst", 5, 1);
      await barrier(socket);
      assert.equal(seen.length, 5);
    });

    test("volatile: a subset in order, and v-end comes last", async () => {
      const socket = await open();
      const seen = collectAll(socket);
      socket.emit("volatile", 500, 100);
      await once(socket, "v-end");
      assert.deepEqual(seen.pop(), ["v-end", 500]);
      const numbers = seen.map(([event, i, x]) => {
        assert.equal(event, "v");
        assert.equal(x.length, 100);
        return i;
      });
      assert.ok(numbers.every((n, i) => n < 500 && (i === 0 || n > numbers[i - 1])), `${numbers}`);
    });

    test("blob of any size", async () => {
      const socket = await open();
      for (const n of [0, 1, 252, 100000, 1000000]) {
        const [blob] = await call(socket, "blob", n);
        const data = Buffer.from(blob);
        assert.equal(data.length, n);
        for (let i = 0; i < n; i += 997) assert.equal(data[i], i % 251);
      }
    });

    test("answers come in the order of the questions", async () => {
      const socket = await open();
      const order = [];
      socket.on("echo-back", (i) => order.push(i));
      socket.on("b", (i) => order.push(`b${i}`));
      for (let i = 0; i < 300; i += 3) {
        socket.emit("echo", i);
        socket.emit("echo", i + 1, (value) => order.push(value));
        socket.emit("echo", { bin: bytes(i) }, () => order.push(i + 2));
      }
      socket.emit("burst", 2, 0, () => order.push("end"));
      await barrier(socket);
      const expected = Array.from({ length: 300 }, (_, i) => i);
      assert.deepEqual(order, [...expected, "b0", "b1", "end"]);
    });

    test("unknown events and wrong shapes are ignored, never fatal", async () => {
      const socket = await open();
      const seen = collectAll(socket);
      const wrong = [
        ["unheard of", 1, { a: 2 }],
        ["unheard of", bytes(3)],
        ["emit-back"],
        ["emit-back", { not: "a name" }],
        ["call-me"],
        ["call-me", "soon", "e"],
        ["call-me", 100],
        ["join"],
        ["join", { room: 1 }],
        ["leave", null],
        ["to"],
        ["to", "room", 1, 2, 3],
        ["in", [], [], 5, {}],
        ["broadcast-call", [], "x", 1, 1],
        ["volatile"],
        ["volatile", "many", "big"],
        ["burst", -1, -1],
        ["burst", 1.5, null],
        ["blob", "big"],
        ["blob", -5],
        ["set-data"],
        ["inspect"],
        ["log", 1, 2, 3],
      ];
      for (const args of wrong) socket.emit(...args);
      assert.deepEqual(await call(socket, "echo", "alive"), ["alive"]);
      assert.deepEqual(seen.filter(([event]) => event !== "b"), []);
      assert.ok(fixture.alive);
    });

    test("two clients do not see each other's answers", async () => {
      const [a, b] = await Promise.all([open(), open()]);
      const seen = collectAll(b);
      a.emit("emit-back", "private", 1);
      a.emit("burst", 3, 3);
      await barrier(a);
      await barrier(b);
      assert.deepEqual(seen, []);
    });
  });
}
