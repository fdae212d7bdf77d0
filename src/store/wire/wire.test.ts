// What is read and written by hand, against protobuf-es.
import { expect, test } from "bun:test";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  DeleteRangeRequestSchema,
  DeleteRangeResponseSchema,
  PutRequestSchema,
  PutResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
  TxnRequestSchema,
  TxnResponseSchema,
  WatchResponseSchema,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import { ANONYMOUS } from "../auth/types.ts";
import { decodeCommand, encodeCommand, sentRequest } from "../codec.ts";
import type { Compare, Event, Op, OpAnswer, RangeAnswer, TxnAnswer, TxnRequest } from "../mvcc/types.ts";
import { tombstone, Version } from "../mvcc/types.ts";
import { deleteOf, putOf, rangeOf, txnOf } from "../server/messages.ts";
import { event, keyValue, rangeResponse as rangeInit, responseOp } from "../testing/messages.ts";
import { readDeleteRequest, readPutRequest, readRangeRequest, readTxnRequest } from "./requests.ts";
import { deleteResponse, eventSize, putResponse, ResponseHeader, rangeResponse, txnResponse, watchEvents } from "./responses.ts";

const runs = { numRuns: 400 };
const bytes = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 12 }) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 120, maxLength: 300 }) },
);
const int64 = fc.oneof(fc.constant(0n), fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 45n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n));
const flag = fc.boolean();

const range = fc.record({
  key: bytes,
  rangeEnd: bytes,
  limit: int64,
  revision: int64,
  sortOrder: fc.constantFrom(0, 0, 0, 1, 2),
  sortTarget: fc.constantFrom(0, 0, 0, 3, 4),
  serializable: flag,
  keysOnly: flag,
  countOnly: flag,
  minModRevision: fc.constantFrom(0n, 0n, 0n, 7n),
});
const put = fc.record({ key: bytes, value: bytes, lease: int64, prevKv: flag, ignoreValue: flag, ignoreLease: flag });
const deletion = fc.record({ key: bytes, rangeEnd: bytes, prevKv: flag });
const compare = fc.record({
  result: fc.nat(3),
  target: fc.nat(4),
  key: bytes,
  rangeEnd: bytes,
  targetUnion: fc.oneof(
    fc.record({
      case: fc.constantFrom("version" as const, "createRevision" as const, "modRevision" as const, "lease" as const),
      value: int64,
    }),
    fc.record({ case: fc.constant("value" as const), value: bytes }),
    fc.constant({ case: undefined }),
  ),
});

type TxnInit = MessageInitShape<typeof TxnRequestSchema>;
const txn = fc.letrec<{ txn: TxnInit; op: unknown }>((tie) => ({
  txn: fc.record({
    compare: fc.array(compare, { maxLength: 2 }),
    success: fc.array(tie("op"), { maxLength: 3 }),
    failure: fc.array(tie("op"), { maxLength: 2 }),
  }) as fc.Arbitrary<TxnInit>,
  op: fc.oneof(
    { depthSize: "small" },
    fc.record({ request: fc.record({ case: fc.constant("requestPut"), value: put }) }),
    fc.record({ request: fc.record({ case: fc.constant("requestRange"), value: range }) }),
    fc.record({ request: fc.record({ case: fc.constant("requestDeleteRange"), value: deletion }) }),
    fc.record({ request: fc.record({ case: fc.constant("requestTxn"), value: tie("txn") }) }),
    fc.constant({ request: { case: undefined } }),
  ),
})).txn;

/** A message as it came, with something added, cut off or changed. */
const spoil = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ how: "not" as const, at: 0, byte: 0 }) },
  {
    weight: 3,
    arbitrary: fc.record({
      how: fc.constantFrom("cut" as const, "change" as const, "insert" as const),
      at: fc.nat(400),
      byte: fc.nat(255),
    }),
  },
  { weight: 1, arbitrary: fc.record({ how: fc.constant("unknown" as const), at: fc.constant(0), byte: fc.nat(255) }) },
);

function spoiled(
  message: Uint8Array,
  { how, at, byte }: { how: "not" | "cut" | "change" | "insert" | "unknown"; at: number; byte: number },
) {
  const where = message.length === 0 ? 0 : at % message.length;
  const b = Buffer.from(message);
  if (how === "cut") return new Uint8Array(b.subarray(0, where));
  if (how === "insert") return new Uint8Array(Buffer.concat([b.subarray(0, where), Uint8Array.of(byte), b.subarray(where)]));
  // Field 1000, a varint.
  if (how === "unknown") return new Uint8Array(Buffer.concat([b, Uint8Array.of(0xc0, 0x3e, byte & 0x7f)]));
  if (how === "change" && b.length > 0) b[where] = byte;
  return new Uint8Array(b);
}

/** What an operation asks for, whatever it is made of. */
function plain(op: Op): unknown {
  const hex = (b: Uint8Array | undefined) => (b === undefined ? undefined : Buffer.from(b).toString("hex"));
  if (op.type === "txn") return { txn: plainTxn(op) };
  const key = hex(op.key);
  if (op.type === "delete") return { delete: key, end: hex(op.end), prevKv: op.prevKv ?? false };
  if (op.type === "put") {
    const { ignoreValue = false, ignoreLease = false } = op as { ignoreValue?: boolean; ignoreLease?: boolean };
    return { put: key, value: hex(op.value), lease: op.lease ?? 0n, prevKv: op.prevKv ?? false, ignoreValue, ignoreLease };
  }
  const { end, limit = 0, revision = 0, keysOnly = false, countOnly = false, serializable = false, ...rest } = op;
  const {
    sort,
    minModRevision = 0,
    maxModRevision = 0,
    minCreateRevision = 0,
    maxCreateRevision = 0,
  } = rest as never as Record<string, unknown>;
  const bounds = { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision };
  return { range: key, end: hex(end), limit, revision, keysOnly, countOnly, serializable, sort, ...bounds };
}

function plainTxn(t: TxnRequest): unknown {
  const hex = (b: Uint8Array) => Buffer.from(b).toString("hex");
  const of = ({ key, end, op, target, value }: Compare) => ({
    key: hex(key),
    end: end && hex(end),
    op,
    target,
    value: value instanceof Uint8Array ? hex(value) : value,
  });
  return { compare: t.compare.map(of), success: t.success.map(plain), failure: t.failure.map(plain) };
}

/** What a log entry says of it: everything but how it may be read. */
const logged = (t: TxnRequest) =>
  JSON.stringify(plainTxn(t), (name, v) => (name === "serializable" ? undefined : typeof v === "bigint" ? `${v}` : v));

/** Reads by hand and by protobuf-es, whatever becomes of the bytes. */
function agrees<D extends DescMessage, T>(
  desc: D,
  messages: fc.Arbitrary<MessageInitShape<D>>,
  read: (b: Uint8Array) => T | undefined,
  reference: (b: Uint8Array) => T,
  shown: (value: T) => unknown,
): void {
  fc.assert(
    fc.property(messages, spoil, (init, how) => {
      const message = spoiled(toBinary(desc, create(desc, init)), how);
      const found = read(message);
      // Where it reads anything, protobuf-es reads the same, and does not refuse.
      if (found !== undefined) expect(shown(found)).toEqual(shown(reference(message)));
    }),
    runs,
  );
}

test("requests read by hand say what protobuf-es reads, or are left to it", () => {
  const pb =
    <D extends DescMessage>(desc: D) =>
    (b: Uint8Array) =>
      fromBinary(desc, b);
  agrees(PutRequestSchema, put, readPutRequest as (b: Uint8Array) => Op | undefined, (b) => putOf(pb(PutRequestSchema)(b)), plain);
  agrees(
    RangeRequestSchema,
    range,
    readRangeRequest as (b: Uint8Array) => Op | undefined,
    (b) => rangeOf(pb(RangeRequestSchema)(b)),
    plain,
  );
  agrees(
    DeleteRangeRequestSchema,
    deletion,
    readDeleteRequest as (b: Uint8Array) => Op | undefined,
    (b) => deleteOf(pb(DeleteRangeRequestSchema)(b)),
    plain,
  );
  agrees(TxnRequestSchema, txn, readTxnRequest, (b) => txnOf(pb(TxnRequestSchema)(b)), plainTxn);
});

test("what clients send is read by hand", () => {
  const of = <D extends DescMessage>(desc: D, init: MessageInitShape<D>) => toBinary(desc, create(desc, init));
  const key = Buffer.from("/registry/leases/a");
  const value = new Uint8Array(1000).fill(1);
  expect(readPutRequest(of(PutRequestSchema, { key, value, lease: 2n ** 62n, prevKv: true }))).toBeDefined();
  expect(
    readRangeRequest(of(RangeRequestSchema, { key, rangeEnd: Buffer.from("0"), limit: 500n, revision: 2n ** 40n, keysOnly: true })),
  ).toBeDefined();
  expect(readDeleteRequest(of(DeleteRangeRequestSchema, { key, prevKv: true }))).toBeDefined();
  const update: TxnInit = {
    compare: [{ key, target: 2, result: 0, targetUnion: { case: "modRevision", value: 12345678n } }],
    success: [{ request: { case: "requestPut", value: { key, value } } }],
    failure: [{ request: { case: "requestRange", value: { key } } }],
  };
  expect(readTxnRequest(of(TxnRequestSchema, update))).toBeDefined();
});

test("a log entry that is the request itself reads back as what was proposed", () => {
  fc.assert(
    fc.property(txn, put, fc.constantFrom(0, 8), (t, p, room) => {
      const request = toBinary(TxnRequestSchema, create(TxnRequestSchema, t));
      const read = readTxnRequest(request);
      const back = (entry: Uint8Array) => decodeCommand(entry) as never as TxnRequest;
      if (read) {
        const sent = sentRequest("TxnRequest", request, 8);
        const entry = encodeCommand({ type: "txn", by: ANONYMOUS, ...read, sent }, room);
        expect(entry.length).toBe(room + 1 + request.length);
        expect(plainTxn(back(entry.subarray(room)))).toEqual(plainTxn(read));
        expect(plainTxn(decodeCommand(entry, room, true) as never)).toEqual(plainTxn(read));
        expect(plainTxn(readTxnRequest(sent.entry, sent.at)!)).toEqual(plainTxn(read));
        // Of somebody, it goes the long way.
        const by = { user: "alice", revision: 3 };
        const named = encodeCommand({ type: "txn", by, ...read, sent });
        expect(decodeCommand(named).by).toEqual(by);
        expect(logged(back(named))).toBe(logged(read));
      }
      const putRequest = toBinary(PutRequestSchema, create(PutRequestSchema, p));
      const op = readPutRequest(putRequest);
      if (op) {
        const sent = sentRequest("PutRequest", putRequest, 8);
        const entry = encodeCommand({ type: "txn", by: ANONYMOUS, compare: [], success: [op], failure: [], sent }, room);
        expect(back(entry.subarray(room)).success.map(plain)).toEqual([plain(op)]);
        expect((decodeCommand(entry, room, true) as never as TxnRequest).success.map(plain)).toEqual([plain(op)]);
        expect(plain(readPutRequest(sent.entry, sent.at)!)).toEqual(plain(op));
        expect(decodeCommand(entry.subarray(room)).by).toEqual(ANONYMOUS);
      }
    }),
    runs,
  );
});

const revision = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 45 }));
const lease = fc.oneof(fc.constant(0n), fc.bigInt(1n, 2n ** 40n), fc.bigInt(2n ** 52n, 2n ** 63n - 1n));
const version = fc
  .record({
    key: fc.uint8Array({ minLength: 1, maxLength: 90 }),
    value: bytes,
    around: fc.nat(3),
    create: revision,
    mod: revision,
    version: revision,
    lease,
  })
  .map((v) => {
    // As it lies within a request.
    const whole = new Uint8Array([...new Uint8Array(v.around), ...v.value, ...new Uint8Array(v.around)]);
    return new Version(v.key, whole, v.create, v.mod, v.version, v.lease, 0, v.around, v.around + v.value.length);
  });
const rangeAnswer = fc.record({
  revision,
  kvs: fc.array(version, { maxLength: 4 }),
  count: fc.nat(1000),
  more: flag,
}) as fc.Arbitrary<RangeAnswer>;
const answer = fc.letrec<{ txn: TxnAnswer; op: OpAnswer }>((tie) => ({
  txn: fc.record({ revision, succeeded: flag, results: fc.array(tie("op"), { maxLength: 3 }) }),
  op: fc.oneof(
    { depthSize: "small" },
    rangeAnswer.map((a): OpAnswer => ({ type: "range", ...a })),
    fc.record({ type: fc.constant("put" as const), revision, prevKv: fc.option(version, { nil: undefined }) }),
    fc.record({ type: fc.constant("delete" as const), revision, deleted: fc.nat(300), prevKvs: fc.array(version, { maxLength: 2 }) }),
    tie("txn").map((t): OpAnswer => ({ type: "txn", ...t })),
  ),
})).txn;
const identity = fc.record({
  clusterId: fc.bigInt(1n, 2n ** 64n - 1n),
  memberId: fc.bigInt(1n, 2n ** 64n - 1n),
  raftTerm: fc.integer({ min: 1, max: 2 ** 33 }),
});

test("answers written by hand are what protobuf-es writes", () => {
  fc.assert(
    fc.property(identity, answer, rangeAnswer, revision, fc.option(version, { nil: undefined }), (who, t, r, rev, prevKv) => {
      const h = new ResponseHeader(who.clusterId, who.memberId, who.raftTerm);
      const header = (at: number) => ({
        clusterId: who.clusterId,
        memberId: who.memberId,
        raftTerm: BigInt(who.raftTerm),
        revision: BigInt(at),
      });
      const same = <D extends DescMessage>(desc: D, ours: Uint8Array, init: MessageInitShape<D>) =>
        expect(Buffer.from(ours).toString("hex")).toBe(Buffer.from(toBinary(desc, create(desc, init))).toString("hex"));
      same(PutResponseSchema, putResponse(h, rev, prevKv), { header: header(rev), prevKv: prevKv && keyValue(prevKv) });
      same(RangeResponseSchema, rangeResponse(h, rev, r), { header: header(rev), ...rangeInit(r) });
      same(DeleteRangeResponseSchema, deleteResponse(h, rev, r.count, r.kvs), {
        header: header(rev),
        deleted: BigInt(r.count),
        prevKvs: r.kvs.map(keyValue),
      });
      same(TxnResponseSchema, txnResponse(h, t), {
        header: header(t.revision),
        succeeded: t.succeeded,
        responses: t.results.map(responseOp),
      });
    }),
    runs,
  );
});

const events = fc.array(
  fc.record({ kv: version, before: fc.option(version, { nil: undefined }), gone: flag }).map(({ kv, before, gone }): Event => {
    if (gone) return { type: "delete", kv: tombstone(kv, kv.modRevision, 0), prevKv: before };
    return { type: "put", kv, prevKv: before };
  }),
  { minLength: 1, maxLength: 5 },
);

test("events written by hand are what protobuf-es writes, with the size that was foretold", () => {
  fc.assert(
    fc.property(
      identity,
      revision,
      fc.oneof(fc.constant(0n), fc.constant(-1n), fc.bigInt(1n, 2n ** 62n)),
      events,
      flag,
      flag,
      (who, rev, id, all, prevKv, fragment) => {
        const h = new ResponseHeader(who.clusterId, who.memberId, who.raftTerm);
        const part = all.slice(1);
        const ours = watchEvents(h, rev, id, all, 1, all.length, { prevKv, fragment });
        const header = { clusterId: who.clusterId, memberId: who.memberId, raftTerm: BigInt(who.raftTerm), revision: BigInt(rev) };
        const init = { header, watchId: id, fragment, events: part.map((e) => event(e, prevKv)) };
        expect(Buffer.from(ours).equals(toBinary(WatchResponseSchema, create(WatchResponseSchema, init)))).toBe(true);
        const none = watchEvents(h, rev, id, all, 1, 1, { prevKv, fragment }).length;
        const varint = (n: number): number => (n < 128 ? 1 : 1 + varint(Math.floor(n / 128)));
        const foretold = part.reduce((sum, e) => sum + 1 + varint(eventSize(e, prevKv)) + eventSize(e, prevKv), 0);
        expect(ours.length - none).toBe(foretold);
      },
    ),
    runs,
  );
});
