// Starts the server and the browser, and takes both down again.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const BINARY = process.env.SOCKEYE_BIN;
const START_TIMEOUT = 20_000;

/** A `sockeye serve` process that can be killed and started again on its port. */
export class SockeyeServer {
  /** @type {import("node:child_process").ChildProcess | null} */ #process = null;
  #output = "";
  /** @type {string[]} */ #flags;
  port = 0;

  /** @param {...string} flags */
  constructor(...flags) {
    this.#flags = flags;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  async start() {
    if (!BINARY) throw new Error("SOCKEYE_BIN names the server binary to test");
    const child = spawn(BINARY, ["serve", "--port", String(this.port), ...this.#flags], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    this.#output = "";
    this.port = await new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`${why}\n${this.#output}`));
      const timer = setTimeout(() => fail("the server did not print its address"), START_TIMEOUT);
      child.on("error", fail);
      child.on("exit", (code) => fail(`the server ended with ${code}`));
      for (const stream of [child.stdout, child.stderr]) {
        // Read on after the address, or the server would block on a full pipe.
        stream.on("data", (chunk) => {
          this.#output = (this.#output + chunk).slice(-10_000);
          const match = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(this.#output);
          if (!match) return;
          clearTimeout(timer);
          resolve(Number(match[1]));
        });
      }
    });
  }

  /** @param {NodeJS.Signals} [signal] */
  async stop(signal = "SIGKILL") {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Where screenshots go: `SCREENSHOTS`, or a new temporary folder. */
export async function screenshotFolder() {
  const folder = process.env.SCREENSHOTS ?? (await mkdtemp(join(tmpdir(), "sockeye-playground-")));
  await mkdir(folder, { recursive: true });
  return folder;
}
