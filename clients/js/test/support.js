// A network that does only what the test says, and a clock that moves only when told.
import { mock } from "node:test";
import { connect } from "../sockeye.js";

/** Lets promises settle; the real clock is not involved. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export function fakeClock(t) {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  t.after(() => mock.timers.reset());
  return {
    async advance(ms) {
      await settle();
      mock.timers.tick(ms);
      await settle();
    },
  };
}

export class Network {
  /** @type {any[]} */ sockets = [];

  constructor() {
    const network = this;
    this.WebSocket = class {
      readyState = 0;
      bufferedAmount = 0;
      sent = [];
      closeHangs = false;

      constructor(url) {
        this.url = new URL(url);
        network.sockets.push(this);
      }

      send(data) {
        this.sent.push(data);
      }

      close() {
        if (this.readyState >= 2) return;
        this.readyState = 2;
        if (!this.closeHangs) queueMicrotask(() => this.end(1000));
      }

      // From here on: what the test does as the network and the server.

      receive(...frames) {
        for (const data of frames) this.onmessage?.({ data });
      }

      end(code) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        this.onclose?.({ code });
      }

      fail() {
        this.onerror?.({});
        this.end(1006);
      }

      open(handshake = {}) {
        this.readyState = 1;
        const open = {
          sid: "e",
          upgrades: [],
          pingInterval: 25000,
          pingTimeout: 20000,
          maxPayload: 1000000,
        };
        this.receive(`0${JSON.stringify({ ...open, ...handshake })}`);
      }

      /** What was sent since the last call. */
      take() {
        return this.sent.splice(0);
      }
    };
  }

  get last() {
    return this.sockets.at(-1);
  }

  /** Opens the newest socket and joins it to the namespace. */
  async admit(connected = { sid: "id" }, handshake = {}) {
    const socket = this.last;
    socket.open(handshake);
    await settle();
    socket.receive(`40${JSON.stringify(connected)}`);
    await settle();
    return socket;
  }
}

/** A socket on a fake network, with everything that its watchers were told. */
export function start(options = {}) {
  const network = new Network();
  const socket = connect("http://server.test", {
    transports: ["websocket"],
    WebSocket: network.WebSocket,
    ...options,
  });
  const seen = [];
  for (const what of ["state", "connect", "disconnect", "error", "retry", "giveup", "refused"]) {
    socket.watch(what, (...args) => seen.push([what, ...args]));
  }
  const told = (what) => seen.filter(([name]) => name === what).map(([, value]) => value);
  return { network, socket, seen, told };
}
