// The playground: a client of the server that serves it, with nothing that another client could not do.
// What other people send is only ever set as text, never parsed as HTML.
import { connect } from "./sockeye.js";

const LOG_LIMIT = 500; // entries kept per room
const PING_EVERY = 2_000; // ms
const SAMPLES = 60; // round trips shown
const SEND_TIMEOUT = 60_000; // ms; a message may wait that long for the connection

/**
 * @typedef {{ id: string, name: string }} Member
 * @typedef {object} Room
 * @property {string} name
 * @property {Map<string, string>} members Names by id.
 * @property {number | null} count How many there are, where the server lists them no more.
 * @property {boolean} fresh Whether the list was confirmed since the connection was made.
 * @property {(() => void)[] | null} early Member events that arrived while `join` was being answered.
 * @property {HTMLElement} log
 * @property {boolean} follow Whether the log was last seen at its end, and should stay there.
 * @property {number} unread
 * @property {string} draft
 */

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

// ---- what is remembered ---------------------------------------------------------------------------

/** Storage may be forbidden; the playground then simply forgets. */
const memory = {
  get(/** @type {Storage} */ storage, /** @type {string} */ key) {
    try {
      return storage.getItem(`sockeye.${key}`);
    } catch {
      return null;
    }
  },
  set(/** @type {Storage} */ storage, /** @type {string} */ key, /** @type {string} */ value) {
    try {
      storage.setItem(`sockeye.${key}`, value);
    } catch {
      // Full or forbidden.
    }
  },
};

function inventName() {
  const pick = (/** @type {string} */ words) => {
    const list = words.split(" ");
    return list[Math.floor(Math.random() * list.length)];
  };
  return `${pick("Quiet Brave Amber Swift Gentle Bright Silver Merry Calm Clever Early Lucky")} ${
    pick("Otter Heron Osprey Trout Beaver Kingfisher Dipper Sturgeon Grebe Marten Wren Salmon")}`;
}

/** A name that was chosen holds for all windows; until then each window invents its own. */
function firstName() {
  const name = memory.get(sessionStorage, "name") ?? memory.get(localStorage, "name") ?? inventName();
  memory.set(sessionStorage, "name", name);
  return name;
}

function firstRooms() {
  let names = [];
  try {
    names = JSON.parse(memory.get(sessionStorage, "rooms") ?? "[]");
  } catch {
    // Not ours.
  }
  const linked = roomInAddress();
  if (linked && !names.includes(linked)) names.push(linked);
  return names.length > 0 || memory.get(sessionStorage, "rooms") ? names : ["lobby"];
}

function roomInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

// ---- state ----------------------------------------------------------------------------------------

const path = /** @type {HTMLMetaElement | null} */ (document.querySelector("meta[name=sockeye-path]"))?.content;
const socket = connect(undefined, { autoConnect: false, path });
/** @type {Map<string, Room>} */
const rooms = new Map();
/** @type {Room | null} */
let active = null;
let myName = firstName();
/** The id of this connection, or of the last one. */
let myId = "";
/** @type {number[]} */
const trips = [];
let retryAt = 0;
let everConnected = false;
/** @type {{ at: number, back: number } | null} */
let interruption = null;

// ---- small pieces of page -------------------------------------------------------------------------

/**
 * @param {string} tag
 * @param {string} [className]
 * @param {...(string | Node)} children Strings become text.
 */
function element(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** A foreign name must not turn the direction of the text around it. */
const isolated = (/** @type {string} */ text) => element("bdi", "", text);

const shown = (/** @type {string} */ name, /** @type {string} */ id) => name.trim() || `#${id.slice(-4)}`;

function clock(/** @type {number} */ at) {
  const node = /** @type {HTMLTimeElement} */ (element("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  node.dateTime = new Date(at).toISOString();
  node.title = new Date(at).toLocaleString();
  return node;
}

function avatar(/** @type {string} */ name, /** @type {string} */ id) {
  const node = element("span", "avatar", [...shown(name, id).replace("#", "")][0].toUpperCase());
  let hue = 0;
  for (const char of name || id) hue = (hue * 31 + (char.codePointAt(0) ?? 0)) % 360;
  node.style.setProperty("--hue", String(hue));
  node.setAttribute("aria-hidden", "true");
  return node;
}

function secondWindow() {
  const link = /** @type {HTMLAnchorElement} */ (element("a", "quiet", "Open a second window"));
  link.href = $("second").href;
  link.target = "_blank";
  link.rel = "noopener";
  link.style.setProperty("border-color", "var(--line)");
  return link;
}

// ---- the log of a room ----------------------------------------------------------------------------

function newLog(/** @type {string} */ room) {
  const log = element("div", "log");
  log.setAttribute("role", "log");
  log.setAttribute("aria-label", `Messages in ${room}`);
  log.setAttribute("aria-live", "polite");
  log.tabIndex = 0;
  log.hidden = true;
  const blank = element("div", "blank");
  blank.append(
    element("h2", "", "Quiet so far"),
    element("p", "", "Say something. With a second window you see both sides of the conversation."),
    secondWindow(),
  );
  log.append(blank);
  return log;
}

const isAtEnd = (/** @type {HTMLElement} */ log) => log.scrollHeight - log.scrollTop - log.clientHeight < 60;

/** @param {Room} room @param {HTMLElement} entry @param {boolean} [mine] */
function append(room, entry, mine = false) {
  const { log } = room;
  if (entry.classList.contains("message")) log.querySelector(":scope > .blank")?.remove();
  log.append(entry);
  while (log.childElementCount > LOG_LIMIT) log.firstElementChild?.remove();
  if (room !== active) return;
  if (mine || room.follow) log.scrollTop = log.scrollHeight;
  else $("newer").hidden = false;
}

/** A line about the room. @param {Room} room @param {...(string | Node)} parts */
function tell(room, ...parts) {
  append(room, element("p", "event", element("span", "", ...parts), clock(Date.now())));
}

/**
 * @param {Room} room
 * @param {{ from: Member, event: string, data: unknown, at: number, mine?: boolean }} message
 */
function showMessage(room, { from, event, data, at, mine = false }) {
  const entry = element("article", "message");
  entry.dataset.from = from.id + from.name;
  entry.dataset.at = String(at);
  const before = /** @type {HTMLElement | null} */ (room.log.lastElementChild);
  const sameAuthor = before?.dataset.from === entry.dataset.from;
  if (sameAuthor && at - Number(before?.dataset.at) < 300_000) entry.classList.add("more");
  const who = element("span", "who", isolated(shown(from.name, from.id)));
  if (mine) who.append(element("span", "you", "you"));
  who.append(clock(at));
  const body = element("div", "body", ...content(event, data));
  entry.append(avatar(from.name, from.id), who, body);
  append(room, entry, mine);
  return body;
}

/** @param {string} event @param {any} data */
function content(event, data) {
  const text = typeof data === "string" ? data : event === "chat" && typeof data?.text === "string" ? data.text : null;
  const words = text === null ? element("pre", "", describe(data)) : element("span", "words", text);
  words.dir = "auto";
  return event === "chat" ? [words] : [element("span", "kind", event), words];
}

function describe(/** @type {unknown} */ data) {
  const readable = (/** @type {string} */ _key, /** @type {unknown} */ value) =>
    value instanceof ArrayBuffer ? `(binary, ${value.byteLength} bytes)` : value;
  return (JSON.stringify(data, readable, 2) ?? "null").slice(0, 10_000);
}

// ---- rooms ----------------------------------------------------------------------------------------

/** @param {string} name */
function addRoom(name) {
  const known = rooms.get(name);
  if (known) return known;
  /** @type {Room} */
  const room = { name, members: new Map(), count: null, fresh: false, early: null, log: newLog(name), follow: true, unread: 0, draft: "" };
  room.log.addEventListener("scroll", () => {
    room.follow = isAtEnd(room.log);
    if (room.follow) $("newer").hidden = true;
  });
  rooms.set(name, room);
  $("logs").prepend(room.log);
  rememberRooms();
  enter(room);
  return room;
}

/** Joins, now or, while there is no connection, as soon as there is one. @param {Room} room */
async function enter(room) {
  if (!socket.connected) return;
  const early = (room.early = /** @type {(() => void)[]} */ ([]));
  const connection = socket.id;
  try {
    const answer = await socket.request("join", [room.name, { name: myName }]);
    if (connection !== socket.id || rooms.get(room.name) !== room) return;
    setMembers(room, answer);
    room.fresh = true;
    if (room.early === early) room.early = null;
    for (const apply of early) apply();
  } catch (/** @type {any} */ error) {
    if (connection !== socket.id || rooms.get(room.name) !== room) return;
    if (room.early === early) room.early = null;
    if (!error.remote) return tell(room, "The server did not answer the request to join.");
    forget(room);
    $("join-error").textContent = `“${room.name}”: ${error.message}`;
    $("join-room").setAttribute("aria-invalid", "true");
    openSetup(true);
  }
  render();
}

/** Takes over what the server says of who is there. @param {Room} room @param {any} answer */
function setMembers(room, answer) {
  room.count = answer.count ?? null;
  room.members = new Map(answer.members.map((/** @type {Member} */ { id, name }) => [id, String(name ?? "")]));
}

/** How many are in a room, as far as is known. @param {Room} room */
const sizeOf = (room) => room.count ?? room.members.size;

/** @param {Room} room */
function forget(room) {
  rooms.delete(room.name);
  room.log.remove();
  rememberRooms();
  if (active === room) select([...rooms.values()].at(-1) ?? null);
  else render();
}

function rememberRooms() {
  memory.set(sessionStorage, "rooms", JSON.stringify([...rooms.keys()]));
}

/** @param {Room | null} room */
function select(room) {
  if (active) active.draft = $("text").value;
  active = room;
  for (const { log } of rooms.values()) log.hidden = log !== room?.log;
  $("newer").hidden = true;
  $("people-toggle").setAttribute("aria-expanded", "false");
  $("people").classList.remove("open");
  if (room) {
    room.unread = 0;
    room.follow = true;
    room.log.scrollTop = room.log.scrollHeight;
    $("text").value = room.draft;
    $("text").placeholder = `Message ${room.name}`;
    fitText();
  }
  history.replaceState(null, "", room ? `#${encodeURIComponent(room.name)}` : location.pathname);
  render();
}

async function publish(/** @type {Room} */ room, /** @type {string} */ text) {
  const from = { id: myId, name: myName };
  const body = showMessage(room, { from, event: "chat", data: { text }, at: Date.now(), mine: true });
  send(room, text, body);
}

/** @param {Room} room @param {string} text @param {HTMLElement} body The message on the page. */
async function send(room, text, body) {
  const receipt = element("span", "receipt", socket.connected ? "" : "waiting for the connection");
  body.append(receipt);
  const request = socket.request("publish", [room.name, "chat", { text }], { timeout: SEND_TIMEOUT });
  renderConnection();
  try {
    const { delivered } = await request;
    receipt.textContent = delivered === 0 ? "nobody else is here" : `delivered to ${delivered}`;
  } catch (/** @type {any} */ error) {
    const why = error.code === "disconnected" ? "the connection broke: it may not have arrived"
      : error.code === "queue_full" ? "not sent: too much is waiting" : `not sent: ${error.message}`;
    receipt.className = "receipt failed";
    receipt.textContent = why;
    const again = /** @type {HTMLButtonElement} */ (element("button", "", "Send again"));
    again.type = "button";
    again.addEventListener("click", () => {
      receipt.remove();
      send(room, text, body);
    });
    receipt.append(again);
  }
}

// ---- what the server says -------------------------------------------------------------------------

socket.on("welcome", (info) => {
  $("info-server").textContent = `${info?.node ?? "?"}, version ${info?.version ?? "?"}`;
});

socket.on("message", (message) => {
  const room = rooms.get(message?.room);
  if (!room) return;
  const from = { id: String(message.from?.id), name: String(message.from?.name ?? "") };
  showMessage(room, { from, event: String(message.event), data: message.data, at: Number(message.at) || Date.now() });
  if (room === active && !document.hidden) return;
  room.unread += 1;
  renderRooms();
});

/** Member events may overtake the answer to `join`; applied after it they are right in any order. */
function onMember(/** @type {any} */ event, /** @type {(room: Room, id: string, name: string) => void} */ apply) {
  const room = rooms.get(event?.room);
  if (!room) return;
  const run = () => apply(room, String(event.id), String(event.name ?? ""));
  if (room.early) return room.early.push(run);
  run();
  render();
}

socket.on("member:joined", (event) => onMember(event, (room, id, name) => {
  const before = room.members.get(id);
  room.members.set(id, name);
  if (before === name) return;
  if (before === undefined) tell(room, isolated(shown(name, id)), " joined");
  else tell(room, isolated(shown(before, id)), " is now ", isolated(shown(name, id)));
}));

const DEPARTURES = new Map([
  ["leave", " left"],
  ["client namespace disconnect", " disconnected"],
  ["ping timeout", " stopped answering"],
  ["transport close", " went away"],
  ["transport error", " lost the connection"],
]);

socket.on("member:left", (event) => onMember(event, (room, id, name) => {
  if (!room.members.delete(id)) return;
  tell(room, isolated(shown(name, id)), DEPARTURES.get(event.reason) ?? ` left (${event.reason})`);
}));

/** A room with many members is told of by their number; when they are few again, the list is asked for. */
socket.on("room:count", async (event) => {
  const room = rooms.get(event?.room);
  if (!room) return;
  room.count = Number(event.count);
  room.members.clear();
  if (event.listed) {
    const early = (room.early = /** @type {(() => void)[]} */ ([]));
    const answer = await socket.request("members", [room.name]).catch(() => null);
    if (room.early !== early) return;
    room.early = null;
    if (answer) setMembers(room, answer);
    for (const apply of early) apply();
  }
  render();
});

// ---- the connection -------------------------------------------------------------------------------

socket.watch("connect", async ({ recovered }) => {
  for (const room of rooms.values()) {
    if (everConnected) tell(room, "Connected again");
    enter(room);
  }
  everConnected = true;
  if (interruption && !interruption.back) interruption.back = Date.now();
  setTimeout(measure, 300);
  if (!recovered) return;
  // A recovered session is in the rooms that it was in, also in those left here meanwhile.
  const answer = await socket.request("rooms").catch(() => ({ rooms: [] }));
  for (const name of answer.rooms) if (!rooms.has(name)) socket.emit("leave", name);
});

socket.watch("disconnect", ({ willReconnect, reason }) => {
  interruption = { at: Date.now(), back: 0 };
  for (const room of rooms.values()) {
    room.fresh = false;
    room.early = null;
    tell(room, reason === "io client disconnect" ? "You disconnected" : "Connection lost");
  }
  if (!willReconnect) retryAt = 0;
  render();
});

socket.watch("retry", ({ delay }) => {
  retryAt = Date.now() + delay;
  renderConnection();
});

let refusedWith = "";
socket.watch("error", (error) => {
  refusedWith = error.remote ? error.message : "";
});

socket.watch("state", (state) => {
  if (state === "connected") refusedWith = "";
  if (state !== "connecting" || !everConnected) $("announce").textContent = STATES[state];
  render();
});

async function measure() {
  if (!socket.connected || document.hidden) return;
  const start = performance.now();
  try {
    await socket.request("ping", [], { timeout: 5_000 });
  } catch {
    return;
  }
  trips.push(performance.now() - start);
  if (trips.length > SAMPLES) trips.shift();
  renderConnection();
}

// ---- showing it -----------------------------------------------------------------------------------

const STATES = {
  connecting: "Connecting",
  connected: "Connected",
  disconnecting: "Disconnecting",
  disconnected: "Disconnected",
};

function render() {
  renderConnection();
  renderRooms();
  renderPeople();
}

const milliseconds = (/** @type {number} */ ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

/** Writes only what changed, so that assistive technology and selections are left alone. */
function write(/** @type {HTMLElement} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

function renderConnection() {
  const { state, connected } = socket;
  const latest = connected && trips.length > 0 ? milliseconds(trips[trips.length - 1]) : "";
  $("status").dataset.state = state;
  write($("status-text"), STATES[state]);
  write($("status-latency"), latest && `· ${latest}`);

  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const { count } = socket.queued;
  const waiting = count === 0 ? "" : count === 1 ? " 1 message waits." : ` ${count} messages wait.`;
  $("banner").hidden = connected || state === "disconnecting" || (state === "connecting" && !everConnected);
  write($("banner-text"),
    state === "connecting" ? `Connecting again …${waiting}`
    : socket.willReconnect ? `No connection. Trying again in ${seconds} s.${waiting}`
    : refusedWith ? `The server refused the connection: ${refusedWith}`
    : "Disconnected.");
  $("retry").hidden = state === "connecting";
  write($("retry"), socket.willReconnect ? "Try now" : "Connect");

  write($("info-state"), STATES[state]);
  write($("info-latency"), latest || "–");
  write($("info-transport"), socket.transport ?? "–");
  write($("info-id"), socket.id ?? "–");
  write($("info-queued"), String(socket.queued.count));
  write($("info-last"), !interruption ? "none"
    : interruption.back ? `${((interruption.back - interruption.at) / 1000).toFixed(1)} s at ${new Date(interruption.at).toLocaleTimeString()}`
    : `since ${new Date(interruption.at).toLocaleTimeString()}`);
  const idle = state === "disconnected" && !socket.willReconnect;
  write($("toggle"), idle ? "Connect" : "Disconnect");
  $("toggle").disabled = state === "disconnecting";

  $("spark").classList.toggle("empty", trips.length < 2);
  const top = Math.max(1, ...trips) * 1.1;
  const point = (/** @type {number} */ ms, /** @type {number} */ i) =>
    `${(((SAMPLES - trips.length + i) / (SAMPLES - 1)) * 240).toFixed(1)},${(40 - (ms / top) * 38).toFixed(1)}`;
  $("spark").firstElementChild.setAttribute("points", trips.map(point).join(" "));
}

function renderRooms() {
  const items = [...rooms.values()].map((room) => {
    const button = /** @type {HTMLButtonElement} */ (element("button", "", isolated(room.name)));
    button.type = "button";
    button.dataset.room = room.name;
    if (room === active) button.setAttribute("aria-current", "true");
    if (room.unread > 0) {
      button.append(element("span", "unread", String(room.unread), element("span", "hidden", " unread")));
    } else if (room.fresh) {
      button.append(element("span", "count", String(sizeOf(room)), element("span", "hidden", " members")));
    }
    return element("li", "", button);
  });
  // The buttons are made anew; whoever had the focus keeps it.
  const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.room;
  $("rooms").replaceChildren(...items);
  for (const item of items) {
    const button = /** @type {HTMLElement} */ (item.firstElementChild);
    if (focused !== undefined && button.dataset.room === focused) button.focus();
  }

  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${active ? `${active.name} · ` : ""}Sockeye playground`;
}

function renderPeople() {
  $("no-room").hidden = active !== null;
  for (const id of ["room-head", "logs", "composer", "people"]) $(id).hidden = active === null;
  $("second").href = active ? `/#${encodeURIComponent(active.name)}` : "/";
  if (!active) return;
  write($("room-name"), active.name);

  const me = (myId = socket.id ?? myId);
  const members = [...active.members].map(([id, name]) => ({ id, name: shown(name, id) }));
  members.sort((a, b) => Number(b.id === me) - Number(a.id === me) || a.name.localeCompare(b.name));
  const times = new Map();
  for (const { name } of members) times.set(name, (times.get(name) ?? 0) + 1);
  $("members").replaceChildren(...members.map(({ id, name }) => {
    const label = element("span", "", isolated(name));
    if (id === me) label.append(" ", element("span", "tag", "you"));
    else if (times.get(name) > 1) label.append(" ", element("span", "tag", `#${id.slice(-4)}`));
    const item = element("li", "", avatar(name, id), label);
    item.title = id;
    return item;
  }));
  $("people").classList.toggle("stale", !active.fresh);
  write($("people-title"), active.fresh ? `Here now: ${sizeOf(active)}` : "Here before");
  write($("people-note"), !active.fresh ? "The list returns with the connection."
    : active.count !== null ? "Too many to be listed."
    : members.length === 1 ? "Only you. Open a second window for company." : "");
  write($("people-toggle"), active.fresh ? `${sizeOf(active)} here` : "Who");
}

// ---- what the user does ---------------------------------------------------------------------------

function openSetup(/** @type {boolean} */ open) {
  $("setup").classList.toggle("open", open);
  $("more").setAttribute("aria-expanded", String(open));
}

$("join").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const input = $("join-room");
  const name = input.value.trim();
  $("join-error").textContent = "";
  input.removeAttribute("aria-invalid");
  if (!name) return input.focus();
  input.value = "";
  openSetup(false);
  select(addRoom(name));
  $("text").focus();
});

$("rename").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return $("name").focus();
  myName = name;
  $("name").value = name;
  memory.set(sessionStorage, "name", name);
  memory.set(localStorage, "name", name);
  for (const room of rooms.values()) enter(room);
  openSetup(false);
  $("announce").textContent = `Your name is now ${name}`;
});

$("rooms").addEventListener("click", (/** @type {any} */ event) => {
  const name = event.target.closest("button")?.dataset.room;
  const room = rooms.get(name);
  if (room) select(room);
});

$("leave").addEventListener("click", () => {
  if (!active) return;
  // Without a connection the server has forgotten the membership already.
  if (socket.connected) socket.emit("leave", active.name);
  forget(active);
  (active ? $("text") : $("join-lobby")).focus();
});

$("join-lobby").addEventListener("click", () => {
  select(addRoom("lobby"));
  $("text").focus();
});

$("composer").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !active) return;
  $("text").value = "";
  fitText();
  publish(active, text);
});

$("text").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  // An Enter that ends the composition of a character is not meant for us.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

function fitText() {
  const { style } = $("text");
  style.height = "auto";
  style.height = `${$("text").scrollHeight + 2}px`;
}
$("text").addEventListener("input", fitText);

// A keyboard that opens, or a longer draft, takes room from the log: its end stays in sight.
new ResizeObserver(() => {
  if (active?.follow) active.log.scrollTop = active.log.scrollHeight;
}).observe($("logs"));

$("newer").addEventListener("click", () => {
  if (active) active.log.scrollTop = active.log.scrollHeight;
  $("newer").hidden = true;
});

$("more").addEventListener("click", () => {
  const open = $("more").getAttribute("aria-expanded") !== "true";
  openSetup(open);
  if (open) $("join-room").focus();
});

function openPeople(/** @type {boolean} */ open) {
  $("people").classList.toggle("open", open);
  $("people-toggle").setAttribute("aria-expanded", String(open));
}
$("people-toggle").addEventListener("click", () => openPeople($("people-toggle").getAttribute("aria-expanded") !== "true"));

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !$("people").classList.contains("open")) return;
  openPeople(false);
  $("people-toggle").focus();
});

$("retry").addEventListener("click", () => socket.connect());
$("toggle").addEventListener("click", () => {
  if (socket.state === "disconnected" && !socket.willReconnect) socket.connect();
  else socket.disconnect().then(render);
});

const THEMES = { auto: "automatic", light: "light", dark: "dark" };
function setTheme(/** @type {string} */ theme) {
  const root = document.documentElement;
  if (theme === "auto") root.removeAttribute("data-theme");
  else root.dataset.theme = theme;
  $("theme").dataset.theme = theme;
  $("theme").setAttribute("aria-label", `Theme: ${/** @type {any} */ (THEMES)[theme]}`);
  $("theme").title = $("theme").getAttribute("aria-label");
}
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf($("theme").dataset.theme) + 1) % names.length];
  memory.set(localStorage, "theme", next);
  setTheme(next);
});

window.addEventListener("hashchange", () => {
  const name = roomInAddress();
  if (name) select(addRoom(name));
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !active) return;
  active.unread = 0;
  measure();
  renderRooms();
});

// ---- start ----------------------------------------------------------------------------------------

const remembered = memory.get(localStorage, "theme") ?? "auto";
setTheme(remembered in THEMES ? remembered : "auto");
$("name").value = myName;
const linked = roomInAddress();
for (const name of firstRooms()) addRoom(String(name));
select(rooms.get(linked) ?? [...rooms.values()].at(-1) ?? null);
setInterval(measure, PING_EVERY);
setInterval(() => {
  if (!socket.connected) renderConnection();
}, 500);
socket.connect();
