// The playground against a running server: what a newcomer does with two windows, and what goes wrong meanwhile.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { launchBrowser, screenshotFolder, SockeyeServer } from "./support.js";

const server = new SockeyeServer();
/** @type {import("playwright-core").Browser} */
let browser;
let shots = "";
/** @type {import("playwright-core").BrowserContext[]} */
const contexts = [];
/** @type {string[]} */
let faults = [];

before(async () => {
  shots = await screenshotFolder();
  await server.start();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await server.stop();
});

afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  const found = faults;
  faults = [];
  assert.deepEqual(found, [], "no script failed and nothing was blocked or missing");
});

/**
 * A window of its own profile, connected and in its room.
 *
 * @param {string} name
 * @param {{ hash?: string, context?: import("playwright-core").BrowserContextOptions, at?: SockeyeServer, listed?: boolean }} [options]
 */
async function open(name, { hash = "lobby", context: options = {}, at = server, listed = true } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1180, height: 760 },
    reducedMotion: "reduce", // screenshots show how things look once they have arrived
    ...options,
  });
  contexts.push(context);
  await context.addInitScript((value) => localStorage.setItem("sockeye.name", value), name);
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`${name}: ${error.message}`));
  page.on("console", (message) => {
    // While the server is down, failed connections are logged by the browser itself.
    if (message.type() === "error" && !/ERR_CONNECTION_|WebSocket connection/.test(message.text())) {
      faults.push(`${name}: ${message.text()}`);
    }
  });
  await page.goto(`${at.url}#${hash}`);
  await state(page, "connected");
  if (listed) await people(page, (names) => names.some((text) => text === `${name} you`));
  return page;
}

/** @param {import("playwright-core").Page} page @param {string} expected */
const state = (page, expected) =>
  page.waitForFunction((value) => document.getElementById("status")?.dataset.state === value, expected);

/** Waits until the members shown satisfy a condition. */
async function people(page, condition, timeout = 20_000) {
  const deadline = Date.now() + timeout;
  let names = [];
  for (;;) {
    names = await page.locator("#people:not(.stale) #members li > span:last-child").allTextContents();
    if (condition(names.map((text) => text.replace(/\s+/g, " ")))) return names;
    if (Date.now() > deadline) throw new Error(`members are ${JSON.stringify(names)}`);
    await page.waitForTimeout(25);
  }
}

const exactly = (...names) => (shown) => shown.length === names.length && names.every((name) => shown.includes(name));

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

/** Waits until the visible room shows a message. */
const hears = (page, text) => page.locator(".log:not([hidden]) .words", { hasText: text }).waitFor();

const shoot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`) });

test("two windows talk, in several rooms, and see who is there", async () => {
  const ada = await open("Ada");
  await shoot(ada, "alone");
  const ben = await open("Ben");
  await people(ada, exactly("Ada you", "Ben"));
  await people(ben, exactly("Ben you", "Ada"));

  await say(ada, "Hello Ben");
  await hears(ben, "Hello Ben");
  await ada.locator(".receipt", { hasText: "delivered to 1" }).waitFor();
  await say(ben, "Hello Ada");
  await hears(ada, "Hello Ada");
  assert.equal(await ada.locator(".words").count(), 2, "the sender sees its message once");

  // A second room: what is said in the first waits as unread.
  await ben.fill("#join-room", "garden");
  await ben.press("#join-room", "Enter");
  await people(ben, exactly("Ben you"));
  await say(ada, "Still there?");
  await ben.locator('[data-room="lobby"] .unread', { hasText: "1" }).waitFor();
  await say(ben, "Only for the garden");
  await ben.locator(".receipt", { hasText: "nobody else is here" }).waitFor();
  await shoot(ben, "unread");
  await ben.click('[data-room="lobby"]');
  await hears(ben, "Still there?");
  assert.equal(await ben.locator('[data-room="lobby"] .unread').count(), 0);
  assert.equal(await ada.locator(".words", { hasText: "Only for the garden" }).count(), 0);

  // Another name, and a departure.
  await ben.fill("#name", "Benedict");
  await ben.press("#name", "Enter");
  await people(ada, exactly("Ada you", "Benedict"));
  assert.equal(await ben.evaluate(() => localStorage.getItem("sockeye.name")), "Benedict");
  await say(ben, "New name");
  await hears(ada, "New name");
  await ben.click("#leave");
  await people(ada, exactly("Ada you"));
  await ada.locator(".event", { hasText: "Benedict left" }).waitFor();
});

test("a server at another path, and a room with more members than are listed", async () => {
  const other = new SockeyeServer("--path", "/live", "--max-listed-members", "2");
  await other.start();
  try {
    const ada = await open("Ada", { at: other });
    const ben = await open("Ben", { at: other });
    const cleo = await open("Cleo", { at: other, listed: false });
    for (const page of [ada, ben, cleo]) {
      await page.locator("#people-title", { hasText: "Here now: 3" }).waitFor();
      await page.locator("#people-note", { hasText: "Too many to be listed" }).waitFor();
      await people(page, exactly());
    }
    await say(cleo, "Hello all");
    await hears(ada, "Hello all");
    await shoot(ada, "crowd");
    await cleo.context().close();
    await people(ada, exactly("Ada you", "Ben"));
    await people(ben, exactly("Ben you", "Ada"));
    await ada.locator("#people-title", { hasText: "Here now: 2" }).waitFor();
  } finally {
    await Promise.all(contexts.splice(0).map((context) => context.close()));
    await other.stop();
  }
});

test("the state and the round trip are shown", async () => {
  const page = await open("Ada");
  await page.locator("#status-latency", { hasText: /^· [\d.]+ ms$/ }).waitFor();
  await page.click("#status");
  await page.locator("#info-server", { hasText: "version" }).waitFor();
  assert.equal(await page.textContent("#info-transport"), "websocket");
  assert.match(await page.textContent("#info-id"), /^\S{8,}$/);
  await page.waitForFunction(() => document.querySelectorAll("#spark polyline[points*=' ']").length === 1);
  await shoot(page, "connection");

  await page.click("#toggle");
  await state(page, "disconnected");
  assert.equal(await page.textContent("#status-text"), "Disconnected");
  assert.equal(await page.textContent("#info-transport"), "–");
  await page.click("#toggle");
  await state(page, "connected");
  await people(page, exactly("Ada you"));
});

test("a link opens a second window in the same room", async () => {
  const page = await open("Ada", { hash: "the%20garden" });
  const [second] = await Promise.all([page.context().waitForEvent("page"), page.click("#second")]);
  await state(second, "connected");
  assert.equal(await second.textContent("#room-name"), "the garden");
  await say(second, "From the other window");
  await hears(page, "From the other window");
});

// A killed tab says no goodbye: the list must not wait for a heartbeat to fail.
test("a tab that is killed leaves the list", async () => {
  const ada = await open("Ada");
  const ben = await open("Ben");
  await people(ada, exactly("Ada you", "Ben"));
  const session = await ben.context().newCDPSession(ben);
  const crashed = ben.waitForEvent("crash");
  session.send("Page.crash").catch(() => {});
  await crashed;
  await people(ada, exactly("Ada you"), 10_000);
  await ada.locator(".event", { hasText: /Ben (went away|lost the connection)/ }).waitFor();
});

test("after a restart of the server both windows are back and talk", async () => {
  const ada = await open("Ada");
  const ben = await open("Ben");
  await people(ada, exactly("Ada you", "Ben"));
  await say(ada, "Before");
  await hears(ben, "Before");

  await server.stop("SIGKILL");
  await ada.locator("#banner:not([hidden])").waitFor();
  await ada.waitForFunction(() => document.getElementById("status")?.dataset.state !== "connected");
  await say(ada, "While nobody listens");
  await ada.locator(".receipt", { hasText: "waiting for the connection" }).waitFor();
  await shoot(ada, "away");

  await server.start();
  for (const page of [ada, ben]) await state(page, "connected");
  await people(ada, exactly("Ada you", "Ben"));
  await people(ben, exactly("Ben you", "Ada"));
  assert.equal(await ada.locator("#banner:not([hidden])").count(), 0);
  await ada.locator(".receipt", { hasText: /delivered to 1|nobody else is here/ }).nth(1).waitFor();
  await say(ben, "After");
  await hears(ada, "After");
  await say(ada, "Me too");
  await hears(ben, "Me too");
  await shoot(ada, "back");
});

test("what others write stays text, wherever it is shown", async () => {
  const attack = '<img src=x onerror="document.title=1"><b>x</b>';
  const room = "<i>room</i>";
  const ada = await open("Ada", { hash: encodeURIComponent(room) });
  const eve = await open(attack.slice(0, 40), { hash: encodeURIComponent(room) });
  await say(eve, attack);
  await hears(ada, attack);
  await say(eve, "<script>document.title = 1</script>");
  await hears(ada, "<script>");
  // An event of another application, with everything in it hostile.
  await eve.evaluate(async (data) => {
    const { connect } = await import("/playground/sockeye.js");
    const socket = connect();
    await socket.request("join", [data.room, { name: data.attack.slice(0, 40) }]);
    await socket.request("publish", [data.room, data.attack, { text: [data.attack], bytes: new Uint8Array(3) }]);
    await socket.disconnect();
  }, { attack, room });
  const pre = ada.locator(".message pre");
  await pre.waitFor();
  assert.match(await pre.textContent(), /<img src=x.*binary, 3 bytes/s);
  assert.equal(await ada.textContent("#room-name"), room);
  assert.equal(await ada.locator(".log b, .log i, .log img, .log script, #members b, #members img, #rooms i").count(), 0);
  assert.doesNotMatch(await ada.title(), /^1$/);
});

test("the client carries text, binary and answers over both transports", async () => {
  const page = await open("Ada");
  for (const transport of ["websocket", "polling"]) {
    const result = await page.evaluate(async (transport) => {
      const { connect } = await import("/playground/sockeye.js");
      const [from, to] = [connect(undefined, { transports: [transport] }), connect(undefined, { transports: [transport] })];
      const welcome = new Promise((resolve) => to.on("welcome", resolve));
      await to.request("join", ["binary", { name: "to" }]);
      await from.request("join", ["binary", { name: "from" }]);
      const arrived = [];
      const all = new Promise((resolve) => to.on("message", ({ event, data, from: { name } }) => {
        arrived.push([event, name, data.n, ...new Uint8Array(data.bytes)]);
        if (arrived.length === 20) resolve(undefined);
      }));
      const answers = [];
      for (let n = 0; n < 20; n++) {
        answers.push(from.request("publish", ["binary", "b", { n, bytes: new Uint8Array([n, 255]) }]));
      }
      const delivered = (await Promise.all(answers)).map((answer) => answer.delivered);
      await all;
      const error = await from.request("publish", ["elsewhere", "x"]).catch((error) => [error.code, error.remote]);
      const { id, version } = await welcome;
      const used = [from.transport, to.id === id, typeof version];
      await Promise.all([from.disconnect(), to.disconnect()]);
      return { arrived, delivered, error, used };
    }, transport);
    assert.deepEqual(result.arrived, Array.from({ length: 20 }, (_, n) => ["b", "from", n, n, 255]));
    assert.deepEqual(result.delivered, new Array(20).fill(1));
    assert.deepEqual(result.error, ["not_a_member", true]);
    assert.deepEqual(result.used, [transport, true, "string"]);
  }
});

test("empty states say what to do", async () => {
  const page = await open("Ada");
  await page.click("#leave");
  await page.locator("#no-room").waitFor();
  await shoot(page, "no-room");
  await page.reload();
  await page.locator("#no-room").waitFor();
  await page.click("#join-lobby");
  await people(page, exactly("Ada you"));
});

test("a room that the server refuses is explained", async () => {
  const page = await open("Ada");
  // 64 characters, more than 128 bytes.
  await page.fill("#join-room", "語".repeat(64));
  await page.press("#join-room", "Enter");
  await page.locator("#join-error:not(:empty)").waitFor();
  assert.equal(await page.locator("#rooms li").count(), 1);
});

test("a phone of 320 pixels shows everything without scrolling sideways, light and dark", async () => {
  const desk = await open("Ben");
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    const phone = await open("Ada with a name of some length", {
      context: { viewport: { width: 320, height: 568 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2, colorScheme },
    });
    const overflow = () => phone.evaluate(() => {
      const width = document.documentElement.clientWidth;
      const inside = [...document.querySelectorAll("body *")].filter((node) => {
        if (node.closest(".rooms nav, .hidden, svg")) return false;
        if (node.matches(".log, main, aside, .bar, .field") && node.scrollWidth > node.clientWidth + 1) return true;
        const box = node.getBoundingClientRect();
        return box.width > 1 && (box.right > width + 0.5 || box.left < -0.5);
      });
      return [document.documentElement.scrollWidth - width, ...inside.map((node) => node.outerHTML.slice(0, 80))];
    });
    await say(desk, `For the phone: ${"long".repeat(40)} https://example.org/${"path/".repeat(30)}`);
    await hears(phone, "For the phone");
    await say(phone, "Fine");
    await phone.click("#more");
    assert.deepEqual(await overflow(), [0], "with the forms open");
    await shoot(phone, `phone-${colorScheme}-forms`);
    await phone.fill("#join-room", "a second room with a rather long name");
    await phone.press("#join-room", "Enter");
    await phone.click('[data-room="lobby"]');
    assert.deepEqual(await overflow(), [0]);
    await shoot(phone, `phone-${colorScheme}`);
    await phone.click("#people-toggle");
    await phone.locator("#people.open").waitFor();
    assert.deepEqual(await overflow(), [0], "with the members open");
    await shoot(phone, `phone-${colorScheme}-people`);
    await phone.context().close();
  }
});

test("light and dark follow the system, and the button overrules it", async () => {
  const light = await open("Ada", { context: { colorScheme: "light" } });
  const dark = await open("Ben", { context: { colorScheme: "dark" } });
  await say(light, "Good morning, Ben. The river is high today.");
  await hears(dark, "Good morning");
  await say(dark, "Good evening, Ada.\nIt is dark over here.");
  await hears(light, "Good evening");
  await say(light, "I will look at the ladder by the weir.");
  await hears(dark, "ladder");
  await shoot(light, "light");
  await shoot(dark, "dark");

  const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [day, night] = [await ground(light), await ground(dark)];
  assert.notEqual(day, night);
  await dark.click("#theme");
  assert.equal(await dark.getAttribute("#theme", "aria-label"), "Theme: light");
  assert.equal(await ground(dark), day);
  await dark.reload();
  assert.equal(await dark.getAttribute("#theme", "aria-label"), "Theme: light", "kept");
  await dark.click("#theme");
  assert.equal(await ground(dark), night);
});

test("everything can be reached and done with the keyboard", async () => {
  const page = await open("Ada");
  const reached = [];
  await page.evaluate(() => /** @type {any} */ (document.activeElement)?.blur());
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press("Tab");
    const where = await page.evaluate(() => {
      const node = /** @type {HTMLElement} */ (document.activeElement);
      return node.id || node.dataset.room || node.getAttribute("role") || node.textContent?.trim() || node.tagName;
    });
    reached.push(where);
  }
  for (const id of ["status", "second", "theme", "lobby", "join-room", "name", "leave", "log", "text"]) {
    assert.ok(reached.includes(id), `${id} in ${reached.join(", ")}`);
  }
  assert.equal(await page.getAttribute(".log", "aria-live"), "polite");
  // A new line with Shift, Enter sends.
  await page.focus("#text");
  await page.keyboard.type("one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("two");
  await page.keyboard.press("Enter");
  await hears(page, "one");
  assert.equal(await page.textContent(".words"), "one\ntwo");
});
