// Peers that speak HTTP and WebSocket byte by byte, so that they can also be wrong on purpose.
"use strict";

const crypto = require("node:crypto");
const http = require("node:http");
const net = require("node:net");
const zlib = require("node:zlib");

const EIO = "/socket.io/?EIO=4";

const connections = new Set();
const sessions = new Set();

/** Ends what tests left open, so that one failure does not cause the next. */
async function closeAll() {
  for (const connection of connections) connection.destroy();
  connections.clear();
  await Promise.all([...sessions].map((polling) => polling.post("1").catch(() => {})));
  sessions.clear();
}

/** One HTTP request on a connection of its own: `{status, headers, body}`, body as a Buffer. */
function request(fixture, method, target, { headers, body, timeout = 5000 } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: fixture.port, method, path: target, agent: false };
    const sent = http.request({ ...options, headers, timeout }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const raw = Buffer.concat(chunks);
        resolve({ status: response.statusCode, headers: response.headers, body: raw.toString(), raw });
      });
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer to ${method} ${target}`)));
    sent.on("error", reject);
    sent.end(body);
  });
}

/** A TCP connection that gathers what arrives. */
class Tcp {
  constructor(fixture) {
    this.received = Buffer.alloc(0);
    this.closed = false;
    this.wakeups = new Set();
    this.socket = net.connect({ host: "127.0.0.1", port: fixture.port });
    this.socket.on("data", (data) => {
      this.received = Buffer.concat([this.received, data]);
      this.wake();
    });
    this.socket.on("error", () => {});
    // Waiting has timers of its own; a connection left behind must not keep the process alive.
    this.socket.unref();
    connections.add(this);
    this.socket.once("close", () => connections.delete(this));
    this.socket.on("close", () => {
      this.closed = true;
      this.wake();
    });
    this.socket.on("end", () => this.socket.end());
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("connect", () => resolve(this));
      this.socket.once("error", reject);
    });
    this.opened.catch(() => {});
  }

  wake() {
    for (const wakeup of this.wakeups) wakeup();
  }

  /** Resolves with the first truthy value of `check`, run on every change. */
  until(check, what, ms = 5000) {
    return new Promise((resolve, reject) => {
      const done = (act, value) => {
        clearTimeout(timer);
        this.wakeups.delete(look);
        act(value);
      };
      const look = () => {
        const value = check();
        if (value) done(resolve, value);
      };
      const timer = setTimeout(() => done(reject, new Error(`no ${what} within ${ms} ms`)), ms);
      this.wakeups.add(look);
      look();
    });
  }

  write(data) {
    if (!this.socket.destroyed) this.socket.write(data);
  }

  destroy() {
    this.socket.destroy();
  }

  /** Resets the connection instead of closing it. */
  reset() {
    this.socket.resetAndDestroy();
  }

  ended(ms = 5000) {
    return this.until(() => this.closed, "end of the connection", ms);
  }

  /** The head of an HTTP answer, `{status, head, rest}`. */
  async answer(ms = 5000) {
    const end = await this.until(() => this.received.indexOf("\r\n\r\n") + 1, "answer", ms);
    const head = this.received.subarray(0, end - 1).toString("latin1");
    return { status: Number(head.split(" ")[1]), head, rest: this.received.subarray(end + 3) };
  }
}

/** Opens a TCP connection and writes `bytes`. */
function tcp(fixture, bytes) {
  const connection = new Tcp(fixture);
  if (bytes !== undefined) connection.write(bytes);
  return connection;
}

function handshake(fixture, target, headers = {}) {
  const all = {
    Host: `127.0.0.1:${fixture.port}`,
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Key": crypto.randomBytes(16).toString("base64"),
    "Sec-WebSocket-Version": "13",
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== null);
  return `GET ${target} HTTP/1.1\r\n${lines.map(([k, v]) => `${k}: ${v}\r\n`).join("")}\r\n`;
}

/** One WebSocket frame; every field can be wrong. */
function frame(opcode, payload = "", options = {}) {
  const { fin = true, rsv = 0, masked = true, announce, lengthForm } = options;
  const data = Buffer.from(payload);
  const length = announce ?? data.length;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const form = lengthForm ?? (length < 126 ? 7 : length < 65536 ? 16 : 64);
  const mask = masked ? 0x80 : 0;
  let head;
  if (form === 7) {
    head = Buffer.from([first, mask | length]);
  } else if (form === 16) {
    head = Buffer.from([first, mask | 126, length >> 8, length & 255]);
  } else {
    head = Buffer.alloc(10);
    head[0] = first;
    head[1] = mask | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!masked) return Buffer.concat([head, data]);
  const key = crypto.randomBytes(4);
  const body = Buffer.from(data);
  for (let i = 0; i < body.length; i++) body[i] ^= key[i & 3];
  return Buffer.concat([head, key, body]);
}

const text = (payload, options) => frame(1, payload, options);
const binary = (payload, options) => frame(2, payload, options);

/** A WebSocket connection on a Tcp: messages, control frames and the close code it was given. */
class Ws extends Tcp {
  constructor(fixture, target, { headers, after } = {}) {
    super(fixture);
    this.messages = [];
    this.frames = [];
    this.pongs = 0;
    this.closeCode = undefined;
    this.parsed = false;
    this.parts = [];
    this.autopong = false;
    this.autoclose = true;
    this.next = 0;
    this.socket.removeAllListeners("data");
    this.socket.on("data", (data) => {
      this.received = this.received.length ? Buffer.concat([this.received, data]) : data;
      if (this.parsed) this.parse();
      this.wake();
    });
    this.write(Buffer.concat([Buffer.from(handshake(fixture, target, headers)), after || Buffer.alloc(0)]));
    this.ready = this.answer().then((answer) => {
      if (answer.status !== 101) {
        throw Object.assign(new Error(`handshake: ${answer.status}`), { answer });
      }
      this.head = answer.head;
      this.received = answer.rest;
      this.parsed = true;
      this.parse();
      this.wake();
      return this;
    });
    this.ready.catch(() => {});
  }

  parse() {
    for (;;) {
      const b = this.received;
      if (b.length < 2) return;
      let length = b[1] & 127;
      let at = 2;
      if (length === 126) {
        if (b.length < 4) return;
        length = b.readUInt16BE(2);
        at = 4;
      } else if (length === 127) {
        if (b.length < 10) return;
        length = Number(b.readBigUInt64BE(2));
        at = 10;
      }
      if (b.length < at + length) return;
      const opcode = b[0] & 15;
      const payload = b.subarray(at, at + length);
      this.received = b.subarray(at + length);
      this.frames.push({ opcode, fin: !!(b[0] & 128), rsv: (b[0] >> 4) & 7, masked: !!(b[1] & 128), length });
      if (opcode === 8) {
        this.closeCode = length >= 2 ? payload.readUInt16BE(0) : 1005;
        this.closeReason = payload.subarray(2).toString();
        if (this.autoclose) this.write(frame(8, payload));
      } else if (opcode === 9) {
        this.write(frame(10, payload));
      } else if (opcode === 10) {
        this.pongs += 1;
      } else {
        if (opcode !== 0) this.kind = opcode;
        if (opcode !== 0) this.rsv1 = !!(b[0] & 0x40);
        this.parts.push(payload);
        if (b[0] & 128) this.message(Buffer.concat(this.parts));
      }
    }
  }

  message(data) {
    this.parts = [];
    let whole = data;
    if (this.rsv1) {
      const tail = Buffer.from([0, 0, 255, 255]);
      whole = zlib.inflateRawSync(Buffer.concat([data, tail]), { finishFlush: zlib.constants.Z_SYNC_FLUSH });
    }
    const message = this.kind === 1 ? whole.toString() : Buffer.from(whole);
    if (this.autopong && message === "2") this.write(text("3"));
    this.messages.push(message);
  }

  send(payload, options) {
    this.write(typeof payload === "string" ? text(payload, options) : binary(payload, options));
  }

  /** The next message not yet taken. */
  async take(ms = 5000) {
    await this.until(
      () => this.messages.length > this.next || this.closed,
      `message (after ${this.next})`,
      ms,
    );
    if (this.messages.length <= this.next) {
      throw new Error(`connection closed (${this.closeCode}) instead of a message`);
    }
    return this.messages[this.next++];
  }

  /** The next message that is `wanted` (string, pattern or predicate); others are skipped. */
  async find(wanted, ms = 5000) {
    const test =
      typeof wanted === "function"
        ? wanted
        : (m) => (wanted instanceof RegExp ? typeof m === "string" && wanted.test(m) : m === wanted);
    const end = Date.now() + ms;
    for (;;) {
      const message = await this.take(Math.max(1, end - Date.now()));
      if (test(message)) return message;
    }
  }
}

/** An open WebSocket on `target`. */
async function ws(fixture, target, options) {
  const socket = new Ws(fixture, target, options);
  await socket.ready;
  return socket;
}

/** An Engine.IO session over WebSocket, its open packet taken; pings are answered by default. */
async function session(fixture, { path = EIO, ...options } = {}) {
  const socket = await ws(fixture, `${path}&transport=websocket`, options);
  socket.autopong = true;
  const open = await socket.take();
  if (open[0] !== "0") throw new Error(`not an open packet: ${open}`);
  socket.open = JSON.parse(open.slice(1));
  return socket;
}

/** A Socket.IO connection over WebSocket, joined to `nsp`. */
async function joined(fixture, nsp = "/", payload = "", options) {
  const socket = await session(fixture, options);
  const prefix = nsp === "/" ? "40" : `40${nsp},`;
  socket.send(prefix + payload);
  const answer = await socket.find((m) => typeof m === "string" && m.startsWith(prefix));
  socket.connect = JSON.parse(answer.slice(prefix.length));
  return socket;
}

/** An Engine.IO session over HTTP long-polling. */
class Polling {
  constructor(fixture, sid, path) {
    this.fixture = fixture;
    this.sid = sid;
    this.target = `${path}&transport=polling&sid=${sid}`;
    sessions.add(this);
  }

  get(options) {
    return request(this.fixture, "GET", this.target, options);
  }

  post(body, headers = { "content-type": "text/plain;charset=UTF-8" }) {
    if (body === "1") sessions.delete(this);
    return request(this.fixture, "POST", this.target, { body, headers });
  }

  /** The packets of one poll. */
  async poll() {
    const { status, body } = await this.get();
    if (status !== 200) throw new Error(`poll: ${status} ${body}`);
    return body.split("\x1e");
  }
}

async function polling(fixture, path = EIO) {
  const { status, body } = await request(fixture, "GET", `${path}&transport=polling`);
  if (status !== 200 || body[0] !== "0") throw new Error(`open: ${status} ${body}`);
  const open = JSON.parse(body.slice(1));
  const result = new Polling(fixture, open.sid, path);
  result.open = open;
  return result;
}

/** A polling session joined to `nsp`. */
async function joinedPolling(fixture, nsp = "/", payload = "") {
  const result = await polling(fixture);
  const prefix = nsp === "/" ? "40" : `40${nsp},`;
  await result.post(prefix + payload);
  for (;;) {
    const packets = await result.poll();
    if (packets.includes("2")) await result.post("3");
    const answer = packets.find((p) => p.startsWith(prefix));
    if (answer === undefined) continue;
    result.connect = JSON.parse(answer.slice(prefix.length));
    return result;
  }
}

module.exports = {
  EIO,
  Ws,
  binary,
  closeAll,
  frame,
  handshake,
  joined,
  joinedPolling,
  polling,
  request,
  session,
  tcp,
  text,
  ws,
};
