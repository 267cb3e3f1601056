"use strict";
// A Socket.IO server with one of the published adapters and a stock client on it, for the Rust tests of sockeye-redis.
//
//   node peer.js MODE REDIS_PORT
//
// MODE is classic, classic-specific, sharded-static, sharded-dynamic, sharded-dynamic-private or streams. Each line
// on stdin is a command, `{"do": name, "id": n, …}`; each line on stdout tells what happened. Binary is
// {"$bin": base64} in both directions, a date {"$date": milliseconds} on the way in.

const { createServer } = require("node:http");
const readline = require("node:readline");
const Redis = require("ioredis");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const classic = require("@socket.io/redis-adapter");
const streams = require("@socket.io/redis-streams-adapter");
const { Emitter } = require("@socket.io/redis-emitter");

const NSP = "/chat";
const [mode, redisPort] = process.argv.slice(2);
const redis = () => new Redis({ host: "127.0.0.1", port: Number(redisPort) });

function say(what) {
  process.stdout.write(`${JSON.stringify(plain(what))}\n`);
}

function plain(value) {
  if (value === undefined) return null;
  if (ArrayBuffer.isView(value)) return { $bin: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Error) return { error: value.message };
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

function lively(value) {
  if (Array.isArray(value)) return value.map(lively);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$bin === "string") return Buffer.from(value.$bin, "base64");
  if (typeof value.$date === "number") return new Date(value.$date);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, lively(item)]));
}

// ioredis does not become ready once it has been made a subscriber.
const ready = (client) => new Promise((resolve) => client.once("ready", () => resolve(client)));

async function adapter() {
  const [publisher, subscriber] = await Promise.all([ready(redis()), ready(redis())]);
  if (mode.startsWith("sharded-")) {
    const subscriptionMode = mode.slice("sharded-".length);
    return classic.createShardedAdapter(publisher, subscriber, { subscriptionMode });
  }
  if (mode === "streams") return streams.createAdapter(publisher, { blockTimeInMs: 500 });
  const publishOnSpecificResponseChannel = mode === "classic-specific";
  return classic.createAdapter(publisher, subscriber, { publishOnSpecificResponseChannel });
}

// What a command is sent through: the server, or the emitter of the classic adapter.
function target(command, source) {
  let chosen = source;
  for (const room of command.rooms ?? []) chosen = chosen.to(room);
  for (const room of command.except ?? []) chosen = chosen.except(room);
  if (command.volatile) chosen = chosen.volatile;
  if (command.compress === false) chosen = chosen.compress(false);
  if (command.timeout) chosen = chosen.timeout(command.timeout);
  return chosen;
}

async function run(command, io) {
  const emitter = command.emitter && new Emitter(redis()).of(NSP);
  const to = target(command, emitter || io.of(NSP));
  const args = lively(command.args ?? []);
  switch (command.do) {
    case "emit":
      to.emit(command.event, ...args);
      return true;
    case "join":
      to.socketsJoin(command.names);
      return true;
    case "leave":
      to.socketsLeave(command.names);
      return true;
    case "disconnect":
      to.disconnectSockets(command.close);
      return true;
    case "server":
      (emitter || io.of(NSP)).serverSideEmit(command.event, ...args);
      return true;
    case "ask-servers":
      return io.of(NSP).serverSideEmitWithAck(command.event, ...args);
    case "ask-clients":
      return to.emitWithAck(command.event, ...args);
    case "fetch":
      return (await to.fetchSockets()).map(({ id, rooms, data }) => ({ id, rooms: [...rooms], data }));
    case "all-rooms":
      return [...(await io.of(NSP).adapter.allRooms())].sort();
    case "local": // what is true on this node
      return [...io.of(NSP).sockets.values()].map(({ id, rooms }) => ({ id, rooms: [...rooms] }));
    default:
      throw new Error(`unknown command ${command.do}`);
  }
}

async function main() {
  const http = createServer();
  const io = new Server(http, { adapter: await adapter() });
  io.of(NSP).on("connection", (socket) => {
    socket.data = { user: "node" };
    socket.join("r1");
  });
  io.of(NSP).on("hello", (...args) => say({ server: ["hello", ...args] }));
  io.of(NSP).on("ask", (...args) => {
    const answer = args.pop();
    say({ server: ["ask", ...args] });
    answer({ from: "node" });
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const client = connect(`http://127.0.0.1:${http.address().port}${NSP}`, { transports: ["websocket"], reconnection: false });
  client.onAny((event, ...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : null;
    say({ client: [event, ...args] });
    answer?.(Buffer.from([1, 2, 255]));
  });
  client.on("disconnect", (reason) => say({ disconnected: reason }));
  await new Promise((resolve) => client.on("connect", resolve));
  say({ ready: client.id });

  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command = JSON.parse(line);
    run(command, io).then(
      (value) => say({ id: command.id, value }),
      (error) => say({ id: command.id, error: String(error) }),
    );
  });
  lines.on("close", () => process.exit(0));
}

process.on("uncaughtException", (error) => {
  say({ crashed: String(error) });
  process.exit(1);
});
main();
