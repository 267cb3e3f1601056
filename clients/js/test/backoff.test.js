import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { backoffDelay } from "../sockeye.js";
import { fakeClock, settle, start } from "./support.js";

/** An even distribution that is the same in every run. */
function generator(seed = 1) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

test("delays stay below base · 2ⁿ and below the cap, and reach close to both ends", () => {
  const bounds = { base: 100, cap: 2_000 };
  for (let failures = 0; failures < 2_000; failures = failures < 12 ? failures + 1 : failures * 7) {
    const limit = Math.min(2_000, 100 * 2 ** failures);
    const random = generator(failures + 1);
    const delays = Array.from({ length: 4_000 }, () => backoffDelay(failures, bounds, random));
    assert.ok(Math.min(...delays) >= 0 && Math.max(...delays) < limit);
    assert.ok(
      Math.min(...delays) < limit * 0.01 && Math.max(...delays) > limit * 0.99,
      `failures ${failures}`,
    );
  }
});

// A cap that is applied after the jitter has clients that were away for long retry on one grid.
test("the jitter does not collapse at the cap: every tenth of the range gets its tenth", () => {
  const random = generator();
  const counts = new Array(10).fill(0);
  for (let i = 0; i < 20_000; i++)
    counts[Math.floor(backoffDelay(30, { base: 1, cap: 10 }, random))] += 1;
  for (const count of counts) assert.ok(count > 1_800 && count < 2_200, counts.join(" "));
});

test("attempts follow the announced delays, and end at the limit", async (t) => {
  const clock = fakeClock(t);
  t.after(() => mock.restoreAll());
  mock.method(Math, "random", () => 0.5);
  const { network, socket, told } = start({ reconnect: { base: 1_000, cap: 3_000, attempts: 4 } });
  network.last.fail();
  for (const [i, delay] of [500, 1_000, 1_500, 1_500].entries()) {
    assert.deepEqual(told("retry").at(-1), { attempt: i + 1, delay });
    assert.ok(socket.willReconnect);
    await clock.advance(delay - 1);
    assert.equal(network.sockets.length, i + 1, "not before its time");
    await clock.advance(1);
    assert.equal(network.sockets.length, i + 2);
    assert.equal(socket.state, "connecting");
    network.last.fail();
  }
  assert.deepEqual(told("giveup"), [{ attempts: 4 }]);
  assert.equal(socket.state, "disconnected");
  assert.equal(socket.willReconnect, false);
  await clock.advance(100_000);
  assert.equal(network.sockets.length, 5);
});

test("the backoff grows while connections do not last, and starts afresh after one that did", async (t) => {
  const clock = fakeClock(t);
  const { network, told } = start({ reconnect: { base: 1, cap: 1 } });
  for (let i = 1; i <= 3; i++) {
    await network.admit();
    network.last.end(1006);
    assert.equal(told("retry").at(-1).attempt, i);
    await clock.advance(1);
  }
  await network.admit();
  await clock.advance(10_000);
  network.last.end(1006);
  assert.equal(told("retry").at(-1).attempt, 1);
});

test("without reconnection the first failure is final", async (t) => {
  const clock = fakeClock(t);
  const { network, socket, told } = start({ reconnect: false });
  await network.admit();
  network.last.end(1006);
  assert.equal(told("disconnect")[0].willReconnect, false);
  await clock.advance(100_000);
  assert.equal(network.sockets.length, 1);
  socket.connect();
  await network.admit();
  assert.ok(socket.connected, "but the application may connect again");
  await settle();
});
