// What reads and writes the gateway's JSON, with random values; a failure prints
// its seed, and KUBUN_SEED asks again.
import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { TxnRequestSchema } from "../../gen/etcd/rpc_pb.ts";
import { type Json, JsonError, JsonIncomplete, JsonNumber, JsonReader, readJson } from "./json.ts";
import { jsonOf, messageOf } from "./message.ts";

const seed = Number(process.env.KUBUN_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** mulberry32 */
function random(from: number): (below: number) => number {
  let state = from;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const PIECES = ["a", '"', "\\", "\n", "\u0007", "é", "😀", "\u2028", " ", "/", "}"];

function anything(pick: (below: number) => number, depth = 0): unknown {
  const kind = pick(depth > 3 ? 5 : 7);
  if (kind === 0) return null;
  if (kind === 1) return pick(2) === 1;
  if (kind === 2) return (pick(2) ? -1 : 1) * pick(1000) * 10 ** (pick(40) - 20);
  if (kind < 5) return Array.from({ length: pick(6) }, () => PIECES[pick(PIECES.length)]).join("");
  if (kind === 5) return Array.from({ length: pick(4) }, () => anything(pick, depth + 1));
  return Object.fromEntries(Array.from({ length: pick(4) }, (_, i) => [`${i}${PIECES[pick(PIECES.length)]}`, anything(pick, depth + 1)]));
}

/** As JSON.parse would have it. */
function plain(json: Json): unknown {
  if (json instanceof JsonNumber) return Number(json.text);
  if (json instanceof Map) return Object.fromEntries([...json].map(([name, value]) => [name, plain(value)]));
  return Array.isArray(json) ? json.map(plain) : json;
}

const thrown = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
};

test(`any JSON is read as JSON.parse reads it, and a part of one as incomplete, seed ${seed}`, () => {
  const pick = random(seed);
  for (let i = 0; i < 300; i++) {
    const text = JSON.stringify(anything(pick), undefined, pick(3));
    const reader = new JsonReader(`${text} next`);
    expect(plain(reader.value(false))).toEqual(JSON.parse(text));
    expect(reader.at).toBe(text.length);
    if (/^[-0-9]/.test(text)) continue;
    const part = text.slice(0, pick(text.length));
    expect(thrown(() => new JsonReader(part).value(true))).toBeInstanceOf(JsonIncomplete);
  }
});

test(`what JSON.parse refuses is refused, and nothing else, seed ${seed}`, () => {
  const pick = random(seed);
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const text = JSON.stringify(anything(pick));
    const at = pick(text.length);
    const other = '{}[]",:0e.-\\tn u'[pick(16)]!;
    const harmed = text.slice(0, at) + other + text.slice(at + pick(2));
    const expected = thrown(() => JSON.parse(harmed));
    const got = thrown(() => readJson(harmed));
    if (got !== undefined) expect(got).toBeInstanceOf(JsonError);
    expect([harmed, got !== undefined]).toEqual([harmed, expected !== undefined]);
    if (expected) refused++;
  }
  expect(refused).toBeGreaterThan(100);
});

test("values that lie too deep in each other are refused", () => {
  expect(() => readJson("[".repeat(100_000))).toThrow("exceeded max depth");
});

function txn(pick: (below: number) => number, depth = 0): object {
  const bytes = () => Uint8Array.from({ length: pick(9) }, () => pick(256));
  const int64 = () => BigInt.asIntN(64, (BigInt(pick(2 ** 31)) << BigInt(pick(33))) * (pick(2) ? 1n : -1n));
  const some = <T>(one: () => T) => Array.from({ length: pick(3) }, one);
  const op = () => {
    const kind = pick(depth < 2 ? 4 : 3);
    if (kind === 0) {
      const range = { key: bytes(), rangeEnd: bytes(), limit: int64(), sortOrder: pick(3), sortTarget: pick(5), keysOnly: pick(2) === 1 };
      return { request: { case: "requestRange" as const, value: range } };
    }
    if (kind === 1) return { request: { case: "requestPut" as const, value: { key: bytes(), value: bytes(), lease: int64() } } };
    if (kind === 2) return { request: { case: "requestDeleteRange" as const, value: { key: bytes(), prevKv: pick(2) === 1 } } };
    return { request: { case: "requestTxn" as const, value: txn(pick, depth + 1) } };
  };
  const compare = () => ({ result: pick(4), target: pick(5), key: bytes(), targetUnion: { case: "version" as const, value: int64() } });
  return { compare: some(compare), success: some(op), failure: some(op) };
}

test(`a message comes back from its JSON as it was, seed ${seed}`, () => {
  const pick = random(seed);
  for (let i = 0; i < 200; i++) {
    const message = create(TxnRequestSchema, txn(pick));
    const back = messageOf(TxnRequestSchema, readJson(jsonOf(TxnRequestSchema, message)));
    expect(Buffer.from(toBinary(TxnRequestSchema, back as typeof message))).toEqual(Buffer.from(toBinary(TxnRequestSchema, message)));
  }
});
