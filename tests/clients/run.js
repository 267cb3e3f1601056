// Runs the test files one after the other (they share the machine with the server they measure) and
// fails when one fails or takes too long. Arguments: names of files, default all.
"use strict";

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const { BIN } = require("./lib/fixture");

if (!fs.existsSync(BIN)) {
  console.error(`no conformance server at ${BIN}: set FIXTURE_BIN or build the example "conformance"`);
  process.exit(2);
}
const files = process.argv.slice(2);
if (files.length === 0) {
  files.push(...fs.readdirSync(__dirname).filter((name) => name.endsWith(".test.js")).sort());
}
const args = ["--test", "--test-concurrency=1", "--test-timeout=150000", "--test-reporter=spec", ...files];
const { status } = spawnSync(process.execPath, args, { cwd: __dirname, stdio: "inherit", timeout: 400000 });
process.exit(status ?? 1);
