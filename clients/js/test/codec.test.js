import assert from "node:assert/strict";
import test from "node:test";
import { Decoder, encodePacket, PacketType, ProtocolError } from "../sockeye.js";

const bytes = (...values) => new Uint8Array(values);

// Packets and their wire form, after the examples of Socket.IO protocol 5.
const VECTORS = [
  [{ type: PacketType.CONNECT, namespace: "/" }, "0"],
  [{ type: PacketType.CONNECT, namespace: "/", data: { token: "123" } }, '0{"token":"123"}'],
  [{ type: PacketType.CONNECT, namespace: "/admin", data: { sid: "x" } }, '0/admin,{"sid":"x"}'],
  [
    { type: PacketType.CONNECT_ERROR, namespace: "/", data: { message: "no" } },
    '4{"message":"no"}',
  ],
  [{ type: PacketType.DISCONNECT, namespace: "/admin" }, "1/admin,"],
  [{ type: PacketType.DISCONNECT, namespace: "/" }, "1"],
  [{ type: PacketType.EVENT, namespace: "/", data: ["foo"] }, '2["foo"]'],
  [{ type: PacketType.EVENT, namespace: "/admin", data: ["bar"] }, '2/admin,["bar"]'],
  [{ type: PacketType.EVENT, namespace: "/", id: 12, data: ["foo", 1, null] }, '212["foo",1,null]'],
  [
    { type: PacketType.EVENT, namespace: "/a", id: 0, data: ["é€😀", "a,b"] },
    '2/a,0["é€😀","a,b"]',
  ],
  [{ type: PacketType.ACK, namespace: "/admin", id: 13, data: ["bar"] }, '3/admin,13["bar"]'],
  [{ type: PacketType.ACK, namespace: "/", id: 0, data: [] }, "30[]"],
];

test("text packets are written and read as the protocol says", () => {
  for (const [packet, text] of VECTORS) {
    assert.deepEqual(encodePacket(packet), [text]);
    assert.deepEqual(new Decoder().add(text), { data: undefined, ...packet });
  }
});

test("binary packets carry their attachments behind the text", () => {
  const data = ["up", { a: bytes(1, 2), deep: [[bytes(3)]] }, bytes(4).buffer];
  const [text, ...attachments] = encodePacket({
    type: PacketType.EVENT,
    namespace: "/n",
    id: 7,
    data,
  });
  assert.equal(
    text,
    '53-/n,7["up",{"a":{"_placeholder":true,"num":0},' +
      '"deep":[[{"_placeholder":true,"num":1}]]},{"_placeholder":true,"num":2}]',
  );
  assert.equal(attachments.length, 3);

  const decoder = new Decoder();
  assert.equal(decoder.add(text), null);
  assert.equal(decoder.add(attachments[0]), null);
  assert.equal(decoder.add(attachments[1]), null);
  const packet = decoder.add(attachments[2]);
  assert.deepEqual(packet, { type: PacketType.EVENT, namespace: "/n", id: 7, data });
});

test("a binary acknowledgement", () => {
  const [text] = encodePacket({ type: PacketType.ACK, namespace: "/", id: 3, data: [bytes(1)] });
  assert.equal(text, '61-3[{"_placeholder":true,"num":0}]');
  const decoder = new Decoder();
  decoder.add(text);
  assert.equal(decoder.add(bytes(1)).type, PacketType.ACK);
});

test("buffers with a toJSON of their own travel as binary", () => {
  const frames = encodePacket({
    type: PacketType.EVENT,
    namespace: "/",
    data: ["b", Buffer.from("x")],
  });
  assert.equal(frames[0], '51-["b",{"_placeholder":true,"num":0}]');
});

// A decoder that waited for zero attachments would take the next packet for a violation.
test("a binary packet that announces no attachments is complete", () => {
  const decoder = new Decoder();
  assert.deepEqual(decoder.add('50-["e"]').data, ["e"]);
  assert.deepEqual(decoder.add('2["f"]').data, ["f"]);
});

test("a text packet may contain what looks like a placeholder", () => {
  const data = ["e", { _placeholder: true, num: 0 }];
  assert.deepEqual(new Decoder().add(`2${JSON.stringify(data)}`).data, data);
});

test("what is not the protocol is refused", () => {
  const hostile = [
    "",
    "7",
    "x",
    "2",
    "2{}",
    "2[]",
    "2[null]",
    '2["unterminated',
    "0[]",
    "0null",
    "1{}",
    "4[]",
    "3",
    "3{}",
    '5["no count"]',
    '5x-["a"]',
    '21-["a"]',
    '2/nsp["no comma"]',
    "51-",
    "5999999999999-[]",
    '511-["too many"]',
    '50-["e",{"_placeholder":true,"num":0}]',
  ];
  for (const text of hostile) {
    assert.throws(() => new Decoder().add(text), ProtocolError, JSON.stringify(text));
  }
  for (const num of ["1", "-1", "0.5", '"0"', "null", '"length"']) {
    const decoder = new Decoder();
    decoder.add(`51-["e",{"_placeholder":true,"num":${num}}]`);
    assert.throws(() => decoder.add(bytes(1)), ProtocolError, num);
  }
  assert.throws(() => new Decoder().add(bytes(1)), ProtocolError, "an attachment of nothing");
  const waiting = new Decoder();
  waiting.add('51-["e",{"_placeholder":true,"num":0}]');
  assert.throws(() => waiting.add('2["e"]'), ProtocolError, "text where an attachment is due");
});

test("deep nesting around an attachment does not exhaust the stack", () => {
  const depth = 5_000;
  const text = `51-["e",${"[".repeat(depth)}{"_placeholder":true,"num":0}${"]".repeat(depth)}]`;
  const decoder = new Decoder();
  decoder.add(text);
  let value = decoder.add(bytes(9)).data[1];
  while (Array.isArray(value)) [value] = value;
  assert.deepEqual(value, bytes(9));
});

test("names of the prototype in hostile data stay data", () => {
  const decoder = new Decoder();
  decoder.add('51-["e",{"__proto__":{"_placeholder":true,"num":0},"constructor":{"x":1}}]');
  const [, value] = decoder.add(bytes(1)).data;
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(Object.keys(value), ["__proto__", "constructor"]);
});
