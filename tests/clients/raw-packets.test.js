// Socket.IO packets byte by byte: what passes untouched, what ends the connection.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { exceptNode, finish, startFixture } = require("./lib/fixture");
const raw = require("./lib/raw");

const { joined, joinedPolling, session } = raw;

let fixture;
before(async () => (fixture = await startFixture()));
after(() => finish(fixture));
afterEach(async () => {
  await raw.closeAll();
  await fixture.settle();
});

const P = (num) => `{"_placeholder":true,"num":${num}}`;

describe("values pass byte for byte", () => {
  const same = [
    '"\\ud83d\\ude00"',
    '"tab \\t quote \\" backslash \\\\"',
    "[]",
    '{"a":[{}]}',
    "0",
    "-1.5",
    '"plain ünïcode 😀 \u2028"',
    '{"_placeholder":true,"num":0}',
    '{"_placeholder":true,"num":"x"}',
  ];
  const exact = [
    "12345678901234567890123",
    "0.1000",
    "1E5",
    "-0",
    "1e-400",
    "3.141592653589793238462643383279502884197",
    '{"a":1,"a":2}',
    '{ "spaced" : [ 1 , 2 ] }',
    '"\\/"',
    '"\\u0041"',
    '"\\ud800"',
    '"\\udc00\\ud800 x"',
    '{"__proto__":{"x":1},"constructor":{"prototype":1}}',
  ];
  test("on WebSocket and in polling, with and without ack", async () => {
    const socket = await joined(fixture);
    const polling = await joinedPolling(fixture);
    for (const value of same) {
      socket.send(`42["echo",${value}]`);
      socket.send(`427["echo",${value}]`);
      const expected = value.replace("\\ud83d\\ude00", "😀");
      for (const head of ['42["echo-back",', "437["]) {
        const got = await socket.take();
        assert.ok(got === `${head}${value}]` || got === `${head}${expected}]`, got);
      }
      await polling.post(`427["echo",${value}]`);
      const [polled] = await polling.poll();
      assert.ok(polled === `437[${value}]` || polled === `437[${expected}]`, polled);
    }
    socket.destroy();
    await polling.post("1");
  });

  test("numbers, escapes, spaces and doubled keys keep their spelling", exceptNode("parses and prints again"), async () => {
    const socket = await joined(fixture);
    const polling = await joinedPolling(fixture);
    for (const value of exact) {
      socket.send(`427["echo",${value}]`);
      assert.equal(await socket.take(), `437[${value}]`);
      socket.send(`42["echo",1,${value}]`);
      assert.equal(await socket.take(), `42["echo-back",1,${value}]`);
      await polling.post(`427["echo",${value}]`);
      assert.deepEqual(await polling.poll(), [`437[${value}]`]);
      socket.send(`42["in",[],[],"e",[${value}]]`);
      assert.equal(await socket.take(), `42["e",${value}]`);
      assert.deepEqual(await polling.poll(), [`42["e",${value}]`]);
    }
    socket.destroy();
    await polling.post("1");
  });

  test("lone surrogate escapes survive", async () => {
    const socket = await joined(fixture);
    for (const value of ['"\\ud800"', '"a\\udfffb"', '{"\\ud800":1}']) {
      socket.send(`420["echo",${value}]`);
      assert.equal(await socket.take(), `430[${value}]`);
    }
    socket.destroy();
  });
});

describe("layout", () => {
  const answered = [
    ["a large ack id", '42999999999["echo",1]', "43999999999[1]"],
    ["ack id 0", '420["echo"]', "430[]"],
    ["a namespace named /", '42/,0["echo",1]', "430[1]"],
    ["several arguments", '421["echo",1,"2",[3],{"four":null}]', '431[1,"2",[3],{"four":null}]'],
    ["a numeric event name is ignored", '42[123,4]', null],
    ["an unknown acknowledgement", "4399[1]", null],
    ["an empty acknowledgement", "430[]", null],
    ["an event of digits", '421["1","2"]', null],
  ];
  for (const [what, packet, answer] of answered) {
    test(what, async () => {
      const socket = await joined(fixture);
      socket.send(packet);
      socket.send('4277["echo","end"]');
      const got = [await socket.take()];
      while (!got.at(-1).startsWith("4377")) got.push(await socket.take());
      assert.deepEqual(got, [...(answer === null ? [] : [answer]), '4377["end"]']);
      socket.destroy();
    });
  }

  test("an acknowledgement by someone else does not count", async () => {
    const asked = await joined(fixture);
    const other = await joined(fixture);
    asked.send('42["call-me",300,"q"]');
    const [, id] = /^42(\d+)\["q"\]$/.exec(await asked.take());
    other.send(`43${id}["forged"]`);
    other.send('420["echo",1]');
    await other.take();
    assert.equal(await asked.take(), '42["call-result",{"ok":false,"error":"timeout"}]');
    for (const socket of [asked, other]) socket.destroy();
  });

  test("an acknowledgement counts once", async () => {
    const socket = await joined(fixture);
    socket.send('42["call-me",2000,"q"]');
    const [, id] = /^42(\d+)\["q"\]$/.exec(await socket.take());
    socket.send(`43${id}["first"]`);
    socket.send(`43${id}["second"]`);
    assert.equal(await socket.take(), '42["call-result",{"ok":true,"args":["first"]}]');
    socket.send('420["echo",1]');
    assert.equal(await socket.take(), "430[1]");
    socket.destroy();
  });
});

describe("what ends the connection", () => {
  const fatal = [
    ["an unknown packet type", ["47"]],
    ["type 8", ['48["x"]']],
    ["no type", ["4"]],
    ["not JSON", ["42nonsense"]],
    ["JSON cut short", ['42["echo",1']],
    ["something behind the JSON", ['42["echo"]]']],
    ["an object as event", ['42{"a":1}']],
    ["a string as event", ['42"echo"']],
    ["an empty array as event", ["42[]"]],
    ["null as event name", ["42[null]"]],
    ["an object as event name", ['42[{"a":1}]']],
    ["a DISCONNECT with payload", ['41{"a":1}']],
    ["a CONNECT_ERROR from a client", ['44{"message":"x"}']],
    ["a second CONNECT", ["40"]],
    ["an event for a namespace not joined", ['42/custom,["echo"]']],
    ["an ack that is no array", ["430{}"]],
    ["a trailing comma", ['42["echo",]']],
    ["a single quote", ["42['echo']"]],
    ["NaN", ['42["echo",NaN]']],
    ["a leading zero", ['42["echo",01]']],
    ["a raw control character in a string", ['42["echo","\n"]']],
    ["binary nobody announced", [Buffer.from([1, 2, 3])]],
    ["an attachment count without dash", ['451["echo"]']],
    ["an attachment count that is no number", ['45x-["echo"]']],
    ["a negative attachment count", ['45-1-["echo"]']],
    ["eleven attachments", [`4511-["echo",${P(0)}]`]],
    ["a million attachments", [`451000000-["echo",${P(0)}]`]],
    ["an endless attachment count", [`45${"9".repeat(400)}-["echo",${P(0)}]`]],
    ["text while attachments are due", [`451-["echo",${P(0)}]`, '42["echo"]']],
    ["a placeholder out of range", [`451-["echo",${P(1)}]`, Buffer.from([1])]],
    ["a negative placeholder", [`451-["echo",${P(-1)}]`, Buffer.from([1])]],
    ["a placeholder that is no number", [`451-["echo",${P('"x"')}]`, Buffer.from([1])]],
    ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((name) => [
      `the reserved event ${name}`,
      [`42["${name}",1]`],
    ]),
    ["a reserved event with attachments", [`451-["disconnect",${P(0)}]`, Buffer.from([1])]],
  ];
  // What the JavaScript decoder lets through.
  const lenient = new Set(["a CONNECT_ERROR from a client"]);
  for (const [what, packets] of fatal) {
    test(what, async () => {
      const socket = await joined(fixture);
      for (const packet of packets) socket.send(packet);
      if (lenient.has(what)) socket.write(raw.frame(8, Buffer.from([3, 232])));
      await socket.ended();
      assert.deepEqual(socket.messages.slice(2).filter((m) => m !== "1"), []);
    });
  }

  for (const payload of ['"text"', "[1]", "true", "nonsense", '{"a":']) {
    test(`CONNECT with payload ${payload}`, async () => {
      const socket = await session(fixture);
      socket.send(`40${payload}`);
      await socket.ended();
      assert.ok(!socket.messages.some((m) => m.startsWith("40")));
    });
  }

  test("an event before CONNECT", async () => {
    for (const packet of ['42["echo"]', "430[]", "41"]) {
      const socket = await session(fixture);
      socket.send(packet);
      await socket.ended();
    }
  });

  test("in polling too", async () => {
    for (const body of ["42nonsense", '42["disconnect"]', "40", `451-["echo",${P(0)}]\x1e42["echo"]`]) {
      const socket = await joinedPolling(fixture);
      assert.equal((await socket.post(body)).status, 200);
      // A server may keep the end for the next poll.
      await socket.get();
      await fixture.settle();
    }
  });
});

describe("attachments", () => {
  test("zero of them: an ordinary event", exceptNode("the decoder waits for ever"), async () => {
    const socket = await joined(fixture);
    socket.send('450-["echo",1]');
    assert.equal(await socket.take(), '42["echo-back",1]');
    socket.send('450-3["echo",2]');
    assert.equal(await socket.take(), "433[2]");
    socket.send('424["echo",3]');
    assert.equal(await socket.take(), "434[3]");
    socket.destroy();
  });

  test("ten are accepted, in any order of placeholders", async () => {
    const socket = await joined(fixture);
    const order = [9, 0, 8, 1, 7, 2, 6, 3, 5, 4];
    socket.send(`4510-0["inspect",${order.map(P).join(",")}]`);
    for (let i = 0; i < 10; i++) socket.send(Buffer.alloc(i + 1, 1));
    const [list] = JSON.parse((await socket.take()).slice(3));
    assert.deepEqual(list, order.map((n) => ({ bin: n + 1, sum: n + 1 })));
    socket.destroy();
  });

  test("one used twice, or not at all, does no harm", async () => {
    const socket = await joined(fixture);
    socket.send(`451-0["inspect",${P(0)},${P(0)}]`);
    socket.send(Buffer.from([7]));
    socket.send('451-1["inspect","none"]');
    socket.send(Buffer.from([7]));
    await socket.until(() => socket.closed || socket.messages.length >= 4, "answers or the end");
    if (!socket.closed) {
      assert.equal(socket.messages[2], '430[[{"bin":1,"sum":7},{"bin":1,"sum":7}]]');
      assert.equal(socket.messages[3], '431[["none"]]');
    }
    socket.destroy();
  });

  test("a binary packet and its attachments come contiguous, whatever else is sent", async () => {
    const [a, b] = [await joined(fixture), await joined(fixture)];
    for (let i = 0; i < 200; i++) {
      a.send(`452-["in",[],[],"two",[${P(0)},${P(1)}]]`);
      a.send(Buffer.from([1, i]));
      a.send(Buffer.from([2, i]));
      b.send('42["in",[],[],"plain",[]]');
      b.write(raw.frame(9, "ping"));
    }
    await b.until(() => b.messages.filter((m) => m === '42["plain"]').length === 200 &&
      b.messages.filter((m) => typeof m !== "string").length === 400, "everything");
    const { messages } = b;
    for (const [i, message] of messages.entries()) {
      if (typeof message !== "string" || !message.startsWith("452-")) continue;
      assert.equal(messages[i + 1][0], 1);
      assert.equal(messages[i + 2][0], 2);
      assert.equal(messages[i + 1][1], messages[i + 2][1]);
    }
    for (const socket of [a, b]) socket.destroy();
  });
});
