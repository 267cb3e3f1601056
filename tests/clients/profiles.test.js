// The profiles protocol, client-suite and engine-client (FIXTURE.md 4 to 6) with stock clients.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { startFixture, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { MODES, call, client, closeAll, collect, connect, connected, engine, once } = clients;
const EIO = "/engine.io/?EIO=4";

afterEach(() => (closeAll(), raw.closeAll()));

describe("protocol", () => {
  let fixture;
  before(async () => (fixture = await startFixture({ profile: "protocol" })));
  after(() => fixture.stop());

  test("the announced settings", async () => {
    const polling = await raw.polling(fixture);
    const { sid, ...rest } = polling.open;
    assert.match(sid, /^[A-Za-z0-9_-]{20}$/);
    assert.deepEqual(rest, { upgrades: ["websocket"], pingInterval: 300, pingTimeout: 200, maxPayload: 1000000 });
    assert.deepEqual(Object.keys(polling.open), ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]);
    const ws = await raw.session(fixture);
    assert.deepEqual(ws.open.upgrades, []);
    ws.destroy();
    await polling.post("1");
  });

  for (const nsp of ["/", "/custom"]) {
    for (const mode of MODES) {
      test(`${nsp} over ${mode}: auth, message, message-with-ack`, async () => {
        const socket = client(fixture, nsp, { mode, auth: { token: [1, "x"] } });
        const [auth] = await once(socket, "auth");
        assert.deepEqual(auth, { token: [1, "x"] });
        socket.emit("message", 1, "2", { three: [null] }, Buffer.from([4]));
        const [a, b, c, d] = await once(socket, "message-back");
        assert.deepEqual([a, b, c, [...Buffer.from(d)]], [1, "2", { three: [null] }, [4]]);
        const answer = await call(socket, "message-with-ack", { x: Buffer.from([1, 2]) }, "y");
        assert.deepEqual([...Buffer.from(answer[0].x), answer[1]], [1, 2, "y"]);
      });
    }
  }

  test("without payload auth is {}; other namespaces are refused", async () => {
    const ws = await raw.session(fixture);
    ws.send("40");
    const connect = await ws.take();
    assert.match(connect, /^40\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
    assert.equal(await ws.take(), '42["auth",{}]');
    ws.send("40/other,");
    assert.equal(await ws.take(), '44/other,{"message":"Invalid namespace"}');
    ws.destroy();
  });
});

describe("client-suite", () => {
  let fixture;
  before(async () => (fixture = await startFixture({ profile: "client-suite" })));
  after(() => fixture.stop());

  test("opening a session takes 10 ms or more, later requests do not wait", async () => {
    for (let i = 0; i < 3; i++) {
      const started = process.hrtime.bigint();
      const polling = await raw.polling(fixture);
      assert.ok(process.hrtime.bigint() - started >= 9_500_000n);
      await polling.post("1");
    }
  });

  test("namespaces", async () => {
    for (const nsp of ["/timeout_socket", "/valid", "/asd"]) await connect(fixture, nsp);
    const foo = await connect(fixture, "/foo");
    assert.deepEqual(await call(foo, "getId"), [foo.id]);
    for (const [nsp, message] of [
      ["/no", "Auth failed (custom namespace)"],
      ["/?fail=true", "Auth failed (main namespace)"],
      ["/nowhere", "Invalid namespace"],
    ]) {
      const [error] = await once(client(fixture, nsp), "connect_error");
      assert.equal(error.message, message);
    }
    await connect(fixture, "/?fail=");
  });

  for (const mode of MODES) {
    test(`events over ${mode}`, async () => {
      const socket = await connect(fixture, "/", { mode });
      const reply = async (event, answer, ...args) => {
        const got = once(socket, answer);
        socket.emit(event, ...args);
        return (await got).slice(0, -1);
      };
      assert.deepEqual(await reply("hi", "hi"), []);
      assert.deepEqual(await call(socket, "echo", { a: 1 }), [{ a: 1 }]);
      assert.deepEqual(await call(socket, "getId"), [socket.id]);
      socket.once("ack", (ack) => ack(5, { test: true }));
      assert.deepEqual(await reply("ack", "got it"), []);
      const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
      assert.match((await call(socket, "getAckDate", {}))[0], iso);
      assert.match((await reply("getDate", "takeDate"))[0], iso);
      assert.match((await reply("getDateObj", "takeDateObj"))[0].date, iso);
      const utf8 = collect(socket, "takeUtf8");
      socket.emit("getUtf8");
      await waitFor(() => utf8.length === 5, "five strings");
      assert.deepEqual(
        utf8.map(([s]) => s),
        ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"],
      );
      assert.deepEqual(await reply("false", "false"), [false]);
      for (const [event, answer] of [["doge", "doge"], ["getbin", "takebin"]]) {
        assert.equal(Buffer.from((await reply(event, answer))[0]).toString(), "asdfasdf");
      }
      assert.deepEqual(await reply("buffa", "buffack", Buffer.from("x")), []);
      const mixed = { hello: "lol", message: Buffer.from("m"), goodbye: "gotcha" };
      assert.deepEqual(await reply("jsonbuff", "jsonbuff-ack", mixed), []);
      socket.emit("abuff1", Buffer.from("first"));
      assert.deepEqual(await reply("abuff2", "abuff2-ack", "second"), []);
    });
  }

  test("what does not fit is ignored", async () => {
    const socket = await connect(fixture);
    const seen = clients.collectAll(socket);
    socket.emit("buffa", "text");
    socket.emit("jsonbuff", { hello: "lol", message: "text", goodbye: "gotcha" });
    socket.emit("jsonbuff");
    socket.emit("abuff1", "text");
    socket.emit("abuff2", "x");
    socket.emit("nothing", () => assert.fail("answered"));
    await call(socket, "echo", 1);
    assert.deepEqual(seen, []);
  });

  test("the handshake object", async () => {
    const options = { query: { a: "b&c=d e", "ü": "€" }, auth: { who: "me" }, extraHeaders: { "X-Custom": "Head" } };
    const abc = client(fixture, "/abc", { mode: "polling", ...options });
    const [pushed] = await once(abc, "handshake");
    const socket = await connect(fixture, "/", { mode: "polling", ...options });
    const [asked] = await call(socket, "getHandshake");
    for (const handshake of [pushed, asked]) {
      const { headers, time, address, xdomain, secure, issued, url, query, auth } = handshake;
      assert.equal(headers["x-custom"], "Head");
      assert.equal(headers.host, `127.0.0.1:${fixture.port}`);
      assert.ok(!Number.isNaN(Date.parse(time)) && Math.abs(Date.parse(time) - issued) < 2000);
      assert.match(address, /127\.0\.0\.1/);
      assert.deepEqual([xdomain, secure], [false, false]);
      assert.ok(Math.abs(Date.now() - issued) < 20000);
      assert.match(url, /^\/socket\.io\/\?/);
      assert.equal(query.a, "b&c=d e");
      assert.equal(query["ü"], "€");
      assert.equal(query.transport, "polling");
      assert.deepEqual(auth, { who: "me" });
    }
  });

  test("recovery is on", async () => {
    const socket = await connect(fixture);
    socket.emit("hi");
    await once(socket, "hi");
    const { id } = socket;
    clients.cut(socket);
    await once(socket, "disconnect");
    await fixture.settle({ sockets: 0 });
    socket.connect();
    await connected(socket);
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
  });
});

describe("engine-client", () => {
  let fixture;
  before(async () => (fixture = await startFixture({ profile: "engine-client" })));
  after(() => fixture.stop());

  for (const mode of MODES) {
    test(`hi, binary, utf8 and echo over ${mode}`, async () => {
      const socket = await engine(fixture, "/engine.io/", { mode });
      for (const message of ["give binary", "give utf8", "any other", Buffer.from([9, 8])]) socket.send(message);
      await waitFor(() => socket.seen.length === 5, "all answers");
      const got = socket.seen.map(([m]) => (typeof m === "string" ? m : [...Buffer.from(m)]));
      assert.deepEqual(got, ["hi", [0, 1, 2, 3, 4], "пойду спать всем спокойной ночи", "any other", [9, 8]]);
      socket.close();
    });
  }

  test("deny", async () => {
    const refused = await raw.request(fixture, "GET", `${EIO}&transport=polling&deny=1`);
    assert.deepEqual([refused.status, refused.body], [403, '{"code":4,"message":"Forbidden"}']);
    const upgrade = raw.tcp(fixture, raw.handshake(fixture, `${EIO}&transport=websocket&deny=1`));
    const { status } = await upgrade.answer();
    assert.ok(status >= 400 && status < 500, `${status}`);
  });

  test("sendHeaders answers the headers of the POST", async () => {
    const socket = await engine(fixture, "/engine.io/", { mode: "polling", extraHeaders: { "X-Mine": "Yes" } });
    socket.send("sendHeaders");
    await waitFor(() => socket.seen.length === 2, "the headers");
    const headers = JSON.parse(socket.seen[1][0]);
    assert.equal(headers["x-mine"], "Yes");
    assert.equal(headers.host, `127.0.0.1:${fixture.port}`);
    assert.match(headers["content-type"], /text\/plain/);
    socket.close();
  });

  test("four cookies on the answer that opens a session, none later", async () => {
    const opened = await raw.request(fixture, "GET", `${EIO}&transport=polling`);
    const cookies = opened.headers["set-cookie"];
    assert.deepEqual(cookies.slice(0, 3), [
      "1=1; Max-Age=86400",
      "2=2; Path=/; HttpOnly; Secure; SameSite=Strict",
      "3=3; Max-Age=0",
    ]);
    assert.match(cookies[3], /^4=4; Expires=\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
    assert.ok(Math.abs(Date.parse(cookies[3].slice(12)) - Date.now()) < 10000);
    const { sid, maxPayload, pingInterval } = JSON.parse(opened.body.slice(1).split("\x1e")[0]);
    assert.deepEqual([maxPayload, pingInterval], [100, 500]);
    const later = await raw.request(fixture, "GET", `${EIO}&transport=polling&sid=${sid}`);
    assert.equal(later.headers["set-cookie"], undefined);
  });
});
