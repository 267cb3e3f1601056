// The options of FIXTURE.md 1 and the endpoints of 2 and 3, seen by stock clients.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const zlib = require("node:zlib");
const WebSocket = require("ws");
const { exceptNode, startFixture, unharmed, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { MODES, barrier, call, client, closeAll, collect, connect, engine, once } = clients;
const { EIO, request } = raw;

afterEach(() => (closeAll(), raw.closeAll()));

async function withFixture(env, run) {
  const fixture = await startFixture(env);
  try {
    await run(fixture);
  } finally {
    closeAll();
    await fixture.stop();
  }
}

describe("endpoints", () => {
  let fixture;
  before(async () => (fixture = await startFixture()));
  after(() => fixture.stop());

  test("health and stats", async () => {
    const health = await fixture.get("/fixture/health");
    assert.deepEqual([health.status, health.body], [200, "ok"]);
    assert.match(health.headers["content-type"], /^text\/plain/);
    const stats = await fixture.get("/fixture/stats");
    assert.equal(stats.status, 200);
    assert.match(stats.headers["content-type"], /^application\/json/);
    const { engineSessions, sockets, namespaces, rooms } = JSON.parse(stats.body);
    assert.deepEqual([engineSessions, sockets, rooms], [0, 0, 0]);
    assert.ok(namespaces >= 5);
  });

  test("stats count what is there and forget what is gone", async () => {
    const a = await connect(fixture, "/", { mode: "websocket" });
    const b = await connect(fixture, "/custom", { mode: "polling" });
    await call(a, "join", ["x", "y"]);
    await call(b, "join", ["not in /"]);
    await fixture.settle({ engineSessions: 2, sockets: 2, rooms: 3 });
    await call(a, "leave", "x");
    await fixture.settle({ rooms: 2 });
    closeAll();
    await fixture.settle();
  });

  test("anything else is 404, an upgrade request too", async () => {
    for (const path of ["/", "/favicon.ico", "/fixture", "/fixture/other", "/socket.ioX", "/ws"]) {
      assert.equal((await fixture.get(path)).status, 404, path);
      const connection = raw.tcp(fixture, raw.handshake(fixture, path));
      assert.equal((await connection.answer()).status, 404, path);
      await connection.ended();
    }
  });

  test("no client bundle", async () => {
    for (const file of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js.map"]) {
      const { status } = await fixture.get(`/socket.io/${file}`);
      assert.ok(status === 400 || status === 404, `${file}: ${status}`);
    }
  });
});

describe("/ws-echo", () => {
  let fixture;
  before(async () => (fixture = await startFixture()));
  after(() => fixture.stop());

  async function echo(options = {}) {
    const ws = new WebSocket(`ws://127.0.0.1:${fixture.port}/ws-echo`, { maxPayload: 80 << 20, ...options });
    ws.seen = [];
    ws.on("message", (data, isBinary) => ws.seen.push(isBinary ? data : data.toString()));
    await once(ws, "open");
    return ws;
  }

  test("text and binary of every size, in order", async () => {
    const ws = await echo({ perMessageDeflate: false });
    const sizes = [0, 1, 125, 126, 127, 65535, 65536, 65537, 300000];
    for (const size of sizes) {
      ws.send("ü".repeat(size));
      ws.send(Buffer.alloc(size, size));
    }
    await waitFor(() => ws.seen.length === sizes.length * 2, "all echoes");
    for (const [i, size] of sizes.entries()) {
      assert.equal(ws.seen[2 * i], "ü".repeat(size));
      assert.deepEqual(ws.seen[2 * i + 1], Buffer.alloc(size, size));
    }
    const closed = once(ws, "close");
    ws.close(1000, "bye");
    assert.equal((await closed)[0], 1000);
  });

  test("fragments come back as one message, pings are answered between them", async () => {
    const ws = await echo({ perMessageDeflate: false });
    const pong = once(ws, "pong");
    ws.send("one ", { fin: false });
    ws.ping("between");
    ws.send("two ", { fin: false });
    ws.send("three", { fin: true });
    assert.equal((await pong)[0].toString(), "between");
    await waitFor(() => ws.seen.length, "the echo");
    assert.deepEqual(ws.seen, ["one two three"]);
    ws.terminate();
  });

  test("a message of 64 MiB is echoed, one byte more is 1009", async () => {
    const ws = await echo({ perMessageDeflate: false });
    const big = Buffer.alloc(64 << 20, 7);
    ws.send(big);
    await waitFor(() => ws.seen.length, "64 MiB", 20000);
    assert.ok(ws.seen[0].equals(big));
    const closed = once(ws, "close");
    ws.on("error", () => {});
    ws.send(Buffer.alloc((64 << 20) + 1), () => {});
    assert.ok([1009, 1006].includes((await closed)[0]));
    await unharmed(fixture);
  });

  for (const offer of [
    {},
    { serverNoContextTakeover: true },
    { clientNoContextTakeover: true },
    { serverNoContextTakeover: true, clientNoContextTakeover: true },
    { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
    { serverMaxWindowBits: 12, clientMaxWindowBits: 15 },
    { clientMaxWindowBits: true, serverMaxWindowBits: 15 },
  ]) {
    test(`permessage-deflate with ${JSON.stringify(offer)}`, async () => {
      const ws = await echo({ perMessageDeflate: { threshold: 0, ...offer } });
      assert.match(ws.extensions, /^permessage-deflate/);
      if (offer.serverMaxWindowBits && offer.serverMaxWindowBits < 15) {
        assert.match(ws._extensions["permessage-deflate"] && ws.extensions, /permessage-deflate/);
      }
      const messages = ["", "a", "abc".repeat(50000), Buffer.alloc(70000, 3), "ü€😀".repeat(3000)];
      for (let round = 0; round < 2; round++) for (const message of messages) ws.send(message);
      await waitFor(() => ws.seen.length === messages.length * 2, "all echoes");
      assert.deepEqual(ws.seen, [...messages, ...messages]);
      ws.terminate();
    });
  }

  for (const [offer, accepted] of [
    ["permessage-deflate; server_max_window_bits=8", null],
    ["permessage-deflate; server_max_window_bits=8, permessage-deflate", true],
    ["permessage-deflate; unknown_parameter, permessage-deflate", true],
    ["permessage-deflate; server_no_context_takeover; server_no_context_takeover, permessage-deflate", true],
    ["permessage-deflate; client_max_window_bits=16", false],
    ["permessage-deflate; server_max_window_bits", false],
    ["x-webkit-deflate-frame, bogus", false],
  ]) {
    const quirk = /bits=8|unknown|context_takeover; server|bits=16|bits$/.test(offer)
      ? exceptNode("the ws package refuses the request, or accepts window 8")
      : {};
    test(`offer "${offer}"`, quirk, async () => {
      const ws = await raw.ws(fixture, "/ws-echo", { headers: { "Sec-WebSocket-Extensions": offer } });
      const line = /sec-websocket-extensions: (.*)/i.exec(ws.head);
      if (accepted === true) assert.match(line[1], /^permessage-deflate/);
      if (accepted === false) assert.equal(line, null);
      if (accepted === null && line) assert.doesNotMatch(line[1], /server_max_window_bits=8/);
      ws.send("plain");
      assert.equal(await ws.take(), "plain");
      ws.destroy();
    });
  }
});

describe("/engine.io/: plain echo", () => {
  let fixture;
  before(async () => (fixture = await startFixture()));
  after(() => fixture.stop());

  for (const mode of MODES) {
    test(`over ${mode}`, async () => {
      const socket = await engine(fixture, "/engine.io/", { mode });
      const messages = ["", "hello", "ünï\u2028👋", Buffer.from([0, 255, 4]), Buffer.alloc(0), "b64?", "x".repeat(70000)];
      for (const message of messages) socket.send(message);
      await waitFor(() => socket.seen.length === messages.length, "all echoes");
      // The client hands an empty text out as undefined.
      const got = socket.seen.map(([m = ""]) => (typeof m === "string" ? m : Buffer.from(m)));
      assert.deepEqual(got, messages);
      assert.equal((await fixture.stats()).engineSessions, 0, "not a session of /socket.io/");
      socket.close();
    });
  }
});

describe("permessage-deflate on Engine.IO", () => {
  for (const on of [0, 1]) {
    test(`${on ? "negotiated" : "declined"} with FIXTURE_PERMESSAGE_DEFLATE=${on}`, () =>
      withFixture({ permessage_deflate: on }, async (fixture) => {
        const socket = await connect(fixture, "/", { mode: "websocket", perMessageDeflate: { threshold: 0 } });
        const { ws } = socket.io.engine.transport;
        assert.equal(/permessage-deflate/.test(ws.extensions), on === 1);
        for (const value of ["a", "text ".repeat(15000), [Buffer.alloc(50000, 1), "x"], { d: "y".repeat(2000) }]) {
          const [answer] = await call(socket, "inspect", value);
          const bin = Array.isArray(value) ? [[{ bin: 50000, sum: 50000 }, "x"]] : [value];
          assert.deepEqual(answer, bin);
        }
        const plain = await connect(fixture, "/", { mode: "websocket", perMessageDeflate: false });
        assert.doesNotMatch(plain.io.engine.transport.ws.extensions, /deflate/);
        const seen = [collect(socket, "broadcast"), collect(plain, "broadcast")];
        plain.emit("broadcast", "z".repeat(20000));
        await barrier(plain);
        await barrier(socket);
        for (const log of seen) assert.deepEqual(log, [["z".repeat(20000)]]);
      }));
  }

  test("only messages of 1024 bytes or more are compressed", () =>
    withFixture({ permessage_deflate: 1 }, async (fixture) => {
      const headers = { "Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover" };
      const socket = await raw.joined(fixture, "/", "", { headers });
      const before = socket.frames.length;
      socket.send(`420["echo","${"s".repeat(900)}"]`);
      assert.equal((await socket.find(/^430/)).length, 907);
      socket.send(`421["echo","${"l".repeat(5000)}"]`);
      assert.equal((await socket.find(/^431/)).length, 5007);
      const [small, large] = socket.frames.slice(before);
      assert.equal(small.rsv, 0);
      assert.equal(large.rsv, 4);
      assert.ok(large.length < 200);
      socket.destroy();
    }));
});

describe("HTTP compression of polling answers", () => {
  async function burst(fixture, size, encoding) {
    const socket = await raw.joinedPolling(fixture);
    await socket.post(`42["emit-back","e","${"c".repeat(size)}"]`);
    const headers = encoding ? { "accept-encoding": encoding } : {};
    const answer = await socket.get({ headers });
    await socket.post("1");
    return answer;
  }

  test("on: 1024 bytes or more, when the client accepts it", () =>
    withFixture({}, async (fixture) => {
      for (const [encoding, inflate] of [["gzip", zlib.gunzipSync], ["deflate", zlib.inflateSync], ["gzip, deflate, br", zlib.gunzipSync]]) {
        const large = await burst(fixture, 5000, encoding);
        const used = large.headers["content-encoding"];
        assert.ok(["gzip", "deflate"].includes(used), `${encoding}: ${used}`);
        assert.ok(large.raw.length < 1000);
        const unpack = used === "gzip" ? zlib.gunzipSync : inflate === zlib.gunzipSync ? zlib.inflateSync : inflate;
        assert.equal(unpack(large.raw).toString(), `42["emit-back","e","${"c".repeat(5000)}"]`.replace('"emit-back",', ""));
        assert.match(large.headers["content-type"], /^text\/plain; charset=UTF-8$/i);
      }
      assert.equal((await burst(fixture, 900, "gzip")).headers["content-encoding"], undefined);
      assert.equal((await burst(fixture, 5000)).headers["content-encoding"], undefined);
      assert.equal((await burst(fixture, 5000, "br;q=1, identity")).headers["content-encoding"], undefined);
    }));

  test("off", () =>
    withFixture({ http_compression: 0 }, async (fixture) => {
      const answer = await burst(fixture, 5000, "gzip");
      assert.equal(answer.headers["content-encoding"], undefined);
      assert.equal(answer.body.length, 5010);
    }));
});

describe("CORS", () => {
  const origin = "https://app.example";

  test("off by default", () =>
    withFixture({}, async (fixture) => {
      const answer = await request(fixture, "GET", `${EIO}&transport=polling`, { headers: { origin } });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["access-control-allow-origin"], undefined);
    }));

  test("exactly one origin, with credentials, preflight included", () =>
    withFixture({ cors_origin: origin }, async (fixture) => {
      const opened = await request(fixture, "GET", `${EIO}&transport=polling`, { headers: { origin } });
      assert.equal(opened.status, 200);
      const { sid } = JSON.parse(opened.body.slice(1));
      const target = `${EIO}&transport=polling&sid=${sid}`;
      const posted = await request(fixture, "POST", target, { headers: { origin }, body: "40" });
      assert.deepEqual([posted.status, posted.body], [200, "ok"]);
      const refused = await request(fixture, "GET", `${EIO}&transport=nope`, { headers: { origin } });
      assert.equal(refused.status, 400);
      for (const { headers } of [opened, posted, refused]) {
        assert.equal(headers["access-control-allow-origin"], origin);
        assert.equal(headers["access-control-allow-credentials"], "true");
        assert.match(headers.vary, /origin/i);
      }
      const preflight = await request(fixture, "OPTIONS", target, {
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "content-type,x-custom",
        },
      });
      assert.equal(preflight.status, 204);
      assert.equal(preflight.body, "");
      assert.equal(preflight.headers["access-control-allow-origin"], origin);
      assert.equal(preflight.headers["access-control-allow-credentials"], "true");
      assert.match(preflight.headers["access-control-allow-methods"], /POST/);
      assert.match(preflight.headers["access-control-allow-headers"], /x-custom/i);
      const evil = await request(fixture, "GET", `${EIO}&transport=polling`, {
        headers: { origin: "https://evil.example" },
      });
      const allowed = evil.headers["access-control-allow-origin"];
      assert.ok(allowed === undefined || allowed === origin, allowed);
    }));
});

describe("FIXTURE_TRANSPORTS", () => {
  test("websocket only", () =>
    withFixture({ transports: "websocket" }, async (fixture) => {
      const answer = await request(fixture, "GET", `${EIO}&transport=polling`);
      assert.deepEqual([answer.status, answer.body], [400, '{"code":0,"message":"Transport unknown"}']);
      const socket = await connect(fixture, "/", { mode: "websocket" });
      assert.deepEqual(await call(socket, "echo", 1), [1]);
      const polling = client(fixture, "/", { mode: "polling" });
      await once(polling, "connect_error");
    }));

  test("polling only: no upgrade is announced, a WebSocket is refused", () =>
    withFixture({ transports: "polling" }, async (fixture) => {
      const { open } = await raw.polling(fixture);
      assert.deepEqual(open.upgrades, []);
      const refused = raw.tcp(fixture, raw.handshake(fixture, `${EIO}&transport=websocket`));
      assert.equal((await refused.answer()).status, 400);
      await refused.ended();
      const socket = client(fixture, "/", { mode: "upgrade" });
      await once(socket, "connect");
      assert.deepEqual(await call(socket, "echo", 1), [1]);
      assert.equal(socket.io.engine.transport.name, "polling");
    }));
});

describe("FIXTURE_MAX_HTTP_BUFFER_SIZE", () => {
  let fixture;
  before(async () => (fixture = await startFixture({ max_http_buffer_size: 1000 })));
  after(() => fixture.stop());

  test("is announced", async () => {
    const polled = await raw.polling(fixture);
    assert.equal(polled.open.maxPayload, 1000);
    await polled.post("1");
    const socket = await raw.session(fixture);
    assert.equal(socket.open.maxPayload, 1000);
    socket.destroy();
  });

  test("POST: 413 with an empty body, the session lives on", async () => {
    const socket = await raw.joinedPolling(fixture);
    const body = `42["echo","${"x".repeat(2000)}"]`;
    const answer = await socket.post(body);
    assert.deepEqual([answer.status, answer.body], [413, ""]);
    const chunked = await socket.post(body, { "content-type": "text/plain", "transfer-encoding": "chunked" });
    assert.deepEqual([chunked.status, chunked.body], [413, ""]);
    assert.equal((await socket.post('420["echo","small"]')).body, "ok");
    assert.deepEqual(await socket.poll(), ['430["small"]']);
    const exact = `420["echo","${"y".repeat(1000 - 14)}"]`;
    assert.equal(exact.length, 1000);
    assert.equal((await socket.post(exact)).status, 200);
    assert.equal((await socket.poll())[0].length, 1000 - 14 + 7);
    await socket.post("1");
  });

  test("WebSocket: 1009", async () => {
    for (const size of [1001, 5000]) {
      const socket = await raw.joined(fixture);
      socket.send(`42["echo","${"x".repeat(size - 13)}"]`);
      await socket.ended();
      assert.equal(socket.closeCode, 1009);
    }
    const pieces = await raw.joined(fixture);
    pieces.write(raw.text("42[" + '"'.padEnd(600, "x"), { fin: false }));
    pieces.write(raw.frame(0, "x".repeat(600), { fin: false }));
    await pieces.ended();
    assert.equal(pieces.closeCode, 1009);
    await unharmed(fixture);
  });

  test("WebSocket: exactly the limit passes", async () => {
    const socket = await raw.joined(fixture);
    socket.send(`420["echo","${"x".repeat(1000 - 14)}"]`);
    assert.equal((await socket.find(/^430/)).length, 1000 - 14 + 7);
    socket.destroy();
  });

  test("what the server sends is not limited by it", async () => {
    for (const mode of MODES) {
      const socket = await connect(fixture, "/", { mode });
      assert.equal(Buffer.from((await call(socket, "blob", 50000))[0]).length, 50000);
    }
  });
});

describe("FIXTURE_UPGRADE_TIMEOUT", () => {
  test("closes a stalled upgrade, the session stays on polling", () =>
    withFixture({ upgrade_timeout: 200 }, async (fixture) => {
      const socket = await raw.joinedPolling(fixture);
      const stalled = await raw.ws(fixture, `${EIO}&transport=websocket&sid=${socket.sid}`);
      stalled.send("2probe");
      assert.equal(await stalled.take(), "3probe");
      await stalled.ended(3000);
      await socket.post('420["echo","still here"]');
      const packets = [];
      while (!packets.includes('430["still here"]')) packets.push(...(await socket.poll()));
      assert.ok(packets.every((p) => p === "6" || p.startsWith("43")), `${packets}`);
      const again = await raw.ws(fixture, `${EIO}&transport=websocket&sid=${socket.sid}`);
      again.send("2probe");
      assert.equal(await again.take(), "3probe");
      again.destroy();
      await socket.post("1");
    }));

  test("an upgrade that never says a word is closed too", () =>
    withFixture({ upgrade_timeout: 200 }, async (fixture) => {
      const socket = await raw.joinedPolling(fixture);
      const mute = await raw.ws(fixture, `${EIO}&transport=websocket&sid=${socket.sid}`);
      await mute.ended(3000);
      await socket.post('420["echo",1]');
      assert.ok((await socket.poll()).includes("430[1]"));
    }));
});

test("unknown FIXTURE_ variables are ignored, the ready line is printed or not", () =>
  withFixture({ no_such_thing: "1", node_name: "n" }, async (fixture) => {
    assert.equal((await fixture.get("/fixture/health")).body, "ok");
  }));
