// Engine.IO over HTTP, request by request: statuses, codes and bodies exactly as Node.js has them.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, beforeEach, describe, test } = require("node:test");
const { finish, startFixture, waitFor } = require("./lib/fixture");
const raw = require("./lib/raw");

const { EIO, handshake, joined, joinedPolling, polling, request, session, tcp, ws } = raw;

const ERRORS = [
  '{"code":0,"message":"Transport unknown"}',
  '{"code":1,"message":"Session ID unknown"}',
  '{"code":2,"message":"Bad handshake method"}',
  '{"code":3,"message":"Bad request"}',
  '{"code":4,"message":"Forbidden"}',
  '{"code":5,"message":"Unsupported protocol version"}',
];

let fixture;
before(async () => (fixture = await startFixture()));
after(() => finish(fixture));
afterEach(async () => {
  await raw.closeAll();
});

const dead = (sid) =>
  waitFor(async () => {
    const { status, body } = await request(fixture, "GET", `${EIO}&transport=polling&sid=${sid}`);
    return status === 400 && body === ERRORS[1];
  }, "the end of the session");

/** A WebSocket that the server turns away, in its handshake or right after. */
async function turnedAway(target) {
  const socket = new raw.Ws(fixture, target);
  await socket.ready.catch(() => {});
  await socket.ended();
  assert.deepEqual(socket.messages, []);
}

async function refusedUpgrade(target, headers) {
  const connection = tcp(fixture, handshake(fixture, target, headers));
  const answer = await connection.answer();
  await connection.ended();
  const end = connection.received.indexOf("\r\n\r\n");
  return { ...answer, body: connection.received.subarray(end + 4).toString() };
}

describe("refusals", () => {
  const live = {};
  beforeEach(async () => (live.polling = await polling(fixture)));

  for (const [what, method, query, code, headers] of [
    ["no transport", "GET", "EIO=4", 0],
    ["an empty query", "GET", "", 0],
    ["an unknown transport", "GET", "EIO=4&transport=carrier-pigeon", 0],
    ["a transport named like an object's member", "GET", "EIO=4&transport=constructor", 0],
    ["an inherited member", "GET", "EIO=4&transport=__proto__", 0],
    ["webtransport over HTTP", "GET", "EIO=4&transport=webtransport", 0],
    ["an unknown session", "GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1],
    ["an odd session id", "GET", "EIO=4&transport=polling&sid=__proto__", 1],
    ["a long session id", "GET", `EIO=4&transport=polling&sid=${"x".repeat(3000)}`, 1],
    ["an unknown session, POST", "POST", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1],
    ["a POST without a session", "POST", "EIO=4&transport=polling", 2],
    ["a PUT without a session", "PUT", "EIO=4&transport=polling", 2],
    ["a DELETE without a session", "DELETE", "EIO=4&transport=polling", 2],
    ["a WebSocket transport without upgrade", "GET", "EIO=4&transport=websocket", 3],
    ["protocol 3", "GET", "EIO=3&transport=polling", 5],
    ["no protocol version", "GET", "transport=polling", 5],
    ["protocol 5", "GET", "EIO=5&transport=polling", 5],
    ["protocol words", "GET", "EIO=four&transport=polling", 5],
  ]) {
    test(`${what}: 400, code ${code}`, async () => {
      const answer = await request(fixture, method, `/socket.io/?${query}`, { headers });
      assert.deepEqual([answer.status, answer.body], [400, ERRORS[code]]);
      assert.match(answer.headers["content-type"], /^application\/json/);
    });
  }

  test("the transport of the session must match: code 3", async () => {
    const target = `${EIO}&transport=websocket&sid=${live.polling.sid}`;
    const answer = await request(fixture, "GET", target);
    assert.deepEqual([answer.status, answer.body], [400, ERRORS[3]]);
  });

  test("a polling request for a WebSocket session: code 3", async () => {
    const socket = await session(fixture);
    for (const method of ["GET", "POST"]) {
      const target = `${EIO}&transport=polling&sid=${socket.open.sid}`;
      const answer = await request(fixture, method, target);
      assert.deepEqual([answer.status, answer.body], [400, ERRORS[3]]);
    }
    socket.destroy();
  });

  for (const [what, query, message] of [
    ["no transport", "EIO=4", "Transport unknown"],
    ["an unknown transport", "EIO=4&transport=x", "Transport unknown"],
    ["an unknown session", "EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", "Session ID unknown"],
  ]) {
    test(`upgrade, ${what}: a bare 400 with the message as body`, async () => {
      const answer = await refusedUpgrade(`/socket.io/?${query}`);
      assert.equal(answer.status, 400);
      assert.match(answer.head, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(answer.head, /content-type: text\/html/i);
      assert.equal(answer.body, message);
    });
  }

  test("upgrade with another protocol version ends without a session", async () => {
    for (const query of ["EIO=3&transport=websocket", "transport=websocket"]) {
      const connection = tcp(fixture, handshake(fixture, `/socket.io/?${query}`));
      await connection.ended();
      assert.ok(!connection.received.toString("latin1").includes('"sid"'));
    }
  });

  test("PUT and others with a session: 500, empty", async () => {
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      const target = `${EIO}&transport=polling&sid=${live.polling.sid}`;
      const answer = await request(fixture, method, target);
      assert.deepEqual([answer.status, answer.body], [500, ""]);
    }
  });
});

describe("polling", () => {
  test("the answer that opens a session", async () => {
    const answer = await request(fixture, "GET", `${EIO}&transport=polling`);
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^text\/plain; charset=UTF-8$/i);
    assert.equal(answer.headers["cache-control"], "no-store");
    assert.equal(answer.headers["set-cookie"], undefined);
    const open = JSON.parse(answer.body.slice(1));
    assert.deepEqual(Object.keys(open), ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]);
    assert.deepEqual({ ...open, sid: 0 }, { sid: 0, upgrades: ["websocket"], pingInterval: 25000, pingTimeout: 20000, maxPayload: 100000 });
    await request(fixture, "POST", `${EIO}&transport=polling&sid=${open.sid}`, { body: "1" });
  });

  test("a POST is answered with ok, a poll with packets joined by U+001E", async () => {
    const socket = await joinedPolling(fixture);
    const posted = await socket.post('420["echo",1]\x1e42["echo","zwei ü"]\x1e421["echo"]');
    assert.deepEqual([posted.status, posted.body], [200, "ok"]);
    assert.match(posted.headers["content-type"], /^text\/html/);
    const polled = await socket.get();
    assert.equal(polled.body, '430[1]\x1e42["echo-back","zwei ü"]\x1e431[]');
    assert.match(polled.headers["content-type"], /^text\/plain; charset=UTF-8$/i);
    assert.equal(polled.headers["cache-control"], "no-store");
    assert.equal(Number(polled.headers["content-length"]), Buffer.byteLength(polled.body));
    await socket.post("1");
  });

  test("binary is base64 with a leading b", async () => {
    const socket = await joinedPolling(fixture);
    await socket.post('451-0["echo",{"_placeholder":true,"num":0}]\x1ebAQIDBP8=');
    const packets = [];
    while (packets.length < 2) packets.push(...(await socket.poll()));
    assert.deepEqual(packets, ['461-0[{"_placeholder":true,"num":0}]', "bAQIDBP8="]);
    await socket.post('451-1["inspect",{"_placeholder":true,"num":0}]');
    await socket.post("b");
    assert.deepEqual(await socket.poll(), ['431[[{"bin":0,"sum":0}]]']);
    await socket.post("1");
  });

  test("a poll waits for the next packet", async () => {
    const socket = await joinedPolling(fixture);
    let answered = false;
    const poll = socket.poll().then((packets) => ((answered = true), packets));
    await socket.post("3");
    assert.equal(answered, false);
    await socket.post('42["echo",7]');
    assert.deepEqual(await poll, ['42["echo-back",7]']);
    await socket.post("1");
  });

  test("POST 1 ends the pending poll with a noop, and the session", async () => {
    const socket = await joinedPolling(fixture);
    const pending = socket.get();
    await socket.post("3");
    const closed = await socket.post("1");
    assert.deepEqual([closed.status, closed.body], [200, "ok"]);
    const answer = await pending;
    assert.deepEqual([answer.status, answer.body], [200, "6"]);
    await dead(socket.sid);
  });

  test("two GETs at once: the first gets 1, the second 400, the session ends", async () => {
    const socket = await joinedPolling(fixture);
    const first = socket.get();
    await socket.post("3");
    const second = await socket.get();
    assert.equal(second.status, 400);
    assert.deepEqual([(await first).status, (await first).body], [200, "1"]);
    await dead(socket.sid);
  });

  test("two POSTs at once: 400, the session ends", async () => {
    const socket = await joinedPolling(fixture);
    const target = `/socket.io/?EIO=4&transport=polling&sid=${socket.sid}`;
    const slow = tcp(fixture, `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n42[`);
    // The first head has to be there before the second; a third request on another path says so.
    await slow.opened;
    await fixture.get("/fixture/health");
    const second = await socket.post("3");
    assert.equal(second.status, 400);
    await dead(socket.sid);
    slow.destroy();
  });

  test("a malformed packet: still ok, then the session is gone", async () => {
    for (const body of ["abc", "9", "42[\x1e", "", "\x1e", "4\x1e\x1e4"]) {
      const socket = await joinedPolling(fixture);
      const answer = await socket.post(body);
      assert.equal(answer.status, 200, JSON.stringify(body));
      assert.equal(answer.body, "ok");
      await dead(socket.sid);
    }
  });

  test("a client that pings is wrong: the session ends", async () => {
    const socket = await joinedPolling(fixture);
    await socket.post("2");
    await dead(socket.sid);
  });

  test("application/octet-stream: 400, the session ends", async () => {
    const socket = await joinedPolling(fixture);
    const answer = await socket.post(Buffer.from([1, 2, 3]), { "content-type": "application/octet-stream" });
    assert.equal(answer.status, 400);
    await dead(socket.sid);
  });

  test("content types that are text, or none at all, are accepted", async () => {
    const socket = await joinedPolling(fixture);
    for (const headers of [{}, { "content-type": "text/plain" }, { "content-type": "text/html; charset=utf-8" }]) {
      assert.equal((await socket.post('42["echo",1]', headers)).body, "ok");
      assert.deepEqual(await socket.poll(), ['42["echo-back",1]']);
    }
    await socket.post("1");
  });

  test("a chunked POST in many pieces, cut inside a character", async () => {
    const socket = await joinedPolling(fixture);
    const body = Buffer.from('42["echo","ünï😀"]');
    const pieces = [...body].map((byte) => Buffer.concat([Buffer.from("1\r\n"), Buffer.from([byte]), Buffer.from("\r\n")]));
    const connection = tcp(fixture, `POST ${socket.target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`);
    for (const piece of pieces) connection.write(piece);
    connection.write("0\r\n\r\n");
    assert.equal((await connection.answer()).status, 200);
    assert.deepEqual(await socket.poll(), ['42["echo-back","ünï😀"]']);
    connection.destroy();
    await socket.post("1");
  });

  test("keep-alive and pipelined requests are answered in order", async () => {
    const socket = await joinedPolling(fixture);
    const post = (body) => `POST ${socket.target} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const connection = tcp(fixture, post('42["echo",1]'));
    await connection.until(() => connection.received.includes("ok"), "the first ok");
    connection.write(post('42["echo",2]'));
    await connection.until(() => connection.received.toString().split("\r\n\r\nok").length === 3, "the second ok");
    connection.write(`GET ${socket.target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await connection.until(() => connection.received.includes('42["echo-back",1]\x1e42["echo-back",2]'), "the poll");
    connection.destroy();
    await socket.post("1");
  });

  test("a poll whose client went away does not lose the session", async () => {
    const socket = await joinedPolling(fixture);
    const pending = tcp(fixture, `GET ${socket.target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await pending.opened;
    await socket.post("3");
    pending.destroy();
    // Node.js closes such a session, others keep it: either way nothing may stay behind.
    await socket.post("1").catch(() => {});
    await fixture.settle();
  });

  test("HEAD, OPTIONS and other methods on a session do no harm", async () => {
    const socket = await joinedPolling(fixture);
    for (const method of ["HEAD", "OPTIONS", "TRACE"]) {
      const { status } = await request(fixture, method, socket.target);
      assert.ok(status >= 200 && status < 600);
    }
    await socket.post("1");
  });

  test("the query is read whatever its order and its extra parameters", async () => {
    const target = `/socket.io/?t=abc123&transport=polling&b64=1&x=%zz&EIO=4&a[b]=c`;
    const answer = await request(fixture, "GET", target);
    assert.equal(answer.status, 200);
    const { sid } = JSON.parse(answer.body.slice(1));
    await request(fixture, "POST", `/socket.io/?sid=${sid}&transport=polling&EIO=4`, { body: "1" });
  });
});

describe("upgrade", () => {
  const open = async () => {
    const socket = await joinedPolling(fixture);
    const next = await ws(fixture, `${EIO}&transport=websocket&sid=${socket.sid}`);
    return { socket, next };
  };

  test("2probe, 3probe, a noop frees the poll, 5, and the session has moved", async () => {
    const { socket, next } = await open();
    const pending = socket.get();
    next.send("2probe");
    assert.equal(await next.take(), "3probe");
    const freed = await pending;
    assert.deepEqual([freed.status, freed.body], [200, "6"]);
    next.send("5");
    next.send('420["echo","moved"]');
    assert.equal(await next.take(), '430["moved"]');
    for (const method of ["GET", "POST"]) {
      const answer = await request(fixture, method, socket.target);
      assert.deepEqual([answer.status, answer.body], [400, ERRORS[3]]);
    }
    next.send('421["whoami"]');
    assert.equal(JSON.parse((await next.take()).slice(3))[0].transport, "websocket");
    next.destroy();
    await fixture.settle();
  });

  test("every poll opened while the upgrade lasts is freed", async () => {
    const { socket, next } = await open();
    next.send("2probe");
    await next.take();
    for (let i = 0; i < 3; i++) assert.deepEqual(await socket.poll(), ["6"]);
    next.send("5");
    next.send('420["echo",1]');
    assert.equal(await next.take(), "430[1]");
    next.destroy();
    await fixture.settle();
  });

  test("events posted while the upgrade is under way are handled, answers come once", async () => {
    const { socket, next } = await open();
    next.send("2probe");
    await next.take();
    await socket.post('420["echo","during"]');
    const packets = (await socket.poll()).filter((p) => p !== "6");
    next.send("5");
    next.send('421["echo","after"]');
    const rest = [await next.find(/^43/)];
    if (packets.length === 0) rest.push(await next.find(/^43/));
    assert.deepEqual([...packets, ...rest], ['430["during"]', '431["after"]']);
    next.destroy();
    await fixture.settle();
  });

  for (const [what, packet] of [
    ["a message", '42["echo",1]'],
    ["a probe with another word", "2other"],
    ["a bare ping", "2"],
    ["a pong", "3"],
    ["an upgrade without probe", "5"],
    ["a close", "1"],
    ["nonsense", "xyz"],
    ["binary", Buffer.from([1, 2])],
  ]) {
    test(`${what} instead of the probe: only the new transport is closed`, async () => {
      const { socket, next } = await open();
      next.send(packet);
      if (what !== "an upgrade without probe") await next.ended();
      await socket.post('420["echo","polling"]');
      const packets = [];
      try {
        while (!packets.some((p) => p.startsWith("430"))) packets.push(...(await socket.poll()));
      } catch (error) {
        // An upgrade that was taken without its probe moves the session; then nothing is lost either.
        if (what !== "an upgrade without probe") throw error;
      }
      next.destroy();
      await request(fixture, "POST", socket.target, { body: "1" });
      await fixture.settle();
    });
  }

  test("a message after the probe, before 5: the new transport is closed, polling goes on", async () => {
    const { socket, next } = await open();
    next.send("2probe");
    await next.take();
    next.send('42["echo","too early"]');
    await next.ended();
    await socket.post('420["echo","polling"]');
    const packets = [];
    while (!packets.some((p) => p.startsWith("430"))) packets.push(...(await socket.poll()));
    assert.ok(!packets.some((p) => p.includes("too early")));
    await socket.post("1");
  });

  test("a second upgrade attempt is closed, the first one completes", async () => {
    const { socket, next } = await open();
    next.send("2probe");
    assert.equal(await next.take(), "3probe");
    await turnedAway(`${EIO}&transport=websocket&sid=${socket.sid}`);
    next.send("5");
    next.send('420["echo",1]');
    assert.equal(await next.find(/^430/), "430[1]");
    await turnedAway(`${EIO}&transport=websocket&sid=${socket.sid}`);
    next.send('421["echo",2]');
    assert.equal(await next.take(), "431[2]");
    next.destroy();
    await fixture.settle();
  });

  test("a session on WebSocket is not taken over by a second one", async () => {
    const socket = await joined(fixture);
    const second = new raw.Ws(fixture, `${EIO}&transport=websocket&sid=${socket.open.sid}`);
    await second.ready.catch(() => {});
    second.send('420["echo","stolen"]');
    socket.send('420["echo",1]');
    assert.equal(await socket.take(), "430[1]");
    await second.ended();
    assert.ok(!second.messages.some((m) => m.includes("stolen")));
    socket.send('421["echo",2]');
    assert.equal(await socket.take(), "431[2]");
    socket.destroy();
  });

  test("probe and upgrade in the segment of the handshake are not lost", async () => {
    const socket = await joinedPolling(fixture);
    const after = Buffer.concat([raw.text("2probe"), raw.text("5"), raw.text('420["echo","quick"]')]);
    const next = await ws(fixture, `${EIO}&transport=websocket&sid=${socket.sid}`, { after });
    assert.equal(await next.take(), "3probe");
    assert.equal(await next.take(), '430["quick"]');
    next.destroy();
    await fixture.settle();
  });

  test("a lost probe leaves the session to polling, and a new probe may follow", async () => {
    const { socket, next } = await open();
    next.send("2probe");
    await next.take();
    next.destroy();
    await next.ended();
    const target = `${EIO}&transport=websocket&sid=${socket.sid}`;
    const again = await waitFor(async () => {
      const ws2 = await ws(fixture, target);
      ws2.send("2probe");
      return (await ws2.take(1000)) === "3probe" && ws2;
    }, "a second probe");
    again.send("5");
    again.send('420["echo",1]');
    assert.equal(await again.find(/^430/), "430[1]");
    again.destroy();
    await fixture.settle();
  });
});

describe("heartbeat", () => {
  let quick;
  before(async () => (quick = await startFixture({ profile: "protocol" })));
  after(() => quick.stop());

  test("WebSocket: the first ping after the interval, the next after the pong", async () => {
    const socket = await joined(quick);
    socket.autopong = false;
    let last = Date.now();
    await socket.find(/^42\["auth"/);
    for (let i = 0; i < 3; i++) {
      assert.equal(await socket.take(1000), "2");
      const passed = Date.now() - last;
      assert.ok(passed >= 240 && passed <= 500, `ping ${i} after ${passed} ms`);
      last = Date.now();
      socket.send("3");
    }
    const started = Date.now();
    assert.equal(await socket.take(1000), "2");
    await socket.ended(1500);
    assert.ok(Date.now() - started < 1200);
    await quick.settle();
  });

  test("polling: pings end the poll; without pong the session ends", async () => {
    const socket = await joinedPolling(quick);
    for (let i = 0; i < 3; i++) {
      const packets = await socket.poll();
      if (packets[0].startsWith("42")) packets.splice(0, 1, ...(await socket.poll()));
      assert.deepEqual(packets, ["2"]);
      await socket.post("3");
    }
    assert.deepEqual(await socket.poll(), ["2"]);
    await quick.settle(undefined, 2000);
    const { body } = await socket.get();
    assert.equal(body, ERRORS[1]);
  });

  test("a client's ping, an unknown type and rubbish close; a noop is ignored", async () => {
    for (const packet of ["2", "2hello", "7", "x", ""]) {
      const socket = await joined(quick);
      socket.send(packet);
      await socket.ended(2000).catch((error) => assert.fail(`${JSON.stringify(packet)}: ${error.message}`));
    }
    const socket = await joined(quick);
    socket.send("6");
    socket.send('42["message",1]');
    assert.equal(await socket.find(/message-back/), '42["message-back",1]');
    socket.destroy();
  });

  test("a close packet on a WebSocket ends the session at the latest with the heartbeat", async () => {
    const socket = await joined(quick);
    socket.send("1");
    socket.autopong = false;
    await quick.settle(undefined, 2000);
  });

  test("surplus pongs are harmless", async () => {
    const socket = await joined(quick);
    for (let i = 0; i < 500; i++) socket.send("3");
    socket.send('42["message",2]');
    assert.equal(await socket.find(/message-back/), '42["message-back",2]');
    socket.destroy();
  });
});
