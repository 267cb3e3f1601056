// Hostile peers. Each case: the named refusal or none, others served meanwhile, and afterwards a
// server unharmed: same process, gauges at zero, memory bounded by what came, not by what was said.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const zlib = require("node:zlib");
const { NODE, exceptNode, finish, sleep, startFixture, unharmed, waitFor } = require("./lib/fixture");
const clients = require("./lib/clients");
const raw = require("./lib/raw");

const { call, closeAll, connect } = clients;
const { EIO, binary, frame, handshake, joined, joinedPolling, session, tcp, text, ws } = raw;

const MIB = 1 << 20;
const range = (n) => Array.from({ length: n }, (_, i) => i);
const P = (num) => `{"_placeholder":true,"num":${num}}`;

let fixture;
before(async () => (fixture = await startFixture({ permessage_deflate: 1 })));
after(() => finish(fixture));
afterEach(async () => {
  closeAll();
  await raw.closeAll();
  await unharmed(fixture);
});

/** Runs `attack` and fails when resident memory grew by more than `limit` MiB at any moment. */
async function bounded(limit, attack, server = fixture) {
  const start = server.rss();
  let peak = start;
  const sample = setInterval(() => (peak = Math.max(peak, server.rss())), 20);
  try {
    await attack();
  } finally {
    clearInterval(sample);
  }
  const grown = (Math.max(peak, server.rss()) - start) / MIB;
  // A garbage-collected heap grows further before it is swept.
  assert.ok(grown <= (NODE ? limit + 150 : limit), `memory grew by ${grown.toFixed(1)} MiB`);
}

/** An honest client is answered promptly while `attack` is under way. */
async function othersAreServed(attack, server = fixture) {
  const good = await connect(server);
  let done = false;
  let slowest = 0;
  const talk = (async () => {
    while (!done) {
      const started = Date.now();
      await call(good, "echo", started);
      slowest = Math.max(slowest, Date.now() - started);
      await sleep(10);
    }
  })();
  try {
    await attack(good);
  } finally {
    done = true;
    await talk;
  }
  assert.ok(slowest < 2000, `an answer took ${slowest} ms`);
  good.disconnect();
}

/** Answered, or closed; never silence. Returns whether the connection is still there. */
async function answeredOrClosed(socket, pattern, ms = 8000) {
  const from = socket.messages.length;
  const hit = () => socket.messages.slice(from).some((m) => typeof m === "string" && pattern.test(m));
  await socket.until(() => socket.closed || hit(), `${pattern} or the end`, ms);
  return !socket.closed;
}

describe("announced, never sent", () => {
  test("a frame header that announces 64 MiB on 150 connections", () =>
    bounded(40, () =>
      othersAreServed(async () => {
        const all = await Promise.all(range(150).map(() => ws(fixture, "/ws-echo")));
        for (const socket of all) socket.write(binary("only this", { announce: 64 * MIB }));
        await fixture.get("/fixture/health");
        await sleep(100);
        assert.ok(all.every((s) => !s.closed), "within the limit: waits");
      }),
    ));

  test("on Engine.IO such a header is 1009 at once", async () => {
    for (const announce of [100001, 64 * MIB, 2 ** 40]) {
      const socket = await joined(fixture);
      socket.write(text("", { announce }));
      await socket.ended();
      assert.equal(socket.closeCode, 1009);
    }
  });

  test("POST bodies announced and never sent", () =>
    bounded(40, () =>
      othersAreServed(async () => {
        for (let i = 0; i < 60; i++) {
          const { target } = await joinedPolling(fixture);
          const length = i % 2 ? 99999 : 64 * MIB;
          const connection = tcp(fixture, `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n4`);
          await connection.opened;
        }
        await fixture.get("/fixture/health");
      }),
    ));

  test("a chunk announced and never sent", () =>
    bounded(30, async () => {
      for (let i = 0; i < 30; i++) {
        const { target } = await joinedPolling(fixture);
        tcp(fixture, `POST ${target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n4`);
      }
      await fixture.get("/fixture/health");
    }));

  test("ten attachments of which the last never comes, 100 times", () =>
    bounded(40, () =>
      othersAreServed(async () => {
        const all = await Promise.all(range(100).map(() => joined(fixture)));
        for (const socket of all) {
          socket.send(`4510-["echo",${range(10).map(P).join(",")}]`);
          for (let i = 0; i < 9; i++) socket.send(Buffer.alloc(1000, i));
        }
        await fixture.settle({ sockets: 101 });
        const [one] = all;
        one.send('42["echo"]');
        await one.ended();
      }),
    ));

  test("fragments without end: closed when the sum passes the limit", () =>
    bounded(30, async () => {
      const socket = await joined(fixture);
      socket.write(text("42[", { fin: false }));
      for (let i = 0; i < 60 && !socket.closed; i++) socket.write(frame(0, "x".repeat(2000), { fin: false }));
      await socket.ended();
      assert.equal(socket.closeCode, 1009);
    }));

  test("a hundred thousand empty fragments", () =>
    bounded(30, () =>
      othersAreServed(async () => {
        const socket = await ws(fixture, "/ws-echo");
        socket.write(text("", { fin: false }));
        const piece = Buffer.concat(range(1000).map(() => frame(0, "", { fin: false })));
        for (let i = 0; i < 100; i++) socket.write(piece);
        socket.write(frame(0, "end"));
        await socket.until(() => socket.closed || socket.messages.length, "the echo or the end");
        if (!socket.closed) assert.equal(socket.messages[0], "end");
      }),
    ));
});

describe("slow peers", () => {
  test("a few bytes at a time in handshake, body and frame: others are served", () =>
    bounded(40, () =>
      othersAreServed(async () => {
        const drips = [];
        for (let i = 0; i < 40; i++) {
          drips.push([tcp(fixture), Buffer.from(handshake(fixture, "/ws-echo"))]);
          const { target } = await joinedPolling(fixture);
          const body = `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n${"4".repeat(5000)}`;
          drips.push([tcp(fixture), Buffer.from(body)]);
          drips.push([await joined(fixture), text("4".repeat(5000))]);
        }
        for (let i = 0; i < 25; i++) {
          for (const [connection, bytes] of drips) connection.write(bytes.subarray(i, i + 1));
          await sleep(20);
        }
      }),
    ));

  test("500 connections that say nothing", () =>
    othersAreServed(async () => {
      const before = fixture.descriptors();
      const all = range(500).map(() => tcp(fixture));
      await Promise.all(all.map((c) => c.opened));
      assert.equal((await fixture.get("/fixture/health")).body, "ok");
      for (const connection of all) connection.destroy();
      await waitFor(() => fixture.descriptors() <= before + 5, "descriptors back");
    }));

  test("a peer that never answers a close does not keep its session", async () => {
    const all = await Promise.all(range(20).map(() => joined(fixture)));
    for (const socket of all) {
      socket.autoclose = false;
      socket.write(text("x", { masked: false }));
    }
    await fixture.settle();
  });

  const BURST = '42["burst",400,50000]';

  test("a WebSocket reader that stops: its queue is bounded, it is closed", exceptNode("queues without bound"), () =>
    bounded(64, () =>
      othersAreServed(async () => {
        const socket = await joined(fixture);
        socket.socket.pause();
        for (let i = 0; i < 20; i++) socket.send(BURST);
        await fixture.settle({ sockets: 1 }, 15000);
      }),
    ));

  test("a polling client that does not poll: the same", exceptNode("queues without bound"), () =>
    bounded(64, () =>
      othersAreServed(async () => {
        const socket = await joinedPolling(fixture);
        for (let i = 0; i < 20; i++) socket.post(BURST).catch(() => {});
        await fixture.settle({ sockets: 1 }, 15000);
      }),
    ));

  test("a reader that stops in a crowd: the others get everything", exceptNode("queues without bound"), () =>
    bounded(64, async () => {
      const stopped = await joined(fixture);
      stopped.socket.pause();
      const crowd = await Promise.all(range(5).map(() => connect(fixture)));
      const logs = crowd.map((s) => clients.collect(s, "m"));
      const payload = "x".repeat(50000);
      for (let i = 0; i < 600; i++) await call(crowd[0], "in", [], [], "m", [i, payload]);
      await Promise.all(crowd.map(clients.barrier));
      for (const log of logs) assert.deepEqual(log.map(([i]) => i), range(600));
    }));

  test("volatile to a reader that stops: dropped, the connection lives", () =>
    bounded(64, async () => {
      const socket = await joined(fixture);
      socket.socket.pause();
      for (let i = 0; i < 10; i++) socket.send('42["volatile",2000,10000]');
      await othersAreServed(() => sleep(200));
      socket.socket.resume();
      const ends = () => socket.messages.filter((m) => m.startsWith('42["v-end"')).length === 10;
      await socket.until(ends, "ten v-end", 10000);
      const got = socket.messages.filter((m) => m.startsWith('42["v",')).length;
      assert.ok(got < 20000, `${got}`);
    }));

  test("an echo whose sender does not read stops it from sending", exceptNode("queues without bound"), () =>
    bounded(96, async () => {
      const socket = await ws(fixture, "/ws-echo");
      socket.socket.pause();
      const piece = binary(Buffer.alloc(MIB));
      for (let i = 0; i < 300 && !socket.closed; i++) {
        if (socket.socket.write(piece)) continue;
        const drained = new Promise((resolve) => socket.socket.once("drain", () => resolve(true)));
        if (!(await Promise.race([drained, sleep(700)]))) break;
      }
      assert.ok(socket.socket.bytesWritten < 290 * MIB || socket.closed, "all was taken");
    }));

  test("a flood of pings that nobody reads the pongs of", exceptNode("queues without bound"), () =>
    bounded(48, () =>
      othersAreServed(async () => {
        const socket = await joined(fixture);
        socket.socket.pause();
        const pings = Buffer.concat(range(500).map(() => frame(9, "p".repeat(125))));
        for (let i = 0; i < 500 && !socket.closed; i++) {
          if (socket.socket.write(pings)) continue;
          const drained = new Promise((resolve) => socket.socket.once("drain", () => resolve(true)));
          if (!(await Promise.race([drained, sleep(700)]))) break;
        }
      }),
    ));
});

describe("thousands of", () => {
  test("namespaces on one connection: accepted, refused or closed", () =>
    bounded(64, () =>
      othersAreServed(async () => {
        const socket = await session(fixture);
        for (let i = 0; i < 3000; i++) socket.send(`40/dyn-${i},`);
        const seen = () => socket.messages.filter((m) => /^4[04]\/dyn-/.test(m)).length;
        await socket.until(() => socket.closed || seen() === 3000, "3,000 answers or the end", 15000);
      }),
    ));

  test("namespaces that do not exist", () =>
    bounded(48, () =>
      othersAreServed(async () => {
        const socket = await joined(fixture);
        for (let i = 0; i < 5000; i++) socket.send(`40/nope-${i},`);
        const seen = () => socket.messages.filter((m) => m.startsWith("44/nope-")).length;
        await socket.until(() => socket.closed || seen() === 5000, "5,000 refusals or the end", 15000);
      }),
    ));

  test("joins and leaves of one namespace", () =>
    bounded(48, async () => {
      const socket = await joined(fixture);
      for (let i = 0; i < 1000; i++) {
        socket.send("40/custom,");
        socket.send("41/custom,");
      }
      socket.send('420["echo","end"]');
      await answeredOrClosed(socket, /^430/);
    }));

  test("rooms", () =>
    bounded(64, () =>
      othersAreServed(async () => {
        const socket = await joined(fixture);
        for (let round = 0; round < 10; round++) {
          socket.send(`42${round}["join",${JSON.stringify(range(8000).map((i) => `r${round}-${i}`))}]`);
          if (!(await answeredOrClosed(socket, new RegExp(`^43${round}\\[`)))) break;
        }
      }),
    ));

  test("rooms with endless names", () =>
    bounded(64, async () => {
      const socket = await joined(fixture);
      for (let i = 0; i < 50; i++) {
        socket.send(`42${i}["join","${String(i).padEnd(90000, "r")}"]`);
        if (!(await answeredOrClosed(socket, new RegExp(`^43${i}\\[`)))) break;
      }
    }));

  test("questions that are never answered", () =>
    bounded(64, () =>
      othersAreServed(async () => {
        const socket = await joined(fixture);
        for (let i = 0; i < 8000; i++) socket.send('42["call-me",60000,"q"]');
        socket.send('420["echo","end"]');
        await answeredOrClosed(socket, /^430/, 15000);
      }),
    ));

  test("broadcast questions that are never answered", () =>
    bounded(64, async () => {
      const crowd = await Promise.all(range(20).map(() => joined(fixture)));
      for (let i = 0; i < 300; i++) crowd[0].send(`42${i}["broadcast-call",[],60000,"q",[]]`);
      crowd[0].send('429999["echo","end"]');
      await answeredOrClosed(crowd[0], /^439999/);
    }));

  test("forged acknowledgements", () =>
    bounded(48, async () => {
      const socket = await joined(fixture);
      for (let i = 0; i < 20000; i++) socket.send(`43${i}["forged"]`);
      socket.send('420["echo","end"]');
      await answeredOrClosed(socket, /^430/);
    }));

  test("pings: answered, or closed", () =>
    othersAreServed(async () => {
      const socket = await ws(fixture, "/ws-echo");
      const pings = Buffer.concat(range(1000).map(() => frame(9, "p")));
      for (let i = 0; i < 20; i++) socket.write(pings);
      await socket.until(() => socket.closed || socket.pongs === 20000, "20,000 pongs or the end", 10000);
    }));

  test("events at once: all answered, in order", () =>
    bounded(64, () =>
      othersAreServed(async () => {
        const socket = await joined(fixture);
        const from = socket.messages.length;
        for (let i = 0; i < 30000; i += 1000) {
          socket.write(Buffer.concat(range(1000).map((k) => text(`42${i + k}["echo"]`))));
        }
        await socket.until(() => socket.messages.length === from + 30000, "30,000 answers", 20000);
        assert.deepEqual(socket.messages.slice(from), range(30000).map((i) => `43${i}[]`));
      }),
    ));

  test("connections that come and go at once", () =>
    bounded(64, () =>
      othersAreServed(async () => {
        for (let round = 0; round < 5; round++) {
          const all = range(100).map(() => tcp(fixture, handshake(fixture, `${EIO}&transport=websocket`)));
          await Promise.all(all.map((c) => c.opened));
          for (const connection of all) connection.reset();
        }
      }),
    ));

  test("sessions opened by polling and abandoned, then told to close", async () => {
    const all = await Promise.all(range(200).map(() => raw.polling(fixture)));
    await fixture.settle({ engineSessions: 200 });
    await Promise.all(all.map((s) => s.post("1")));
  });
});

describe("compression bombs", () => {
  const headers = { "Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover" };
  const deflated = (size) => {
    const data = zlib.deflateRawSync(Buffer.alloc(size), { level: 9, finishFlush: zlib.constants.Z_SYNC_FLUSH });
    return data.subarray(0, data.length - 4);
  };

  test("on Engine.IO: stopped at the limit, 1009", () => {
    const bomb = deflated(60 * MIB);
    assert.ok(bomb.length < 100000);
    return bounded(48, () =>
      othersAreServed(async () => {
        for (let i = 0; i < 10; i++) {
          const socket = await joined(fixture, "/", "", { headers });
          socket.write(frame(i % 2 ? 1 : 2, bomb, { rsv: 4 }));
          await socket.ended();
          assert.equal(socket.closeCode, 1009);
        }
      }),
    );
  });

  test("on /ws-echo: 300 MiB in 300 KiB, 1009", () => {
    const bomb = deflated(300 * MIB);
    return bounded(200, async () => {
      for (let i = 0; i < 3; i++) {
        const socket = await ws(fixture, "/ws-echo", { headers });
        socket.write(frame(2, bomb, { rsv: 4 }));
        await socket.ended(15000);
        assert.equal(socket.closeCode, 1009);
      }
    });
  });

  test("a bomb in fragments", async () => {
    const bomb = deflated(60 * MIB);
    const socket = await joined(fixture, "/", "", { headers });
    for (let at = 0; at < bomb.length && !socket.closed; at += 4000) {
      const fin = at + 4000 >= bomb.length;
      const piece = bomb.subarray(at, at + 4000);
      socket.write(at === 0 ? text(piece, { rsv: 4, fin }) : frame(0, piece, { fin }));
    }
    await socket.ended();
    assert.equal(socket.closeCode, 1009);
  });

  test("what is not deflate, and RSV1 where it may not be", async () => {
    for (const bytes of [
      text(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), { rsv: 4 }),
      Buffer.concat([text("4", { fin: false }), frame(0, "x", { rsv: 4 })]),
      frame(9, "x", { rsv: 4 }),
    ]) {
      const socket = await joined(fixture, "/", "", { headers });
      socket.write(bytes);
      await socket.ended();
      assert.ok([1002, 1007, 1006, undefined].includes(socket.closeCode), `${socket.closeCode}`);
    }
  });

  test("a gzip body is not unpacked", async () => {
    const socket = await joinedPolling(fixture);
    const body = zlib.gzipSync(Buffer.alloc(20 * MIB, "4"));
    await bounded(30, () => socket.post(body, { "content-type": "text/plain", "content-encoding": "gzip" }));
  });
});

describe("shapes", () => {
  test("arrays and objects 900 deep pass", async () => {
    const socket = await joined(fixture);
    const array = "[".repeat(900) + "]".repeat(900);
    const object = `${'{"a":'.repeat(900)}1${"}".repeat(900)}`;
    for (const value of [array, object]) {
      socket.send(`420["echo",${value}]`);
      assert.equal(await socket.take(), `430[${value}]`);
    }
  });

  const nested = "[".repeat(45000) + "]".repeat(45000);
  const objects = `${'{"a":'.repeat(15000)}1${"}".repeat(15000)}`;
  for (const [what, packets] of [
    ["arrays nested 45,000 deep", [`420["echo",${nested}]`]],
    ["objects nested 15,000 deep", [`420["echo",${objects}]`]],
    ["45,000 brackets that never close", [`420["echo",${"[".repeat(90000)}`]],
    ["depth in an ignored event", [`420["nobody listens",${nested}]`, '420["echo"]']],
    ["depth for a handler that looks inside", [`420["inspect",${nested}]`]],
    ["depth in an event with attachments", [`451-0["inspect",${P(0)},${nested.slice(100, -100)}]`, Buffer.from([1])]],
    ["depth in an acknowledgement", [`430${nested}`, '420["echo"]']],
  ]) {
    test(`${what}: refused or answered`, exceptNode("a stack overflow ends the process"), async () => {
      const socket = await joined(fixture);
      for (const packet of packets) socket.send(packet);
      await answeredOrClosed(socket, /^430/);
    });
  }

  test("depth in the CONNECT payload and in polling", exceptNode("a stack overflow ends the process"), async () => {
    for (const payload of [`{"a":${nested.slice(10, -10)}}`, objects]) {
      const socket = await session(fixture);
      socket.send(`40${payload}`);
      await answeredOrClosed(socket, /^4[04]/);
      socket.destroy();
    }
    const polling = await joinedPolling(fixture);
    await polling.post(`420["echo",${nested}]`);
    await polling.get();
  });

  test("40,000 arguments", exceptNode("spreads them on the stack"), async () => {
    const socket = await joined(fixture);
    const list = range(40000).map(() => "0").join(",");
    socket.send(`420["echo",${list}]`);
    if (await answeredOrClosed(socket, /^430/)) assert.equal(socket.messages.at(-1), `430[${list}]`);
  });

  test("40,000 keys, 40,000 rooms to send to, a long event name", async () => {
    const socket = await joined(fixture);
    const keys = `{${range(9000).map((i) => `"${i}":0`).join(",")}}`;
    const rooms = `[${range(13000).map((i) => `"${i % 100}"`).join(",")}]`;
    socket.send(`420["echo",${keys}]`);
    await answeredOrClosed(socket, /^430/);
    socket.send(`421["in",${rooms},[],"e",[]]`);
    await answeredOrClosed(socket, /^431/);
    socket.send(`42["${"e".repeat(90000)}"]`);
    socket.send('422["echo",1]');
    await answeredOrClosed(socket, /^432/);
  });

  test("names of built-in members are names", async () => {
    const socket = await joined(fixture);
    const names = ["__proto__", "constructor", "hasOwnProperty", "toString", "prototype"];
    for (const [i, name] of names.entries()) {
      socket.send(`42${i}["join","${name}"]`);
      assert.ok(JSON.parse((await socket.take()).slice(3))[0].includes(name));
      socket.send(`42["${name}",1]`);
    }
    socket.send('429["in",["__proto__"],[],"e",[1]]');
    assert.equal(await socket.take(), '42["e",1]');
    await socket.take();
    for (const name of names) {
      socket.send(`40/${name},`);
      assert.equal(await socket.take(), `44/${name},{"message":"Invalid namespace"}`);
    }
  });

  test("invalid UTF-8 in a POST does no harm", async () => {
    const socket = await joinedPolling(fixture);
    const body = Buffer.concat([Buffer.from('420["echo","'), Buffer.from([0xff, 0xfe]), Buffer.from('"]')]);
    await socket.post(body);
    const { raw: bytes } = await socket.get();
    assert.doesNotThrow(() => new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  });

  test("base64 that is none does no harm", async () => {
    for (const body of ["b", "b!!!!", "bAAA", "b====", `b${"A".repeat(99990)}`]) {
      const socket = await joinedPolling(fixture);
      await socket.post(`451-0["inspect",${P(0)}]`);
      await socket.post(body);
      await socket.get();
      await socket.post("1");
    }
  });

  test("200,000 packets in one POST", () =>
    bounded(64, async () => {
      const socket = await joinedPolling(fixture);
      await socket.post("3\x1e".repeat(49000) + "3");
      await socket.post("6\x1e".repeat(49000) + "6").catch(() => {});
      await fixture.get("/fixture/health");
    }));
});

describe("limits of the machine", () => {
  test("descriptors run out (ulimit -n 64): service resumes when they are back", async () => {
    const small = await startFixture({}, { limits: "ulimit -n 64" });
    try {
      const good = await connect(small);
      const crowd = range(200).map(() => tcp(small));
      await waitFor(() => small.descriptors() >= 60, "all descriptors taken");
      for (let i = 0; i < 5; i++) {
        assert.deepEqual(await call(good, "echo", i), [i]);
        await sleep(50);
      }
      for (const connection of crowd) connection.destroy();
      await waitFor(async () => (await small.get("/fixture/health", 1000)).body === "ok", "service again", 10000);
      assert.deepEqual(await call(await connect(small), "echo", "again"), ["again"]);
      closeAll();
      await unharmed(small);
    } finally {
      await small.stop();
    }
  });

  test("an idle server does not spin", async () => {
    const fs = require("node:fs");
    const ticks = () => {
      const fields = fs.readFileSync(`/proc/${fixture.pid}/stat`, "utf8").split(") ")[1].split(" ");
      return Number(fields[11]) + Number(fields[12]);
    };
    const before = ticks();
    await sleep(1000);
    assert.ok(ticks() - before < 20, `${ticks() - before} ticks in a second`);
  });
});

describe("msgpack", () => {
  let packed;
  before(async () => (packed = await startFixture({ parser: "msgpack" })));
  after(() => finish(packed));
  afterEach(() => raw.closeAll());

  const key = (name) => Buffer.concat([Buffer.from([0xa0 | name.length]), Buffer.from(name)]);
  const packet = (type, data, { nsp = "/", id } = {}) =>
    Buffer.concat([
      Buffer.from([id === undefined ? 0x83 : 0x84]),
      key("type"),
      Buffer.from([type]),
      key("data"),
      data,
      ...(id === undefined ? [] : [key("id"), Buffer.from([id])]),
      key("nsp"),
      key(nsp),
    ]);
  const event = (...values) => Buffer.concat([Buffer.from([0x90 | values.length]), ...values]);
  const UNDEFINED = Buffer.from([0xd4, 0, 0]);

  async function open() {
    const socket = await session(packed);
    socket.send(packet(0, UNDEFINED));
    const answer = await socket.take();
    assert.ok(Buffer.isBuffer(answer) && answer.includes("sid"));
    return socket;
  }

  test("CONNECT with the ext form of undefined, and an echo", async () => {
    const socket = await open();
    socket.send(packet(2, event(key("echo"), Buffer.from([7])), { id: 5 }));
    const answer = await socket.take();
    assert.ok(answer.includes(Buffer.concat([key("data"), Buffer.from([0x91, 7])])), answer.toString("hex"));
    assert.ok(answer.includes(Buffer.concat([key("id"), Buffer.from([5])])));
  });

  for (const [what, bytes] of [
    ["nothing", Buffer.alloc(0)],
    ["not a map", Buffer.from([0x93, 1, 2, 3])],
    ["cut short", packet(2, event(key("echo"))).subarray(0, 12)],
    ["an array of 2^32 announced", packet(2, Buffer.from([0xdd, 255, 255, 255, 255, 1]))],
    ["a map of 2^32 announced", Buffer.from([0xdf, 255, 255, 255, 255, 1])],
    ["a string of 2^32 announced", packet(2, Buffer.from([0x91, 0xdb, 255, 255, 255, 255, 65]))],
    ["binary of 2^32 announced", packet(2, Buffer.from([0x91, 0xc6, 255, 255, 255, 255, 65]))],
    ["a type that does not exist", packet(9, event(key("echo")))],
    ["data that is no array", packet(2, key("echo"))],
    ["a reserved event", packet(2, event(key("disconnect")))],
    ["a namespace not joined", packet(2, event(key("echo")), { nsp: "/custom" })],
    ["the never used byte", packet(2, event(key("echo"), Buffer.from([0xc1])))],
  ]) {
    test(`${what}: closed or ignored, memory bounded`, () =>
      bounded(32, async () => {
        const socket = await open();
        socket.send(bytes);
        socket.send(packet(2, event(key("echo")), { id: 1 }));
        await socket.until(() => socket.closed || socket.messages.length > 2, "an answer or the end");
        socket.destroy();
        await unharmed(packed);
      }, packed));
  }

  test("nested 45,000 deep", exceptNode("a stack overflow ends the process"), async () => {
    for (const byte of [Buffer.from([0x91]), Buffer.from([0x81, 0xa1, 0x61])]) {
      const socket = await open();
      const levels = Math.floor(90000 / byte.length);
      const deep = Buffer.concat([...range(levels).map(() => byte), Buffer.from([0])]);
      socket.send(packet(2, event(key("echo"), deep), { id: 1 }));
      await socket.until(() => socket.closed || socket.messages.length > 2, "an answer or the end");
      socket.destroy();
    }
    await unharmed(packed);
  });
});
