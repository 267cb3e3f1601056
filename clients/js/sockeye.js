// @ts-check
/**
 * Sockeye's browser client: Socket.IO protocol 5 over Engine.IO protocol 4, in one module without
 * dependencies.
 *
 * It runs in browsers as it is, and in Node.js 20 or later when a WebSocket constructor is passed
 * as an option. It opens a WebSocket; where that fails it falls back to HTTP long-polling.
 *
 * ```js
 * import { connect } from "./sockeye.js";
 *
 * const auth = async () => ({ token: await fetchToken() });
 * const socket = connect("https://example.org", { auth });
 * socket.watch("state", (state) => console.log(state));
 * socket.on("message", ({ room, from, data }) => console.log(room, from.name, data));
 *
 * socket.watch("connect", () => socket.request("join", ["lobby", { name: "Ada" }]));
 * const chat = ["lobby", "chat", "Hello"];
 * const { delivered } = await socket.request("publish", chat, { timeout: 5000 });
 * ```
 *
 * All times are milliseconds, all sizes bytes.
 *
 * @module
 */

/**
 * @typedef {"connecting" | "connected" | "disconnecting" | "disconnected"} State
 * @typedef {"sent" | "queued" | "refused"} Outcome What became of an `emit`: handed to the
 *   transport, kept until the connection is back, or neither (the watchers of `refused` are told
 *   why).
 *
 * @typedef {object} ReconnectOptions The delay before attempt n is random(0, min(cap, base · 2ⁿ)).
 * @property {number} [base] Upper bound of the first delay. Default 1,000.
 * @property {number} [cap] Upper bound of every delay. Default 20,000.
 * @property {number} [attempts] Reconnection attempts in a row that may fail before it gives up.
 *   Default Infinity.
 *
 * @typedef {object} QueueOptions Bounds of what is kept while there is no connection.
 * @property {number} [count] Packets. Default 256.
 * @property {number} [bytes] Bytes of all packets, attachments included. Default 262,144.
 *
 * @typedef {Record<string, unknown>} Auth
 *
 * @typedef {object} Options
 * @property {string} [path] Where the server speaks Engine.IO. Default `/socket.io/`.
 * @property {Auth | (() => Auth | Promise<Auth>)} [auth] Sent when connecting; a function is asked
 *   at every connection.
 * @property {Record<string, string>} [query] Further query parameters of the handshake.
 * @property {("websocket" | "polling")[]} [transports] In order of preference. Default both,
 *   WebSocket first.
 * @property {boolean} [autoConnect] Connect at once. Default true.
 * @property {number} [connectTimeout] For opening a transport, and again for the server's answer.
 *   Default 10,000.
 * @property {number} [ackTimeout] Default deadline of `request`. Default 10,000.
 * @property {ReconnectOptions | false} [reconnect] `false` leaves reconnecting to the application.
 * @property {QueueOptions} [queue]
 * @property {number} [maxPending] Bytes that may wait in the transport of a slow connection; what
 *   would exceed them is refused. Default 4,194,304.
 * @property {number} [maxAttachments] Binary parts of one packet, in either direction. Default 10.
 * @property {boolean} [withCredentials] Send cookies to another origin when polling. Default false.
 * @property {*} [WebSocket] Constructor to use instead of the global one.
 * @property {typeof fetch} [fetch] Used instead of the global one.
 *
 * @typedef {object} Watched What `watch` can observe, and what the callback is given.
 * @property {[state: State, previous: State]} state The state changed.
 * @property {[info: { id: string, recovered: boolean, transport: string }]} connect The namespace
 *   was joined. What is sent from this callback goes before everything that was queued.
 *   `recovered`: the server restored the session, and what was missed follows.
 * @property {[info: { reason: string, detail: string, willReconnect: boolean }]} disconnect An
 *   established connection ended.
 * @property {[error: SockeyeError]} error An attempt to connect failed.
 * @property {[info: { attempt: number, delay: number }]} retry The next attempt (counted from 1)
 *   was scheduled.
 * @property {[info: { attempts: number }]} giveup The limit of attempts was reached.
 * @property {[info: { event: string, code: string }]} refused A packet was not sent and will not
 *   be: `queue_full`, `too_large`, `too_many_attachments` or `closed`.
 *
 * @typedef {object} Packet A Socket.IO packet.
 * @property {number} type One of `PacketType`; the binary types are chosen by the encoder and
 *   undone by the decoder.
 * @property {string} namespace
 * @property {number} [id] Asks for an acknowledgement, or is one.
 * @property {*} [data]
 *
 * @typedef {string | ArrayBuffer | ArrayBufferView} Frame
 */

/** Codes of the packet types of Socket.IO protocol 5. */
export const PacketType = Object.freeze({
  CONNECT: 0,
  DISCONNECT: 1,
  EVENT: 2,
  ACK: 3,
  CONNECT_ERROR: 4,
  BINARY_EVENT: 5,
  BINARY_ACK: 6,
});

/** Event names that Socket.IO keeps to itself: a server closes the connection that sends one. */
const RESERVED = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

/** Once WebSocket has worked, this many attempts in a row must fail before polling is tried. */
const FAILURES_BEFORE_FALLBACK = 3;

/** A connection that lasted this long has proved itself: the backoff starts from the beginning. */
const STABLE_AFTER = 5_000;

/** How long an orderly close may take before the transport is abandoned. */
const CLOSE_TIMEOUT = 2_000;

/** How long packets that already arrived have to be seen before a missing ping is believed. */
const HEARTBEAT_GRACE = 50;

/** An error of the client, or one that the server answered with (`remote`). */
export class SockeyeError extends Error {
  /**
   * @param {string} code For programs: `timeout`, `disconnected`, `closed`, `queue_full`,
   *   `too_large`, `too_many_attachments`, `aborted`, `connect_failed`, `connect_refused`, `auth`;
   *   or the server's code.
   * @param {string} message
   * @param {{ data?: unknown, remote?: boolean, cause?: unknown }} [more]
   */
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = "SockeyeError";
    this.code = code;
    /** @type {unknown} */
    this.data = more.data;
    this.remote = more.remote ?? false;
  }

  /** Whether a deadline passed; whether the server did what was asked is then unknown. */
  get isTimeout() {
    return !this.remote && this.code === "timeout";
  }
}

/** What the peer sent is not the protocol. */
export class ProtocolError extends Error {}

/**
 * Makes a socket for a server, and connects it unless `autoConnect` is false.
 *
 * @param {string} [url] `http(s)` or `ws(s)`; a path in it is the namespace. Default: the page's
 *   own origin.
 * @param {Options} [options]
 */
export function connect(url, options = {}) {
  const socket = new Socket(url, options);
  if (options.autoConnect ?? true) socket.connect();
  return socket;
}

/** One namespace of a server, over a connection of its own that is renewed when it breaks. */
export class Socket {
  /** @type {State} */ #state = "disconnected";
  /** @type {string | undefined} */ #id;
  #recovered = false;
  /** Whether the socket tries to be connected: from `connect` until something final happens. */
  #wanted = false;
  /** Whether something final happened, so that nothing may wait for a connection. */
  #closed = false;
  /** @type {Link | null} */ #link = null;
  #failures = 0;
  #webSocketWorks = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retryTimer;

  /** @type {{ frames: Frame[], bytes: number, event: string, id?: number }[]} */ #queue = [];
  #queueBytes = 0;
  #nextAckId = 0;
  /** @type {Map<number, PendingAck>} */ #acks = new Map();
  /** @type {number | undefined} */ #maxPayload;

  /** @type {string | undefined} */ #pid;
  /** @type {string | undefined} */ #offset;

  /** @type {Listeners} */ #events = new Listeners();
  /** @type {Listeners} */ #watchers = new Listeners();
  /** @type {Set<() => void>} */ #onClosed = new Set();
  /** @type {(() => void) | null} */ #unlistenPage = null;

  #url;
  #namespace;
  #options;

  /**
   * @param {string} [url]
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    const base = globalThis.location?.origin;
    this.#url = new URL(url ?? base ?? "", base);
    this.#namespace = this.#url.pathname;
    const reconnect = options.reconnect === false ? null : (options.reconnect ?? {});
    this.#options = {
      path: options.path ?? "/socket.io/",
      auth: options.auth ?? {},
      query: options.query ?? {},
      transports: options.transports ?? ["websocket", "polling"],
      connectTimeout: options.connectTimeout ?? 10_000,
      ackTimeout: options.ackTimeout ?? 10_000,
      reconnect: reconnect && {
        base: reconnect.base ?? 1_000,
        cap: reconnect.cap ?? 20_000,
        attempts: reconnect.attempts ?? Infinity,
      },
      queue: { count: options.queue?.count ?? 256, bytes: options.queue?.bytes ?? 262_144 },
      maxPending: options.maxPending ?? 4_194_304,
      maxAttachments: options.maxAttachments ?? 10,
      withCredentials: options.withCredentials ?? false,
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      fetch: options.fetch ?? globalThis.fetch?.bind(globalThis),
    };
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  get connected() {
    return this.#state === "connected";
  }

  /** Whether the socket, being disconnected, will connect again by itself. */
  get willReconnect() {
    return this.#retryTimer !== undefined;
  }

  /** The id that the server knows this connection by, while connected. */
  get id() {
    return this.connected ? this.#id : undefined;
  }

  /** Whether the server restored the previous session at the last connection. */
  get recovered() {
    return this.#recovered;
  }

  /** @returns {string | undefined} The transport in use: `websocket` or `polling`. */
  get transport() {
    return this.connected ? this.#link?.transport?.name : undefined;
  }

  /** What waits for a connection. */
  get queued() {
    return { count: this.#queue.length, bytes: this.#queueBytes };
  }

  /**
   * Connects now: at the start, after a final disconnection, or without waiting for the next
   * attempt.
   */
  connect() {
    if (this.#link) return this;
    this.#wanted = true;
    this.#closed = false;
    this.#failures = 0;
    this.#unlistenPage ??= this.#listenToPage();
    this.#attempt();
    return this;
  }

  /**
   * Disconnects for good, until `connect` is called. What is queued is dropped and reported.
   *
   * @returns {Promise<void>} Resolves when disconnected.
   */
  disconnect() {
    if (!this.#link) {
      this.#finish();
      return Promise.resolve();
    }
    const closed = new Promise((resolve) => this.#onClosed.add(() => resolve(undefined)));
    if (this.#state === "disconnecting") return closed;
    const link = this.#link;
    const joined = this.connected;
    this.#setState("disconnecting");
    if (joined) this.#send({ type: PacketType.DISCONNECT, namespace: this.#namespace });
    clearTimeout(link.deadline);
    link.deadline = setTimeout(
      () => this.#drop(link, "transport close", "closing took too long"),
      CLOSE_TIMEOUT,
    );
    link.transport?.close();
    return closed;
  }

  /**
   * Calls `listener` with the arguments of every event of that name. If the server asks for an
   * acknowledgement, the last argument is a function that gives it.
   *
   * @param {string} event
   * @param {(...args: any[]) => void} listener
   * @returns {() => void} Ends it.
   */
  on(event, listener) {
    return this.#events.add(event, listener);
  }

  /**
   * @param {string} event
   * @param {(...args: any[]) => void} [listener] Without it all listeners of the event go.
   */
  off(event, listener) {
    this.#events.delete(event, listener);
  }

  /**
   * Calls `listener` when something happens to the connection. Not to be confused with the server's
   * events, which `on` is for.
   *
   * @template {keyof Watched} K
   * @param {K} what
   * @param {(...args: Watched[K]) => void} listener
   * @returns {() => void} Ends it.
   */
  watch(what, listener) {
    return this.#watchers.add(what, listener);
  }

  /**
   * Sends an event, or queues it while there is no connection.
   *
   * @param {string} event
   * @param {...unknown} args JSON values; ArrayBuffers and views of them anywhere inside travel as
   *   binary.
   * @returns {Outcome}
   */
  emit(event, ...args) {
    const refusal = this.#submit(event, args);
    return typeof refusal === "string" ? refusal : "refused";
  }

  /**
   * Sends an event, or queues it while there is no connection, and waits for the acknowledgement.
   *
   * Rejects with a `SockeyeError`: `timeout` (a request still queued is then withdrawn),
   * `disconnected` (the connection broke while waiting: whether the server did it is unknown),
   * `aborted`, a refusal as for `emit`, or the server's error if it answered `{"error": {"code",
   * "message", "data"}}`.
   *
   * @param {string} event
   * @param {unknown[]} [args]
   * @param {{ timeout?: number, signal?: AbortSignal }} [options] A timeout of `Infinity` waits for
   *   ever.
   * @returns {Promise<any>} The first argument of the acknowledgement.
   */
  request(event, args = [], { timeout = this.#options.ackTimeout, signal } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted)
        throw new SockeyeError("aborted", `${event}: aborted`, { cause: signal.reason });
      const id = this.#nextAckId++;
      const outcome = this.#submit(event, args, id);
      if (outcome instanceof SockeyeError) throw outcome;

      const abort = () =>
        this.#settle(
          id,
          new SockeyeError("aborted", `${event}: aborted`, { cause: signal?.reason }),
        );
      const expire = () =>
        this.#settle(id, new SockeyeError("timeout", `${event}: no answer within ${timeout} ms`));
      signal?.addEventListener("abort", abort, { once: true });
      const timer = timeout === Infinity ? undefined : setTimeout(expire, timeout);
      this.#acks.set(id, {
        event,
        resolve,
        reject,
        release() {
          clearTimeout(timer);
          signal?.removeEventListener("abort", abort);
        },
      });
    });
  }

  // ---- connecting -------------------------------------------------------------------------------

  /** @param {number} [index] Which of the transports to try. */
  #attempt(index = 0) {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    const link = new Link(index, this.#options.maxAttachments);
    this.#link = link;
    this.#setState("connecting");
    if (this.#link !== link) return;
    this.#setDeadline(link, "the transport did not open");
    const handlers = {
      /** @param {Frame} data */
      frame: (data) => this.#onFrame(link, data),
      /** @param {string} reason @param {string} detail */
      closed: (reason, detail) => this.#onLinkClosed(link, reason, detail),
    };
    try {
      const Transport =
        this.#options.transports[index] === "polling" ? PollingTransport : WebSocketTransport;
      link.transport = new Transport(this.#url, this.#options, handlers);
    } catch (error) {
      this.#onLinkClosed(link, "transport error", String(error));
    }
  }

  /** @param {Link} link @param {string} detail */
  #setDeadline(link, detail) {
    clearTimeout(link.deadline);
    const { connectTimeout } = this.#options;
    link.deadline = setTimeout(
      () => this.#drop(link, "timeout", `${detail} within ${connectTimeout} ms`),
      connectTimeout,
    );
  }

  /** @param {Link} link @param {Frame} data */
  #onFrame(link, data) {
    if (link !== this.#link) return;
    try {
      if (typeof data !== "string") return this.#onMessage(link, data);
      switch (data[0]) {
        case "0":
          return this.#onOpen(link, data.slice(1));
        case "1":
          return this.#drop(link, "transport close", "closed by the server");
        case "2":
          link.expiresAt = Date.now() + link.heartbeat;
          return link.transport?.send(["3" + data.slice(1)]);
        case "4":
          return this.#onMessage(link, data.slice(1));
        case "6":
          return undefined;
        default:
          throw new ProtocolError(
            `unexpected Engine.IO packet ${JSON.stringify(data.slice(0, 20))}`,
          );
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#drop(link, "parse error", error.message);
    }
  }

  /** @param {Link} link @param {string} json */
  #onOpen(link, json) {
    const open = parseJson(json);
    const { sid, pingInterval, pingTimeout, maxPayload } = open ?? {};
    if (link.opened || typeof sid !== "string" || !(pingInterval > 0) || !(pingTimeout > 0)) {
      throw new ProtocolError("unexpected or malformed open packet");
    }
    link.opened = true;
    link.heartbeat = pingInterval + pingTimeout;
    link.expiresAt = Date.now() + link.heartbeat;
    this.#armHeartbeat(link);
    this.#maxPayload = maxPayload > 0 ? maxPayload : undefined;
    if (link.transport?.name === "websocket") this.#webSocketWorks = true;
    link.transport?.opened(sid, this.#maxPayload);
    this.#setDeadline(link, "the server did not admit the client");
    this.#sendConnect(link);
  }

  /** @param {Link} link */
  async #sendConnect(link) {
    /** @type {Auth} */ let auth;
    try {
      const given = this.#options.auth;
      auth = typeof given === "function" ? await given() : given;
    } catch (cause) {
      const message = `auth: ${cause instanceof Error ? cause.message : cause}`;
      link.error = new SockeyeError("auth", message, { cause });
      return this.#drop(link, "auth", message);
    }
    if (link !== this.#link || this.#state !== "connecting") return;
    const session = this.#pid === undefined ? {} : { pid: this.#pid, offset: this.#offset };
    const data = { ...session, ...auth };
    const empty = Object.keys(data).length === 0;
    this.#send({
      type: PacketType.CONNECT,
      namespace: this.#namespace,
      data: empty ? undefined : data,
    });
  }

  /** @param {Link} link @param {Frame} data */
  #onMessage(link, data) {
    const packet = link.decoder.add(data);
    if (!packet || packet.namespace !== this.#namespace) return;
    switch (packet.type) {
      case PacketType.CONNECT:
        return this.#onConnect(link, packet.data);
      case PacketType.CONNECT_ERROR:
        return this.#onConnectError(link, packet.data);
      case PacketType.DISCONNECT:
        return this.#onServerDisconnect(link);
      case PacketType.ACK:
        return this.#onAck(packet);
      case PacketType.EVENT:
        // What a recovered session missed comes before the packet that says it was recovered.
        if (this.#state === "connecting") link.early.push(packet);
        else if (this.connected) this.#dispatch(packet);
        return undefined;
    }
  }

  /** @param {Link} link @param {any} data */
  #onConnect(link, data) {
    if (this.#state === "disconnecting") return;
    if (typeof data?.sid !== "string" || this.connected)
      throw new ProtocolError("unexpected or malformed CONNECT");
    clearTimeout(link.deadline);
    const pid = typeof data.pid === "string" ? data.pid : undefined;
    this.#recovered = pid !== undefined && pid === this.#pid;
    // The offset of another session would ask the server for packets that this one already has.
    if (!this.#recovered) this.#offset = undefined;
    this.#pid = pid;
    this.#id = data.sid;
    link.joinedAt = Date.now();
    this.#setState("connected");
    if (link !== this.#link) return;
    this.#watchers.call("connect", [
      { id: data.sid, recovered: this.#recovered, transport: link.transport?.name ?? "" },
    ]);
    for (const packet of link.early.splice(0)) {
      if (link === this.#link && this.connected) this.#dispatch(packet);
    }
    if (link === this.#link && this.connected) this.#flush();
  }

  /** @param {Link} link @param {any} data */
  #onConnectError(link, data) {
    const message = typeof data === "string" ? data : String(data?.message ?? "refused");
    link.error = new SockeyeError("connect_refused", message, { data: data?.data, remote: true });
    this.#wanted = false;
    this.#drop(link, "connect_refused", message);
  }

  /**
   * The server sent this client away: a client that came back by itself would defeat it.
   *
   * @param {Link} link
   */
  #onServerDisconnect(link) {
    this.#wanted = false;
    this.#drop(link, "io server disconnect", "");
  }

  // ---- heartbeat and the page -------------------------------------------------------------------

  /**
   * One timer that looks again later if pings came meanwhile, instead of one per ping.
   *
   * @param {Link} link
   */
  #armHeartbeat(link) {
    clearTimeout(link.heartbeatTimer);
    const wait = Math.max(0, link.expiresAt - Date.now()) + HEARTBEAT_GRACE;
    link.heartbeatTimer = setTimeout(() => {
      if (Date.now() < link.expiresAt) return this.#armHeartbeat(link);
      // After a stall of the page, pings that came in time may still wait behind this timer.
      link.heartbeatTimer = setTimeout(() => {
        if (Date.now() < link.expiresAt) return this.#armHeartbeat(link);
        this.#drop(link, "ping timeout", "");
      }, HEARTBEAT_GRACE);
    }, wait);
  }

  /**
   * Whether the server has been silent for too long, which timers of a page that slept cannot have
   * noticed.
   */
  #checkHeartbeat() {
    const link = this.#link;
    if (!link?.opened || Date.now() < link.expiresAt) return;
    this.#drop(link, "ping timeout", "");
  }

  #listenToPage() {
    const controller = new AbortController();
    const { signal } = controller;
    const retryNow = () => {
      if (this.#retryTimer === undefined) return;
      this.#failures = 0;
      this.#attempt();
    };
    const back = () => {
      this.#checkHeartbeat();
      retryNow();
    };
    const target = typeof globalThis.addEventListener === "function" ? globalThis : undefined;
    target?.addEventListener("online", back, { signal });
    target?.addEventListener("pageshow", back, { signal });
    target?.addEventListener(
      "offline",
      () => {
        if (this.#link) this.#drop(this.#link, "transport close", "the browser is offline");
      },
      { signal },
    );
    const page = globalThis.document;
    page?.addEventListener(
      "visibilitychange",
      () => {
        if (page.visibilityState === "visible") back();
      },
      { signal },
    );
    return () => controller.abort();
  }

  // ---- disconnecting ----------------------------------------------------------------------------

  /**
   * Ends a link from this side, at once.
   *
   * @param {Link} link
   * @param {string} reason
   * @param {string} detail
   */
  #drop(link, reason, detail) {
    link.transport?.kill();
    this.#onLinkClosed(link, reason, detail);
  }

  /** @param {Link} link @param {string} reason @param {string} detail */
  #onLinkClosed(link, reason, detail) {
    clearTimeout(link.deadline);
    clearTimeout(link.heartbeatTimer);
    if (link !== this.#link) return;
    this.#link = null;

    if (this.#state === "disconnecting") {
      this.#wanted = false;
      return this.#ended(link, "io client disconnect", detail);
    }
    if (this.connected) {
      if (Date.now() - link.joinedAt >= STABLE_AFTER) this.#failures = 0;
      return this.#ended(link, reason, detail);
    }
    if (this.#wanted && !link.opened && this.#mayFallBack(link))
      return this.#attempt(link.index + 1);
    const error =
      link.error ?? new SockeyeError("connect_failed", `${reason}${detail && `: ${detail}`}`);
    this.#setState("disconnected");
    this.#watchers.call("error", [error]);
    this.#next();
  }

  /** @param {Link} link */
  #mayFallBack(link) {
    if (link.index + 1 >= this.#options.transports.length) return false;
    return !this.#webSocketWorks || this.#failures >= FAILURES_BEFORE_FALLBACK;
  }

  /**
   * A connection that was established is over.
   *
   * @param {Link} link
   * @param {string} reason
   * @param {string} detail
   */
  #ended(link, reason, detail) {
    const established = link.joinedAt > 0;
    this.#setState("disconnected");
    const waiting = new Set(this.#queue.map((entry) => entry.id));
    for (const [id, ack] of [...this.#acks]) {
      if (waiting.has(id)) continue;
      this.#settle(
        id,
        new SockeyeError(
          "disconnected",
          `${ack.event}: disconnected before the answer (${reason})`,
        ),
      );
    }
    const willReconnect = this.#wanted && !!this.#options.reconnect;
    if (established) this.#watchers.call("disconnect", [{ reason, detail, willReconnect }]);
    this.#next();
  }

  /** Schedules the next attempt, or ends it all. */
  #next() {
    // A watcher may have connected or disconnected meanwhile.
    if (this.#link || this.#retryTimer !== undefined) return;
    const { reconnect } = this.#options;
    if (!this.#wanted || !reconnect) return this.#finish();
    if (this.#failures >= reconnect.attempts) {
      this.#finish();
      return this.#watchers.call("giveup", [{ attempts: this.#failures }]);
    }
    const delay = backoffDelay(this.#failures, reconnect);
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.#attempt(), delay);
    this.#watchers.call("retry", [{ attempt: this.#failures, delay }]);
  }

  /** Nothing will happen until `connect` is called: nothing may wait for it unknowingly. */
  #finish() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#wanted = false;
    this.#closed = true;
    this.#pid = undefined;
    this.#offset = undefined;
    this.#unlistenPage?.();
    this.#unlistenPage = null;
    const dropped = this.#queue.splice(0);
    this.#queueBytes = 0;
    for (const { event, id } of dropped) {
      if (id !== undefined)
        this.#settle(id, new SockeyeError("closed", `${event}: the socket is closed`));
      this.#watchers.call("refused", [{ event, code: "closed" }]);
    }
    for (const resolve of [...this.#onClosed]) resolve();
    this.#onClosed.clear();
  }

  /** @param {State} state */
  #setState(state) {
    const previous = this.#state;
    if (state === previous) return;
    this.#state = state;
    this.#watchers.call("state", [state, previous]);
  }

  // ---- sending ----------------------------------------------------------------------------------

  /**
   * @param {string} event
   * @param {unknown[]} args
   * @param {number} [id]
   * @returns {"sent" | "queued" | SockeyeError}
   */
  #submit(event, args, id) {
    if (RESERVED.has(event)) throw new TypeError(`"${event}" is reserved by Socket.IO`);
    const frames = encodePacket({
      type: PacketType.EVENT,
      namespace: this.#namespace,
      id,
      data: [event, ...args],
    });
    const sizes = frames.map((frame) => byteLength(frame) + (typeof frame === "string" ? 1 : 0));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);

    if (frames.length - 1 > this.#options.maxAttachments) {
      return this.#refuse(
        event,
        "too_many_attachments",
        `more than ${this.#options.maxAttachments} binary parts`,
      );
    }
    if (this.#maxPayload !== undefined && Math.max(...sizes) > this.#maxPayload) {
      return this.#refuse(event, "too_large", `the server takes ${this.#maxPayload} bytes at most`);
    }
    if (this.connected) this.#checkHeartbeat();
    if (this.connected) {
      const pending = this.#link?.transport?.pending ?? 0;
      if (pending > 0 && pending + bytes > this.#options.maxPending) {
        return this.#refuse(event, "queue_full", `${pending} bytes wait to be sent`);
      }
      this.#link?.transport?.send(frames.map(asMessage));
      return "sent";
    }
    if (this.#closed || this.#state === "disconnecting")
      return this.#refuse(event, "closed", "the socket is closed");
    const { queue } = this.#options;
    if (this.#queue.length >= queue.count || this.#queueBytes + bytes > queue.bytes) {
      return this.#refuse(
        event,
        "queue_full",
        `${this.#queue.length} packets of ${this.#queueBytes} bytes wait already`,
      );
    }
    // What is sent later must not change with the caller's buffer.
    this.#queue.push({ frames: frames.map(copyOf), bytes, event, id });
    this.#queueBytes += bytes;
    return "queued";
  }

  /** @param {string} event @param {string} code @param {string} message */
  #refuse(event, code, message) {
    this.#watchers.call("refused", [{ event, code }]);
    return new SockeyeError(code, `${event}: ${message}`);
  }

  #flush() {
    for (const { frames } of this.#queue.splice(0))
      this.#link?.transport?.send(frames.map(asMessage));
    this.#queueBytes = 0;
  }

  /** @param {Packet} packet */
  #send(packet) {
    this.#link?.transport?.send(encodePacket(packet).map(asMessage));
  }

  // ---- receiving --------------------------------------------------------------------------------

  /** @param {Packet} packet */
  #dispatch({ id, data }) {
    const [event, ...args] = data;
    const link = this.#link;
    const last = args.at(-1);
    if (id !== undefined) {
      let answered = false;
      args.push((/** @type {unknown[]} */ ...answer) => {
        if (answered || link !== this.#link || !this.connected) return;
        answered = true;
        this.#send({ type: PacketType.ACK, namespace: this.#namespace, id, data: answer });
      });
    }
    this.#events.call(String(event), args);
    // Only after the listeners ran: what they did not see counts as missed.
    if (id === undefined && this.#pid !== undefined && typeof last === "string")
      this.#offset = last;
  }

  /** @param {Packet} packet */
  #onAck({ id, data }) {
    if (id === undefined) return;
    const failure = data[0]?.error;
    if (typeof failure?.code === "string") {
      const message = String(failure.message ?? failure.code);
      return this.#settle(
        id,
        new SockeyeError(failure.code, message, { data: failure.data, remote: true }),
      );
    }
    this.#settle(id, null, data[0]);
  }

  /** @param {number} id @param {SockeyeError | null} error @param {unknown} [value] */
  #settle(id, error, value) {
    const ack = this.#acks.get(id);
    if (!ack) return;
    this.#acks.delete(id);
    ack.release();
    if (!error) return ack.resolve(value);
    const index = this.#queue.findIndex((entry) => entry.id === id);
    if (index >= 0) {
      const [entry] = this.#queue.splice(index, 1);
      this.#queueBytes -= entry.bytes;
    }
    ack.reject(error);
  }
}

// ---- backoff ------------------------------------------------------------------------------------

/**
 * How long to wait before an attempt: "full jitter", so that clients that fell together do not come
 * back together.
 *
 * @param {number} failures Attempts that failed before, from 0.
 * @param {{ base: number, cap: number }} bounds
 * @param {() => number} [random] Evenly distributed in [0, 1).
 * @returns {number} In [0, min(cap, base · 2^failures)).
 */
export function backoffDelay(failures, { base, cap }, random = Math.random) {
  return random() * Math.min(cap, base * 2 ** failures);
}

// ---- packets ------------------------------------------------------------------------------------

/**
 * @param {Packet} packet
 * @returns {Frame[]} The text of the packet, then its attachments.
 */
export function encodePacket({ type, namespace, id, data }) {
  /** @type {Frame[]} */
  const attachments = [];
  const json =
    data === undefined
      ? ""
      : JSON.stringify(data, function (key, value) {
          // `value` went through toJSON already, which some buffers have.
          const raw = this[key];
          if (!isBinary(raw)) return value;
          attachments.push(raw);
          return { _placeholder: true, num: attachments.length - 1 };
        });
  const binary = attachments.length > 0;
  const wireType = !binary
    ? type
    : type === PacketType.ACK
      ? PacketType.BINARY_ACK
      : PacketType.BINARY_EVENT;
  const head = `${wireType}${binary ? `${attachments.length}-` : ""}`;
  return [`${head}${namespace === "/" ? "" : `${namespace},`}${id ?? ""}${json}`, ...attachments];
}

/** Turns messages back into packets; binary ones take several. */
export class Decoder {
  /** @type {Packet | null} */ #packet = null;
  /** @type {Frame[]} */ #attachments = [];
  #expected = 0;
  #maxAttachments;

  /** @param {{ maxAttachments?: number }} [options] */
  constructor({ maxAttachments = 10 } = {}) {
    this.#maxAttachments = maxAttachments;
  }

  /**
   * @param {Frame} message
   * @returns {Packet | null} The packet that this message completes.
   * @throws {ProtocolError}
   */
  add(message) {
    if (typeof message !== "string") {
      if (!this.#packet) throw new ProtocolError("binary message without a packet");
      this.#attachments.push(message);
      return this.#complete();
    }
    if (this.#packet) throw new ProtocolError("text message where an attachment is due");
    const { packet, attachments } = decodeText(message);
    if (attachments > this.#maxAttachments) throw new ProtocolError("too many attachments");
    if (attachments === undefined) return packet;
    this.#packet = packet;
    this.#expected = attachments;
    return this.#complete();
  }

  #complete() {
    if (this.#attachments.length < this.#expected) return null;
    const packet = /** @type {Packet} */ (this.#packet);
    packet.data = restore(packet.data, this.#attachments);
    this.#packet = null;
    this.#attachments = [];
    return packet;
  }
}

/** @param {string} text @returns {{ packet: Packet, attachments?: any }} */
function decodeText(text) {
  const head = /^([0-6])(?:(\d{1,9})-)?(?:(\/[^,]*)(?:,|$))?(\d{1,15})?/.exec(text);
  if (!head) throw new ProtocolError("unknown packet type");
  const [all, digit, count, namespace = "/", id] = head;
  let type = Number(digit);
  const binary = type === PacketType.BINARY_EVENT || type === PacketType.BINARY_ACK;
  if (binary !== (count !== undefined)) throw new ProtocolError("malformed attachment count");
  if (binary) type -= PacketType.BINARY_EVENT - PacketType.EVENT;
  const json = text.slice(all.length);
  const data = json === "" ? undefined : parseJson(json);
  if (!isPlausible(type, data)) throw new ProtocolError("malformed payload");
  /** @type {Packet} */
  const packet = { type, namespace, data };
  if (id !== undefined) packet.id = Number(id);
  return { packet, attachments: binary ? Number(count) : undefined };
}

/** @param {number} type @param {any} data */
function isPlausible(type, data) {
  switch (type) {
    case PacketType.CONNECT:
      return data === undefined || isObject(data);
    case PacketType.DISCONNECT:
      return data === undefined;
    case PacketType.CONNECT_ERROR:
      return typeof data === "string" || isObject(data);
    case PacketType.EVENT:
      return Array.isArray(data) && ["string", "number"].includes(typeof data[0]);
    default:
      return Array.isArray(data);
  }
}

/**
 * Puts attachments where their placeholders are; with a stack of its own, for depth is the sender's
 * choice.
 */
function restore(/** @type {any} */ data, /** @type {Frame[]} */ attachments) {
  const root = { data };
  /** @type {any[]} */
  const stack = [root];
  for (let holder = stack.pop(); holder; holder = stack.pop()) {
    for (const key of Object.keys(holder)) {
      const value = holder[key];
      if (typeof value !== "object" || value === null) continue;
      if (value._placeholder !== true) {
        stack.push(value);
        continue;
      }
      if (!Number.isInteger(value.num) || !(value.num in attachments))
        throw new ProtocolError("illegal attachment");
      holder[key] = attachments[value.num];
    }
  }
  return root.data;
}

// ---- transports ---------------------------------------------------------------------------------

/**
 * @typedef {object} Handlers
 * @property {(data: Frame) => void} frame An Engine.IO packet, or the payload of a binary message.
 * @property {(reason: string, detail: string) => void} closed At most once.
 */

class WebSocketTransport {
  name = "websocket";
  #socket;

  /**
   * @param {URL} url
   * @param {{ path: string, query: Record<string, string>, WebSocket: any }} options
   * @param {Handlers} handlers
   */
  constructor(url, options, handlers) {
    if (!options.WebSocket) throw new Error("no WebSocket here: pass a constructor as an option");
    const address = engineUrl(url, options, "websocket");
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new options.WebSocket(address.href);
    socket.binaryType = "arraybuffer";
    let failed = false;
    socket.onmessage = (/** @type {any} */ event) => handlers.frame(event.data);
    socket.onerror = () => {
      failed = true;
    };
    socket.onclose = (/** @type {any} */ event) =>
      handlers.closed(failed ? "transport error" : "transport close", `code ${event.code}`);
    this.#socket = socket;
  }

  /** Bytes that the network has not taken yet. */
  get pending() {
    return this.#socket.bufferedAmount;
  }

  opened() {}

  /** @param {Frame[]} frames */
  send(frames) {
    // A socket that is closing would only log what it drops.
    if (this.#socket.readyState !== 1) return;
    for (const frame of frames) this.#socket.send(frame);
  }

  close() {
    this.#socket.close();
  }

  kill() {
    this.#socket.onmessage = null;
    this.#socket.close();
  }
}

/** HTTP long-polling: a GET that is always waiting, and one POST at a time. */
class PollingTransport {
  name = "polling";
  pending = 0;
  #url;
  #options;
  #handlers;
  #maxPayload = 1_000_000;
  /** @type {{ text: string, bytes: number }[]} */ #outbox = [];
  #posting = false;
  #closing = false;
  #closed = false;
  #abort = new AbortController();

  /**
   * @param {URL} url
   * @param {{ path: string, query: Record<string, string>, fetch: typeof fetch, withCredentials:
   *   boolean }} options
   * @param {Handlers} handlers
   */
  constructor(url, options, handlers) {
    this.#url = engineUrl(url, options, "polling");
    this.#url.protocol = this.#url.protocol.replace("ws", "http");
    this.#options = options;
    this.#handlers = handlers;
    this.#poll();
  }

  /** @param {string} sid @param {number} [maxPayload] */
  opened(sid, maxPayload) {
    this.#url.searchParams.set("sid", sid);
    this.#maxPayload = maxPayload ?? this.#maxPayload;
  }

  /** @param {Frame[]} frames */
  send(frames) {
    for (const frame of frames) {
      const text = typeof frame === "string" ? frame : `b${toBase64(frame)}`;
      const bytes = byteLength(text);
      this.#outbox.push({ text, bytes });
      this.pending += bytes;
    }
    this.#post();
  }

  close() {
    if (!this.#url.searchParams.has("sid")) return this.#finish("transport close", "");
    this.#closing = true;
    this.send(["1"]);
  }

  kill() {
    this.#closed = true;
    this.#abort.abort();
  }

  async #poll() {
    try {
      // Once the session is being closed, another request would ask for one that is gone.
      while (!this.#closed && !this.#closing) {
        const text = await this.#request("GET");
        for (const packet of text.split("\x1e")) {
          if (this.#closed) return;
          this.#handlers.frame(packet[0] === "b" ? fromBase64(packet.slice(1)) : packet);
        }
      }
    } catch (error) {
      this.#finish("transport error", String(error));
    }
  }

  async #post() {
    if (this.#posting || this.#closed) return;
    this.#posting = true;
    try {
      // Whoever sends several packets in one turn has them in one request.
      await undefined;
      while (this.#outbox.length > 0 && !this.#closed) {
        const batch = this.#outbox.splice(0, this.#batchSize());
        await this.#request("POST", batch.map(({ text }) => text).join("\x1e"));
        for (const { bytes } of batch) this.pending -= bytes;
        if (batch.at(-1)?.text === "1") return this.#finish("transport close", "");
      }
    } catch (error) {
      this.#finish("transport error", String(error));
    } finally {
      this.#posting = false;
    }
  }

  /**
   * How many packets of the outbox fit into one request; one always goes. The packet that closes
   * the session goes alone, or a server might close before it has seen what came with it.
   */
  #batchSize() {
    let bytes = 0;
    const end = this.#outbox.findIndex((entry) => {
      bytes += entry.bytes + 1;
      return bytes > this.#maxPayload + 1 || entry.text === "1";
    });
    return end < 0 ? this.#outbox.length : Math.max(1, end);
  }

  /** @param {"GET" | "POST"} method @param {string} [body] */
  async #request(method, body) {
    const url = new URL(this.#url);
    url.searchParams.set("t", Math.random().toString(36).slice(2));
    const response = await this.#options.fetch(url.href, {
      method,
      body,
      headers: body === undefined ? {} : { "content-type": "text/plain;charset=UTF-8" },
      cache: "no-store",
      credentials: this.#options.withCredentials ? "include" : "same-origin",
      signal: this.#abort.signal,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`HTTP status ${response.status} ${text.slice(0, 200)}`);
    return text;
  }

  /** @param {string} reason @param {string} detail */
  #finish(reason, detail) {
    if (this.#closed) return;
    this.kill();
    this.#handlers.closed(reason, detail);
  }
}

// ---- helpers ------------------------------------------------------------------------------------

/**
 * @typedef {object} PendingAck
 * @property {string} event
 * @property {(value: unknown) => void} resolve
 * @property {(error: SockeyeError) => void} reject
 * @property {() => void} release Frees the deadline.
 */

/** One attempt to connect, and the connection it becomes. */
class Link {
  /** @type {WebSocketTransport | PollingTransport | null} */ transport = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ deadline;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ heartbeatTimer;
  /** @type {SockeyeError | undefined} */ error;
  /** @type {Packet[]} */ early = [];
  /** Whether the Engine.IO handshake is done. */
  opened = false;
  heartbeat = 0;
  expiresAt = 0;
  joinedAt = 0;

  /** @param {number} index @param {number} maxAttachments */
  constructor(index, maxAttachments) {
    this.index = index;
    this.decoder = new Decoder({ maxAttachments });
  }
}

class Listeners {
  /** @type {Map<string, Set<(...args: any[]) => void>>} */ #map = new Map();

  /** @param {string} name @param {(...args: any[]) => void} listener */
  add(name, listener) {
    const set = this.#map.get(name) ?? new Set();
    this.#map.set(name, set.add(listener));
    return () => this.delete(name, listener);
  }

  /** @param {string} name @param {(...args: any[]) => void} [listener] */
  delete(name, listener) {
    const set = this.#map.get(name);
    if (listener) set?.delete(listener);
    if (!listener || set?.size === 0) this.#map.delete(name);
  }

  /**
   * A listener that throws must not harm the connection or the other listeners.
   *
   * @param {string} name
   * @param {any[]} args
   */
  call(name, args) {
    for (const listener of [...(this.#map.get(name) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        if (typeof globalThis.reportError === "function") globalThis.reportError(error);
        else console.error(error);
      }
    }
  }
}

/**
 * @param {URL} base
 *
 * @param {{ path: string, query: Record<string, string> }} options
 * @param {string} transport
 */
function engineUrl(base, { path, query }, transport) {
  const url = new URL(base);
  url.pathname = path;
  url.hash = "";
  for (const [key, value] of Object.entries({ ...query, EIO: "4", transport }))
    url.searchParams.set(key, value);
  return url;
}

/** @param {unknown} value @returns {value is ArrayBuffer | ArrayBufferView} */
function isBinary(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {string} json @returns {any} */
function parseJson(json) {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new ProtocolError("malformed JSON", { cause });
  }
}

/**
 * The Engine.IO packet of a message: text has a type in front, binary is told by its kind.
 *
 * @param {Frame} frame
 */
function asMessage(frame) {
  return typeof frame === "string" ? `4${frame}` : frame;
}

/** @param {Frame} frame @returns {Frame} */
function copyOf(frame) {
  return typeof frame === "string" ? frame : bytesOf(frame).slice();
}

/** @param {ArrayBuffer | ArrayBufferView} data */
function bytesOf(data) {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

/** @param {Frame} frame Text counts as UTF-8. */
function byteLength(frame) {
  if (typeof frame !== "string") return frame.byteLength;
  let bytes = frame.length;
  for (let i = 0; i < frame.length; i++) {
    const unit = frame.charCodeAt(i);
    if (unit < 0x80) continue;
    // The halves of a surrogate pair are two units and four bytes: one more for each.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

/** @param {ArrayBuffer | ArrayBufferView} data */
function toBase64(data) {
  const bytes = bytesOf(data);
  let binary = "";
  // In pieces, since each byte becomes an argument of the call.
  for (let i = 0; i < bytes.length; i += 0x8000) {
    binary += String.fromCharCode.apply(null, /** @type {any} */ (bytes.subarray(i, i + 0x8000)));
  }
  return btoa(binary);
}

/** @param {string} base64 */
function fromBase64(base64) {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)).buffer;
  } catch (cause) {
    throw new ProtocolError("malformed base64", { cause });
  }
}
