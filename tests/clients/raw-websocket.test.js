// RFC 6455 frame by frame, on the plain echo and on the Engine.IO transport: what is wrong is refused
// with the right code, and only its own connection pays for it.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, describe, test } = require("node:test");
const { NODE, exceptNode, finish, startFixture } = require("./lib/fixture");
const raw = require("./lib/raw");

const { EIO, binary, frame, handshake, joined, tcp, text, ws } = raw;

let fixture;
before(async () => (fixture = await startFixture()));
after(() => finish(fixture));
afterEach(() => raw.closeAll());

describe("handshake", () => {
  for (const [what, headers, status] of [
    ["no key", { "Sec-WebSocket-Key": null }, 400],
    ["a short key", { "Sec-WebSocket-Key": "AAAA" }, 400],
    ["a key that is not base64", { "Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!==" }, 400],
    ["no version", { "Sec-WebSocket-Version": null }, [400, 426]],
    ["version 12", { "Sec-WebSocket-Version": "12" }, [400, 426]],
  ]) {
    test(`${what}: refused`, async () => {
      for (const target of ["/ws-echo", `${EIO}&transport=websocket`]) {
        const connection = tcp(fixture, handshake(fixture, target, headers));
        const answer = await connection.answer();
        assert.ok([status].flat().includes(answer.status), `${answer.status}`);
        if (answer.status === 426) assert.match(answer.head, /sec-websocket-version: .*13/i);
        connection.destroy();
      }
    });
  }

  test("wrong version: 426 with Sec-WebSocket-Version", exceptNode("answers 400"), async () => {
    const connection = tcp(fixture, handshake(fixture, "/ws-echo", { "Sec-WebSocket-Version": "99" }));
    const { status, head } = await connection.answer();
    assert.equal(status, 426);
    assert.match(head, /sec-websocket-version: 13/i);
  });

  test("POST with upgrade headers: 4xx", async () => {
    const connection = tcp(fixture, handshake(fixture, "/ws-echo").replace("GET", "POST"));
    const { status } = await connection.answer();
    assert.ok(status >= 400 && status < 500, `${status}`);
    connection.destroy();
  });

  test("accept key, header case and lists", async () => {
    const crypto = require("node:crypto");
    const key = "dGhlIHNhbXBsZSBub25jZQ==";
    const socket = await ws(fixture, "/ws-echo", {
      headers: { Upgrade: "WebSocket", Connection: "keep-alive, Upgrade", "Sec-WebSocket-Key": key },
    });
    const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const expected = crypto.createHash("sha1").update(key + guid).digest("base64");
    assert.ok(socket.head.includes(expected));
    assert.doesNotMatch(socket.head, /sec-websocket-(extensions|protocol)/i);
    socket.destroy();
  });

  test("frames in the segment of the handshake are not lost", async () => {
    const after = Buffer.concat([text("one"), binary(Buffer.from([2])), text("three")]);
    const socket = await ws(fixture, "/ws-echo", { after });
    assert.equal(await socket.take(), "one");
    assert.deepEqual(await socket.take(), Buffer.from([2]));
    assert.equal(await socket.take(), "three");
  });

  test("nor are they when they open a session", exceptNode("loses them"), async () => {
    const socket = await raw.session(fixture, { after: text("40") });
    assert.match(await socket.take(), /^40\{"sid"/);
  });

  test("a handshake byte by byte", async () => {
    const connection = tcp(fixture);
    for (const byte of Buffer.from(handshake(fixture, "/ws-echo"))) connection.write(Buffer.from([byte]));
    assert.equal((await connection.answer()).status, 101);
    connection.destroy();
  });

  test("garbage, huge heads and bad request lines are refused", async () => {
    const cases = [
      Buffer.from([0, 1, 2, 3, 255, 13, 10, 13, 10]),
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "\r\n\r\n\r\nnonsense\r\n\r\n",
      `GET /ws-echo HTTP/1.1\r\nHost: x\r\n${"X: y\r\n".repeat(5000)}\r\n`,
      `GET /ws-echo HTTP/1.1\r\nHost: x\r\nX-Long: ${"z".repeat(300000)}\r\n\r\n`,
      `GET /${"a".repeat(300000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
      "POST /socket.io/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ];
    for (const bytes of cases) {
      const connection = tcp(fixture, bytes);
      await connection.until(() => connection.closed || connection.received.length, "an answer or the end");
      if (connection.received.length) {
        const status = Number(connection.received.toString("latin1").split(" ")[1]);
        assert.ok(status >= 400 && status < 600, `${status} to ${String(bytes).slice(0, 40)}`);
      }
      connection.destroy();
    }
  });
});

const VIOLATIONS = [
  ["an unmasked frame", text("x", { masked: false }), 1002],
  ["reserved bit 1 without an extension", text("x", { rsv: 4 }), 1002],
  ["reserved bit 2", text("x", { rsv: 2 }), 1002],
  ["reserved bit 3", binary("x", { rsv: 1 }), 1002],
  ["reserved opcode 3", frame(3, "x"), 1002],
  ["reserved opcode 7", frame(7, ""), 1002],
  ["reserved control opcode 11", frame(11, ""), 1002],
  ["reserved control opcode 15", frame(15, ""), 1002],
  ["a fragmented ping", frame(9, "x", { fin: false }), 1002],
  ["a fragmented close", frame(8, "", { fin: false }), 1002],
  ["a ping of 126 bytes", frame(9, "x".repeat(126)), 1002],
  ["a close of 126 bytes", frame(8, Buffer.concat([Buffer.from([3, 232]), Buffer.alloc(124, 97)])), 1002],
  ["a continuation of nothing", frame(0, "x"), 1002],
  ["a new message inside another", Buffer.concat([text("a", { fin: false }), text("b")]), 1002],
  ["a close of one byte", frame(8, "x"), 1002],
  ["close code 1005", frame(8, Buffer.from([3, 237])), 1002],
  ["close code 1006", frame(8, Buffer.from([3, 238])), 1002],
  ["close code 999", frame(8, Buffer.from([3, 231])), 1002],
  ["close code 1016", frame(8, Buffer.from([3, 248])), 1002],
  ["close code 5000", frame(8, Buffer.from([19, 136])), 1002],
  ["a close reason that is not UTF-8", frame(8, Buffer.from([3, 232, 0xff, 0xfe])), 1007],
  ["text that is not UTF-8", text(Buffer.from([0x48, 0xff, 0x49])), 1007],
  ["an overlong encoding", text(Buffer.from([0xc0, 0xaf])), 1007],
  ["an encoded surrogate", text(Buffer.from([0xed, 0xa0, 0x80])), 1007],
  ["beyond U+10FFFF", text(Buffer.from([0xf4, 0x90, 0x80, 0x80])), 1007],
  ["text that ends inside a character", text(Buffer.from([0xe2, 0x82])), 1007],
  ["a 16-bit length below 126", text("x", { lengthForm: 16 }), 1002, "accepts it"],
  ["a 64-bit length below 65536", text("x".repeat(200), { lengthForm: 64 }), 1002, "accepts it"],
  ["a length with the top bit", Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), [1002, 1009]],
];

for (const target of ["/ws-echo", "engine"]) {
  describe(`violations on ${target}`, () => {
    for (const [what, bytes, code, fault] of VIOLATIONS) {
      test(`${what}: ${code}`, fault ? exceptNode(fault) : {}, async () => {
        const socket = target === "engine" ? await joined(fixture) : await ws(fixture, target);
        socket.write(bytes);
        await socket.ended();
        const codes = [code].flat();
        // ws parses a length above 2^53 as 1009.
        assert.ok(codes.includes(socket.closeCode), `closed with ${socket.closeCode}`);
      });
    }
  });
}

describe("frames that are right", () => {
  test("bad UTF-8 fails fast, before the message is complete", async () => {
    const socket = await ws(fixture, "/ws-echo");
    socket.write(text(Buffer.from("good "), { fin: false }));
    socket.write(frame(0, Buffer.from([0xff]), { fin: false }));
    if (NODE) socket.write(frame(0, ""));
    await socket.ended();
    assert.equal(socket.closeCode, 1007);
  });

  test("characters cut by fragments and by segments", async () => {
    const socket = await ws(fixture, "/ws-echo");
    const bytes = Buffer.from("aé€😀z");
    for (const [i, byte] of bytes.entries()) {
      socket.write(frame(i === 0 ? 1 : 0, Buffer.from([byte]), { fin: i === bytes.length - 1 }));
      socket.write(frame(9, `p${i}`));
    }
    assert.equal(await socket.take(), "aé€😀z");
    await socket.until(() => socket.pongs === bytes.length, "all pongs");
    const slow = text("byte by byte €");
    for (const byte of slow) socket.write(Buffer.from([byte]));
    assert.equal(await socket.take(), "byte by byte €");
    socket.destroy();
  });

  test("empty messages and empty fragments", async () => {
    const socket = await ws(fixture, "/ws-echo");
    socket.write(text(""));
    assert.equal(await socket.take(), "");
    socket.write(binary("", { fin: false }));
    socket.write(frame(0, "", { fin: false }));
    socket.write(frame(0, ""));
    assert.deepEqual(await socket.take(), Buffer.alloc(0));
    socket.destroy();
  });

  test("pings with and without payload are answered, unasked pongs ignored", async () => {
    for (const open of [() => ws(fixture, "/ws-echo"), () => joined(fixture)]) {
      const socket = await open();
      socket.write(frame(9, ""));
      socket.write(frame(9, "x".repeat(125)));
      socket.write(frame(10, "nobody asked"));
      await socket.until(() => socket.pongs === 2, "two pongs");
      assert.equal(socket.frames.at(-1).length, 125);
      socket.destroy();
    }
  });

  test("server frames are not masked and use minimal lengths", async () => {
    const socket = await ws(fixture, "/ws-echo");
    for (const size of [125, 126, 65535, 65536]) {
      socket.send(Buffer.alloc(size));
      assert.equal((await socket.take()).length, size);
    }
    assert.ok(socket.frames.every((f) => !f.masked));
    socket.destroy();
  });

  for (const [code, answered] of [[1000, 1000], [1001, 1001], [3000, 3000], [4999, 4999], [null, null]]) {
    test(`a close with ${code} is answered, then TCP ends`, async () => {
      const socket = await ws(fixture, "/ws-echo");
      socket.autoclose = false;
      socket.send("last words");
      socket.write(frame(8, code === null ? "" : Buffer.from([code >> 8, code & 255])));
      socket.send("after the close: ignored");
      await socket.ended();
      assert.deepEqual(socket.messages, ["last words"]);
      // Without a code the answer carries none either, or 1000.
      if (answered === null) assert.ok([1005, 1000].includes(socket.closeCode), `${socket.closeCode}`);
      else assert.equal(socket.closeCode, answered);
    });
  }
});
