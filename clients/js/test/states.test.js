import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../sockeye.js";
import { fakeClock, Network, settle, start } from "./support.js";

/** Stands in for the browser's window and document. */
function fakePage(t) {
  let listening = 0;
  class Target extends EventTarget {
    addEventListener(name, listener, { signal }) {
      super.addEventListener(name, listener, { signal });
      listening += 1;
      signal.addEventListener("abort", () => (listening -= 1));
    }
  }
  const page = new Target();
  const document = Object.assign(new Target(), { visibilityState: "visible" });
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.document = document;
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.document;
  });
  return {
    listeners: () => listening,
    fire: (name) => page.dispatchEvent(new Event(name)),
    show(visibilityState) {
      document.visibilityState = visibilityState;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

test("the four states, each transition told once", async (t) => {
  const clock = fakeClock(t);
  const { network, socket, told } = start({ autoConnect: false });
  assert.equal(socket.state, "disconnected");
  socket.connect();
  await network.admit();
  assert.deepEqual([socket.state, socket.id, socket.transport], ["connected", "id", "websocket"]);
  network.last.end(1006);
  await clock.advance(1_000);
  await network.admit();
  const closed = socket.disconnect();
  assert.equal(socket.state, "disconnecting");
  assert.equal(network.last.sent.at(-1), "41");
  await closed;
  assert.deepEqual(told("state"), [
    "connecting",
    "connected",
    "disconnected",
    "connecting",
    "connected",
    "disconnecting",
    "disconnected",
  ]);
  assert.deepEqual(told("disconnect"), [
    { reason: "transport close", detail: "code 1006", willReconnect: true },
    { reason: "io client disconnect", detail: "code 1000", willReconnect: false },
  ]);
  await clock.advance(100_000);
  assert.equal(network.sockets.length, 2);
});

test("an orderly close that hangs is cut short", async (t) => {
  const clock = fakeClock(t);
  const { network, socket } = start();
  const server = await network.admit();
  server.closeHangs = true;
  let done = false;
  socket.disconnect().then(() => (done = true));
  await clock.advance(1_999);
  assert.equal(done, false);
  await clock.advance(1);
  assert.equal(done, true);
  assert.equal(socket.state, "disconnected");
});

test("whom the server sends away stays away", async (t) => {
  const clock = fakeClock(t);
  const { network, socket, told } = start();
  (await network.admit()).receive("41");
  assert.deepEqual(told("disconnect"), [
    { reason: "io server disconnect", detail: "", willReconnect: false },
  ]);
  await clock.advance(1_000_000);
  assert.equal(network.sockets.length, 1);
  assert.equal(socket.state, "disconnected");
});

test("whom the server does not admit stays away until told to connect", async (t) => {
  const clock = fakeClock(t);
  const { network, socket, told } = start();
  network.last.open();
  await settle();
  network.last.receive('44{"message":"bad token","data":{"hint":1}}');
  const [error] = told("error");
  assert.deepEqual(
    [error.code, error.message, error.data, error.remote],
    ["connect_refused", "bad token", { hint: 1 }, true],
  );
  await clock.advance(1_000_000);
  assert.equal(network.sockets.length, 1);
  socket.connect();
  await network.admit();
  assert.ok(socket.connected);
});

test("pings are answered; a silent server is given up at interval plus timeout", async (t) => {
  const clock = fakeClock(t);
  const { network, told } = start();
  const server = await network.admit();
  server.take();
  for (let i = 0; i < 3; i++) {
    await clock.advance(25_000);
    server.receive("2");
    assert.deepEqual(server.take(), ["3"]);
  }
  await clock.advance(44_999);
  assert.equal(told("disconnect").length, 0);
  await clock.advance(200);
  await clock.advance(200);
  assert.equal(told("disconnect")[0].reason, "ping timeout");
});

test("a ping that waited behind a stalled page counts", async (t) => {
  const clock = fakeClock(t);
  const { network, told } = start();
  const server = await network.admit();
  await clock.advance(45_050);
  server.receive("2");
  await clock.advance(10_000);
  assert.equal(told("disconnect").length, 0);
});

test("a page that slept notices at once on return, or when it sends", async (t) => {
  const clock = fakeClock(t);
  const page = fakePage(t);
  for (const wake of [(socket) => page.show("visible"), (socket) => socket.emit("x")]) {
    const { network, socket, told } = start();
    await network.admit();
    page.show("hidden");
    // The clock goes on while timers do not.
    const now = Date.now() + 60_000;
    const realNow = Date.now;
    Date.now = () => now;
    wake(socket);
    Date.now = realNow;
    assert.equal(told("disconnect")[0].reason, "ping timeout");
    await socket.disconnect();
    await clock.advance(1);
  }
});

test("going offline ends the connection, coming online or into view tries at once", async (t) => {
  const clock = fakeClock(t);
  const page = fakePage(t);
  const { network, socket, told } = start({ reconnect: { base: 1e9, cap: 1e9 } });
  await network.admit();
  for (const back of [
    () => page.fire("online"),
    () => page.show("visible"),
    () => page.fire("pageshow"),
  ]) {
    const before = network.sockets.length;
    page.fire("offline");
    assert.equal(told("disconnect").at(-1).detail, "the browser is offline");
    assert.equal(socket.state, "disconnected");
    await clock.advance(1);
    assert.equal(network.sockets.length, before);
    back();
    assert.equal(network.sockets.length, before + 1);
    await network.admit();
    assert.ok(socket.connected);
  }
  assert.ok(page.listeners() > 0);
  await socket.disconnect();
  assert.equal(page.listeners(), 0, "a closed socket no longer listens to the page");
});

test("a server that says nothing, or does not admit, is given up at the deadline", async (t) => {
  const clock = fakeClock(t);
  const { network, told } = start({ connectTimeout: 5_000, reconnect: { base: 1, cap: 1 } });
  await clock.advance(5_000);
  assert.match(told("error")[0].message, /did not open within 5000 ms/);
  await clock.advance(1);
  network.last.open();
  await clock.advance(5_000);
  assert.match(told("error")[1].message, /did not admit/);
});

test("what is not the protocol ends the connection with a parse error", async (t) => {
  const clock = fakeClock(t);
  for (const frame of ["9", "42{}", "4", "0{}", new ArrayBuffer(1)]) {
    const { network, told, socket } = start();
    (await network.admit()).receive(frame);
    assert.equal(told("disconnect")[0].reason, "parse error", String(frame));
    await socket.disconnect();
  }
  await clock.advance(1);
});

test("a connection that was given up has no say any more", async (t) => {
  const clock = fakeClock(t);
  const { network, socket, told } = start({ reconnect: { base: 1, cap: 1 } });
  const got = [];
  socket.on("x", (value) => got.push(value));
  const old = await network.admit({ sid: "old" });
  const { onmessage } = old;
  old.receive("49");
  await clock.advance(1);
  await network.admit({ sid: "new" });
  for (const data of ['42["x",1]', "41", "1", "9"]) onmessage({ data });
  old.fail();
  assert.deepEqual(got, []);
  assert.equal(socket.id, "new");
  assert.equal(told("disconnect").length, 1);
});

test("a listener that throws harms nobody", async (t) => {
  fakeClock(t);
  const errors = [];
  globalThis.reportError = (error) => errors.push(error.message);
  t.after(() => delete globalThis.reportError);
  const { network, socket } = start();
  const server = await network.admit();
  const got = [];
  socket.on("x", () => {
    throw new Error("mine");
  });
  const end = socket.on("x", (value) => got.push(value));
  server.receive('42["x",1]', '42["x",2]');
  end();
  server.receive('42["x",3]');
  assert.deepEqual(got, [1, 2]);
  assert.deepEqual(errors, ["mine", "mine", "mine"]);
  assert.ok(socket.connected);
});

test("another namespace is the path of the address", async (t) => {
  fakeClock(t);
  const network = new Network();
  const socket = connect("https://server.test/admin?x=1", {
    WebSocket: network.WebSocket,
    query: { y: "2" },
  });
  assert.equal(
    network.last.url.href,
    "wss://server.test/socket.io/?x=1&y=2&EIO=4&transport=websocket",
  );
  network.last.open();
  await settle();
  assert.deepEqual(network.last.take(), ["40/admin,"]);
  network.last.receive('40/admin,{"sid":"a"}', '42["other namespace"]');
  assert.ok(socket.connected);
});
