import assert from "node:assert/strict";
import test from "node:test";
import { fakeClock, settle, start } from "./support.js";

test("what is sent while away is kept in order, up to the bound in count", async (t) => {
  fakeClock(t);
  const { network, socket, told } = start({ queue: { count: 3 } });
  const outcomes = [1, 2, 3, 4, 5].map((n) => socket.emit("n", n));
  assert.deepEqual(outcomes, ["queued", "queued", "queued", "refused", "refused"]);
  assert.deepEqual(told("refused"), [
    { event: "n", code: "queue_full" },
    { event: "n", code: "queue_full" },
  ]);
  assert.equal(socket.queued.count, 3);
  const server = await network.admit();
  assert.deepEqual(server.take(), ["40", '42["n",1]', '42["n",2]', '42["n",3]']);
  assert.deepEqual(socket.queued, { count: 0, bytes: 0 });
  assert.equal(socket.emit("n", 6), "sent");
});

test("the bound in bytes counts UTF-8 and attachments", async (t) => {
  fakeClock(t);
  const { socket } = start({ queue: { bytes: 100 } });
  const overhead = '42["x",""]'.length;
  assert.equal(socket.emit("x", "€".repeat(8) + "😀".repeat(2) + "éőж"), "queued");
  assert.equal(socket.queued.bytes, overhead + 38);
  assert.equal(socket.emit("x", new Uint8Array(60)), "refused");
  assert.equal(socket.emit("x", "y".repeat(100 - 2 * overhead - 38)), "queued");
  assert.equal(socket.queued.bytes, 100);
  assert.equal(socket.emit("x"), "refused");
});

test("a refused request says so", async (t) => {
  fakeClock(t);
  const { socket } = start({ queue: { count: 0 } });
  await assert.rejects(socket.request("x"), {
    name: "SockeyeError",
    code: "queue_full",
    remote: false,
  });
});

// Rooms are joined again from the watcher: a message for a room must not overtake that.
test("what the watcher of `connect` sends goes before the queue", async (t) => {
  fakeClock(t);
  const { network, socket } = start();
  socket.watch("connect", () => socket.emit("join", "lobby"));
  socket.emit("publish", "lobby");
  const server = await network.admit();
  assert.deepEqual(server.take(), ["40", '42["join","lobby"]', '42["publish","lobby"]']);
});

test("a queued request that times out or is aborted is not sent later", async (t) => {
  const clock = fakeClock(t);
  const { network, socket } = start();
  const abort = new AbortController();
  const requests = [
    socket.request("late", [], { timeout: 100 }),
    socket.request("aborted", [], { signal: abort.signal }),
    socket.request("patient", [], { timeout: Infinity }),
  ];
  const outcomes = Promise.allSettled(requests.slice(0, 2));
  abort.abort();
  await clock.advance(100);
  assert.deepEqual(
    (await outcomes).map(({ reason }) => reason.code),
    ["timeout", "aborted"],
  );
  assert.deepEqual(socket.queued, { count: 1, bytes: '422["patient"]'.length });
  const server = await network.admit();
  assert.deepEqual(server.take(), ["40", '422["patient"]']);
  server.receive('432["done"]');
  assert.equal(await requests[2], "done");
});

test("an attachment is queued as it was when it was sent", async (t) => {
  fakeClock(t);
  const { network, socket } = start();
  const buffer = new Uint8Array([1, 2, 3]);
  socket.emit("b", buffer.subarray(1));
  buffer.fill(0);
  const server = await network.admit();
  assert.deepEqual(server.take().at(-1), new Uint8Array([2, 3]));
});

test("nothing that waited is lost in silence when the end is final", async (t) => {
  fakeClock(t);
  const { socket, told } = start();
  socket.emit("a");
  const request = socket.request("b");
  request.catch(() => {});
  await socket.disconnect();
  await assert.rejects(request, { code: "closed" });
  assert.deepEqual(told("refused"), [
    { event: "a", code: "closed" },
    { event: "b", code: "closed" },
  ]);
  assert.equal(socket.emit("c"), "refused");
});

test("packets that the server would close the connection for are refused here", async (t) => {
  fakeClock(t);
  const { network, socket, told } = start({ maxAttachments: 2 });
  await network.admit({ sid: "id" }, { maxPayload: 50 });
  assert.equal(socket.emit("x", "y".repeat(50 - '42["x",""]'.length)), "sent");
  assert.equal(socket.emit("x", "y".repeat(51 - '42["x",""]'.length)), "refused");
  assert.equal(socket.emit("x", new Uint8Array(51)), "refused");
  const three = [1, 2, 3].map(() => new Uint8Array(1));
  assert.equal(socket.emit("x", three), "refused");
  assert.deepEqual(
    told("refused").map(({ code }) => code),
    ["too_large", "too_large", "too_many_attachments"],
  );
  assert.throws(() => socket.emit("disconnect"), TypeError);
  assert.equal(socket.connected, true);
});

test("a connection that does not take what is sent refuses more", async (t) => {
  fakeClock(t);
  const { network, socket } = start({ maxPending: 100 });
  const server = await network.admit();
  assert.equal(socket.emit("x", "y".repeat(200)), "sent", "one always goes");
  server.bufferedAmount = 90;
  assert.equal(socket.emit("x", "y".repeat(20)), "refused");
  server.bufferedAmount = 0;
  assert.equal(socket.emit("x", "y".repeat(20)), "sent");
  await settle();
});
