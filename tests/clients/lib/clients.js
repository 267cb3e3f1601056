// Stock clients (socket.io-client, engine.io-client) with promises around them.
"use strict";

const { io } = require("socket.io-client");
const { Socket: EngineSocket } = require("engine.io-client");

/** The three ways a client reaches the server. */
const MODES = ["polling", "websocket", "upgrade"];

const open = new Set();
const engines = new Set();

function transports(mode) {
  return mode === "polling" ? ["polling"] : mode === "websocket" ? ["websocket"] : undefined;
}

/** A Socket.IO client that is not waited for. It does not reconnect unless asked to. */
function client(fixture, nsp = "/", { mode = "websocket", ...options } = {}) {
  const how = transports(mode);
  const socket = io(fixture.url + nsp, {
    forceNew: true,
    reconnection: false,
    ...(how && { transports: how }),
    ...options,
  });
  open.add(socket);
  return socket;
}

/** A connected Socket.IO client; in mode `upgrade` its transport is WebSocket already. */
async function connect(fixture, nsp = "/", options = {}) {
  const socket = client(fixture, nsp, options);
  await connected(socket);
  if (options.mode === "upgrade") await upgraded(socket);
  return socket;
}

function connected(socket, ms = 5000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("connect: no answer")), ms);
    socket.once("connect", () => (clearTimeout(timer), resolve(socket)));
    socket.once("connect_error", (error) => (clearTimeout(timer), reject(error)));
  });
}

function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name === "websocket") return undefined;
  return once(engine, "upgrade");
}

/** The arguments of the next `event`. */
function once(emitter, event, ms = 5000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      emitter.off(event, done);
      reject(new Error(`no "${event}" within ${ms} ms`));
    }, ms);
    const done = (...args) => (clearTimeout(timer), resolve(args));
    emitter.once(event, done);
  });
}

/** Emits with acknowledgement; resolves to the array of its arguments. */
function call(socket, event, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer to "${event}"`)), 8000);
    socket.emit(event, ...args, (...answer) => (clearTimeout(timer), resolve(answer)));
  });
}

/** Collects every `event` into the returned array, as arrays of arguments. */
function collect(emitter, event) {
  const seen = [];
  emitter.on(event, (...args) => seen.push(args));
  return seen;
}

/** Every event sent to `socket` from now on, as `[name, ...args]`. */
function collectAll(socket) {
  const seen = [];
  socket.onAny((...event) => seen.push(event));
  return seen;
}

/** One operation of the control namespace; fails unless it is answered with `ok`. */
async function control(ctl, op, params = {}) {
  const [answer] = await call(ctl, "ctl", op, params);
  if (!answer.ok) throw new Error(`ctl ${op}: ${JSON.stringify(answer)}`);
  return answer.result;
}

/** Cuts the TCP connection under a WebSocket client, as a dying network would. */
function cut(socket) {
  socket.io.engine.transport.ws._socket.destroy();
}

/** A round trip: everything the server sent to this client before has arrived. */
const barrier = (socket) => call(socket, "echo", "barrier");

function closeAll() {
  for (const socket of open) {
    socket.io.reconnection(false);
    socket.io._close();
  }
  open.clear();
  for (const socket of engines) socket.close();
  engines.clear();
}

/** A raw Engine.IO client, opened. `seen` holds every message it got. */
async function engine(fixture, path, { mode = "websocket", ...options } = {}) {
  const how = transports(mode);
  const socket = new EngineSocket(fixture.url, { path, ...(how && { transports: how }), ...options });
  engines.add(socket);
  socket.binaryType = "nodebuffer";
  socket.seen = collect(socket, "message");
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", (error) => reject(error instanceof Error ? error : new Error(error)));
  });
  socket.on("error", () => {});
  if (mode === "upgrade" && socket.transport.name !== "websocket") await once(socket, "upgrade");
  return socket;
}

module.exports = {
  MODES,
  barrier,
  call,
  client,
  closeAll,
  collect,
  collectAll,
  connect,
  connected,
  control,
  cut,
  engine,
  once,
  upgraded,
};
