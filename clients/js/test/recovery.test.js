import assert from "node:assert/strict";
import test from "node:test";
import { fakeClock, settle, start } from "./support.js";

const reconnect = { base: 1, cap: 1 };

/** What the newest socket said to join the namespace. */
async function connectPacket(network) {
  network.last.open();
  await settle();
  const [text] = network.last.take();
  assert.ok(text.startsWith("40"));
  return text === "40" ? undefined : JSON.parse(text.slice(2));
}

async function breakAndReturn(network, clock) {
  network.last.end(1006);
  await clock.advance(1);
  return connectPacket(network);
}

test("a session is taken up again with its id and the last offset", async (t) => {
  const clock = fakeClock(t);
  const { network, socket, told } = start({ reconnect, auth: { token: "t" } });
  const got = [];
  socket.on("m", (...args) => got.push(args));

  assert.deepEqual(await connectPacket(network), { token: "t" });
  network.last.receive(
    '40{"sid":"a","pid":"p1"}',
    '42["m",1,"offset-1"]',
    '42["m",2,"offset-2"]',
    '42["m",3]',
  );
  assert.deepEqual(await breakAndReturn(network, clock), {
    pid: "p1",
    offset: "offset-2",
    token: "t",
  });

  // The server writes what was missed before it says that the session was recovered.
  network.last.receive('42["m",4,"offset-4"]');
  assert.equal(got.length, 3, "kept until the session is known to be recovered");
  network.last.receive('40{"sid":"a","pid":"p1"}', '42["m",5,"offset-5"]');
  assert.deepEqual(
    got.map(([n]) => n),
    [1, 2, 3, 4, 5],
  );
  assert.equal(socket.recovered, true);
  assert.deepEqual(
    told("connect").map(({ recovered }) => recovered),
    [false, true],
  );
  assert.deepEqual(await breakAndReturn(network, clock), {
    pid: "p1",
    offset: "offset-5",
    token: "t",
  });
});

test("a session that was not recovered starts without the offset of the old one", async (t) => {
  const clock = fakeClock(t);
  const { network, socket } = start({ reconnect });
  await connectPacket(network);
  network.last.receive('40{"sid":"a","pid":"p1"}', '42["m","offset-1"]');
  assert.deepEqual(await breakAndReturn(network, clock), { pid: "p1", offset: "offset-1" });
  network.last.receive('40{"sid":"b","pid":"p2"}');
  assert.equal(socket.recovered, false);
  assert.equal(socket.id, "b");
  assert.deepEqual(await breakAndReturn(network, clock), { pid: "p2" });
});

test("only strings of events that a recovering server sends unasked are offsets", async (t) => {
  const clock = fakeClock(t);
  const { network } = start({ reconnect });
  await connectPacket(network);
  network.last.receive('40{"sid":"a"}', '42["m","text"]');
  assert.equal(await breakAndReturn(network, clock), undefined);
  network.last.receive('40{"sid":"a","pid":"p1"}', '427["m","text"]');
  assert.deepEqual(await breakAndReturn(network, clock), { pid: "p1" });
});

test("whoever leaves on purpose comes back as somebody new", async (t) => {
  fakeClock(t);
  const { network, socket } = start({ reconnect });
  await network.admit({ sid: "a", pid: "p1" });
  await socket.disconnect();
  socket.connect();
  assert.equal(await connectPacket(network), undefined);
});

test("auth may be a function, asked at every connection, also after it failed", async (t) => {
  const clock = fakeClock(t);
  let asked = 0;
  const auth = async () => {
    asked += 1;
    if (asked === 2) throw new Error("token service is down");
    return { asked };
  };
  const { network, told } = start({ reconnect, auth });
  assert.deepEqual(await connectPacket(network), { asked: 1 });
  network.last.receive('40{"sid":"a"}');
  network.last.end(1006);
  await clock.advance(1);
  network.last.open();
  await settle();
  assert.deepEqual(
    told("error").map(({ code, message }) => [code, message]),
    [["auth", "auth: token service is down"]],
  );
  await clock.advance(1);
  assert.deepEqual(await connectPacket(network), { asked: 3 });
});
