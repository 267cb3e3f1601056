import assert from "node:assert/strict";
import test from "node:test";
import { fakeClock, settle, start } from "./support.js";

test("a request resolves with the first argument of its answer", async (t) => {
  fakeClock(t);
  const { network, socket } = start();
  const server = await network.admit();
  server.take();
  const first = socket.request("join", ["lobby", { name: "Ada" }]);
  const second = socket.request("rooms");
  assert.deepEqual(server.take(), ['420["join","lobby",{"name":"Ada"}]', '421["rooms"]']);
  server.receive('431["second"]', '430[{"room":"lobby"}]', '430["twice"]', '4399["nobody asked"]');
  assert.deepEqual(await Promise.all([first, second]), [{ room: "lobby" }, "second"]);
});

test("an answer in the form of an error rejects with it", async (t) => {
  fakeClock(t);
  const { network, socket } = start();
  const server = await network.admit();
  const request = socket.request("publish", ["x"]);
  server.receive(
    '430[{"error":{"code":"not_a_member","message":"join first","data":{"room":"x"}}}]',
  );
  await assert.rejects(request, {
    name: "SockeyeError",
    code: "not_a_member",
    message: "join first",
    data: { room: "x" },
    remote: true,
  });
});

test("a request without an answer times out at its deadline; a late answer is ignored", async (t) => {
  const clock = fakeClock(t);
  const { network, socket } = start({ ackTimeout: 3_000 });
  const server = await network.admit();
  const errors = [];
  socket.request("a", [], { timeout: 500 }).catch((error) => errors.push(error));
  socket.request("b").catch((error) => errors.push(error));
  await clock.advance(499);
  assert.equal(errors.length, 0);
  await clock.advance(1);
  assert.deepEqual(
    errors.map(({ code, isTimeout }) => [code, isTimeout]),
    [["timeout", true]],
  );
  server.receive('430["late"]');
  await clock.advance(2_499);
  assert.equal(errors.length, 1);
  await clock.advance(1);
  assert.equal(errors.length, 2);
});

test("a request whose connection breaks fails at once, one still queued does not", async (t) => {
  const clock = fakeClock(t);
  const { network, socket } = start();
  await network.admit();
  const sent = socket.request("sent");
  sent.catch(() => {});
  network.last.end(1006);
  const queued = socket.request("queued", [], { timeout: Infinity });
  await assert.rejects(sent, { code: "disconnected" });
  await clock.advance(1_000);
  const server = await network.admit();
  assert.equal(server.take().at(-1), '421["queued"]');
  server.receive('431["yes"]');
  assert.equal(await queued, "yes");
});

test("the server's requests are answered once, binary included", async (t) => {
  fakeClock(t);
  const { network, socket } = start();
  const server = await network.admit();
  server.take();
  socket.on("ask", (question, reply) => {
    reply(question + 1, new Uint8Array([5]));
    reply("again");
  });
  server.receive('427["ask",41]');
  assert.deepEqual(server.take(), ['461-7[42,{"_placeholder":true,"num":0}]', new Uint8Array([5])]);
});

test("an answer to a request of a connection that is gone goes nowhere", async (t) => {
  const clock = fakeClock(t);
  const { network, socket } = start();
  let reply;
  socket.on("ask", (given) => (reply = given));
  (await network.admit()).receive('427["ask"]');
  network.last.end(1006);
  await clock.advance(1_000);
  const server = await network.admit();
  server.take();
  reply("too late");
  assert.deepEqual(server.take(), []);
  await settle();
});
