// Commands as bytes: the data of log entries. The first byte tells the encoding:
//
//   0x01  this one: numbers are varints, lengths go before bytes
//   0x02  a TxnRequest of etcd's API follows, as a client sent it that did not say who it is
//   0x0a  a PutRequest of such a client: 0x0a is the tag of its key
import { ANONYMOUS, type AuthChange, type Author } from "./auth/types.ts";
import type { Command, SentRequest } from "./command.ts";
import { keyTextAt } from "./mvcc/key.ts";
import { type Compare, NO_BYTES, NO_LEASE, type Op, PutInPlace, type RangeRequest, type TxnRequest } from "./mvcc/types.ts";
import { readPutRequest, readTxnRequest } from "./wire/requests.ts";

const VERSION = 1;
const NOTHING: readonly never[] = [];
const TXN_REQUEST = 2;
const PUT_REQUEST = 0x0a;
const KINDS = [
  "txn",
  "compact",
  "leaseGrant",
  "leaseRevoke",
  "alarm",
  "auth",
  "memberPublish",
  "memberUpdate",
  "clusterVersion",
  "downgrade",
] as const;
/** Set in the kind of a command that says by whom it is. */
const BY = 0x80;
const OPS = ["range", "put", "delete", "txn"] as const;
const TARGETS = ["modRevision", "createRevision", "version", "value", "lease"] as const;
const COMPARISONS = ["=", "!=", ">", "<"] as const;
const SORTS = ["key", "version", "create", "mod", "value"] as const;
const ALARMS = ["nospace", "corrupt"] as const;

class Writer {
  #bytes = new Uint8Array(4096);
  #at = 0;

  /** Leaves room for what its caller puts before it. */
  skip(n: number): void {
    this.#room(n);
    this.#at += n;
  }

  /** A copy of what was written; the writer starts over. */
  take(): Uint8Array {
    const out = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    if (this.#bytes.length > 1 << 20) this.#bytes = new Uint8Array(4096);
    return out;
  }

  byte(n: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = n;
  }

  /** A safe integer that is not negative. */
  number(n: number): void {
    this.#room(8);
    let rest = n;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#at++] = rest;
  }

  /** Any 64 bits. */
  id(n: bigint): void {
    this.#room(8);
    new DataView(this.#bytes.buffer).setBigInt64(this.#at, n, true);
    this.#at += 8;
  }

  bytes(b: Uint8Array): void {
    this.number(b.length);
    this.#room(b.length);
    this.#bytes.set(b, this.#at);
    this.#at += b.length;
  }

  text(s: string): void {
    this.bytes(new TextEncoder().encode(s));
  }

  #room(n: number): void {
    if (this.#at + n <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + n));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(): number {
    return this.#view.getUint8(this.#at++);
  }

  number(): number {
    let n = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const b = this.byte();
      n += (b & 0x7f) * scale;
      if (b < 0x80) return n;
    }
  }

  id(): bigint {
    const n = this.#view.getBigInt64(this.#at, true);
    this.#at += 8;
    return n;
  }

  /** A key, one code unit a byte. */
  key(): string {
    const length = this.number();
    if (this.#at + length > this.#bytes.length) throw new RangeError("a command ends early");
    this.#at += length;
    return keyTextAt(this.#bytes, this.#at - length, this.#at);
  }

  /** A copy, so that it doesn't keep the segment it was read from. */
  bytes(): Uint8Array {
    const length = this.number();
    if (this.#at + length > this.#bytes.length) throw new RangeError("a command ends early");
    this.#at += length;
    return this.#bytes.slice(this.#at - length, this.#at);
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }
}

const writer = new Writer();

/** @param room bytes that are left free in front */
export function encodeCommand(command: Command, room = 0): Uint8Array {
  if (command.type === "txn" && command.sent && command.by?.user === "") return encodeSent(command.sent, room);
  const w = writer;
  w.skip(room);
  w.byte(VERSION);
  w.byte(KINDS.indexOf(command.type) | (command.by ? BY : 0));
  if (command.by) {
    w.bytes(command.by.user === "" ? NO_BYTES : new TextEncoder().encode(command.by.user));
    w.number(command.by.revision);
  }
  switch (command.type) {
    case "txn":
      writeTxn(w, command);
      break;
    case "compact":
      w.number(command.revision);
      break;
    case "leaseGrant":
      w.id(command.id);
      w.number(command.ttl);
      break;
    case "leaseRevoke":
      w.id(command.id);
      break;
    case "alarm":
      w.byte(command.raise ? 1 : 0);
      w.id(command.alarm.memberId);
      w.byte(ALARMS.indexOf(command.alarm.kind));
      break;
    case "auth":
      // Rare, and made of strings.
      w.text(JSON.stringify(command.change));
      break;
    case "memberPublish":
      w.id(command.id);
      w.text(command.name);
      writeTexts(w, command.clientUrls);
      break;
    case "memberUpdate":
      w.id(command.id);
      writeTexts(w, command.peerUrls);
      break;
    case "clusterVersion":
      w.text(command.version);
      break;
    case "downgrade":
      w.text(command.target);
      break;
  }
  return w.take();
}

/**
 * Throws on bytes that no version up to this one wrote.
 *
 * @param at where the command begins
 * @param keep whether the bytes are the entry's own, so that the store may keep them rather than a copy
 */
export function decodeCommand(bytes: Uint8Array, at = 0, keep = false): Command {
  const request = bytes[at] === PUT_REQUEST || bytes[at] === TXN_REQUEST ? readRequest(bytes, at, keep) : undefined;
  if (request) return request;
  const r = new Reader(bytes, at);
  const version = r.byte();
  if (version !== VERSION) throw new Error(`a log entry has encoding ${version}, which a newer version of kubun wrote`);
  const kind = r.byte();
  const by = kind & BY ? readAuthor(r) : undefined;
  const command = readChange(r, named(KINDS, kind & ~BY));
  if (by) command.by = by;
  return command;
}

function readAuthor(r: Reader): Author {
  const user = r.bytes();
  const revision = r.number();
  return user.length === 0 ? ANONYMOUS : { user: new TextDecoder().decode(user), revision };
}

function readChange(r: Reader, type: Command["type"]): Command {
  switch (type) {
    case "txn":
      return { type, ...readTxn(r) };
    case "compact":
      return { type, revision: r.number() };
    case "leaseGrant":
      return { type, id: r.id(), ttl: r.number() };
    case "leaseRevoke":
      return { type, id: r.id() };
    case "alarm":
      return { type, raise: r.byte() === 1, alarm: { memberId: BigInt.asUintN(64, r.id()), kind: named(ALARMS, r.byte()) } };
    case "auth":
      return { type, change: JSON.parse(r.text()) as AuthChange };
    case "memberPublish":
      return { type, id: BigInt.asUintN(64, r.id()), name: r.text(), clientUrls: readList(r, (r) => r.text()) };
    case "memberUpdate":
      return { type, id: BigInt.asUintN(64, r.id()), peerUrls: readList(r, (r) => r.text()) };
    case "clusterVersion":
      return { type, version: r.text() };
    case "downgrade":
      return { type, target: r.text() };
  }
}

function writeTexts(w: Writer, texts: readonly string[]): void {
  w.number(texts.length);
  for (const text of texts) w.text(text);
}

/** A request as a log entry, for whoever reads it there: what it holds need not be copied again. */
export function sentRequest(message: "PutRequest" | "TxnRequest", bytes: Uint8Array, room: number): SentRequest & { at: number } {
  // The tag of its key tells a put.
  const at = message === "PutRequest" ? room : room + 1;
  const entry = new Uint8Array(at + bytes.length);
  if (at > room) entry[room] = TXN_REQUEST;
  entry.set(bytes, at);
  return { entry, room, at };
}

function encodeSent(sent: SentRequest, room: number): Uint8Array {
  if (sent.room === room) return sent.entry;
  const entry = new Uint8Array(room + sent.entry.length - sent.room);
  entry.set(sent.entry.subarray(sent.room), room);
  return entry;
}

function readRequest(bytes: Uint8Array, at: number, keep: boolean): Command | undefined {
  // A view would keep the segment that it was read from.
  const own = keep ? bytes : bytes.slice(at);
  const from = keep ? at : 0;
  if (own[from] === TXN_REQUEST) {
    const txn = readTxnRequest(own, from + 1);
    return txn && { type: "txn", by: ANONYMOUS, ...txn };
  }
  const put = readPutRequest(own, from);
  return put && { type: "txn", by: ANONYMOUS, compare: NOTHING, success: [put], failure: NOTHING };
}

function named<const T extends readonly string[]>(names: T, index: number): T[number] {
  const name = names[index];
  if (name === undefined) throw new RangeError(`a command has an unknown code ${index}`);
  return name;
}

function writeTxn(w: Writer, txn: TxnRequest): void {
  w.number(txn.compare.length);
  for (const c of txn.compare) writeCompare(w, c);
  for (const ops of [txn.success, txn.failure]) {
    w.number(ops.length);
    for (const op of ops) writeOp(w, op);
  }
}

function readTxn(r: Reader): TxnRequest {
  return { compare: readList(r, readCompare), success: readList(r, readOp), failure: readList(r, readOp) };
}

const readList = <T>(r: Reader, read: (r: Reader) => T): T[] => Array.from({ length: r.number() }, () => read(r));

function writeCompare(w: Writer, c: Compare): void {
  w.byte(TARGETS.indexOf(c.target) | (COMPARISONS.indexOf(c.op) << 3) | (c.end ? 0x80 : 0));
  w.bytes(c.key);
  if (c.target === "value") w.bytes(c.value);
  else if (c.target === "lease") w.id(c.value);
  else w.id(BigInt(c.value));
  if (c.end) w.bytes(c.end);
}

function readCompare(r: Reader): Compare {
  const code = r.byte();
  const target = named(TARGETS, code & 7);
  const op = named(COMPARISONS, (code >> 3) & 3);
  const key = r.bytes();
  const value = target === "value" ? r.bytes() : target === "lease" ? r.id() : Number(r.id());
  const end = code & 0x80 ? r.bytes() : undefined;
  return { key, op, target, value, end } as Compare;
}

function writeOp(w: Writer, op: Op): void {
  const kind = OPS.indexOf(op.type);
  if (op.type === "put") {
    const { ignoreValue, ignoreLease } = op as { ignoreValue?: boolean; ignoreLease?: boolean };
    w.byte(kind | (op.lease ? 4 : 0) | (op.prevKv ? 8 : 0) | (ignoreValue ? 16 : 0) | (ignoreLease ? 32 : 0));
    w.bytes(op.key);
    w.bytes(op.value);
    if (op.lease) w.id(op.lease);
  } else if (op.type === "delete") {
    w.byte(kind | (op.end ? 4 : 0) | (op.prevKv ? 8 : 0));
    w.bytes(op.key);
    if (op.end) w.bytes(op.end);
  } else if (op.type === "range") {
    w.byte(kind);
    writeRange(w, op);
  } else {
    w.byte(kind);
    writeTxn(w, op);
  }
}

function readOp(r: Reader): Op {
  const code = r.byte();
  const type = named(OPS, code & 3);
  if (type === "txn") return { type, ...readTxn(r) };
  if (type === "range") return { type, ...readRange(r) };
  if (type === "delete") return { type, key: r.bytes(), end: code & 4 ? r.bytes() : undefined, prevKv: (code & 8) !== 0 };
  const key = r.key();
  const value = r.bytes();
  const lease = code & 4 ? r.id() : NO_LEASE;
  const flags = { prevKv: (code & 8) !== 0, ignoreValue: (code & 16) !== 0, ignoreLease: (code & 32) !== 0 };
  return new PutInPlace(key, value, 0, value.length, lease, flags);
}

function writeRange(w: Writer, op: RangeRequest): void {
  const sort = op.sort ? 8 | (op.sort.descending ? 16 : 0) | (op.sort.ofPage ? 32 : 0) : 0;
  const negative = (op.revision ?? 0) < 0 ? 64 : 0;
  w.byte((op.end ? 1 : 0) | (op.keysOnly ? 2 : 0) | (op.countOnly ? 4 : 0) | sort | negative);
  w.bytes(op.key);
  if (op.end) w.bytes(op.end);
  w.number(Math.max(0, op.limit ?? 0));
  w.number(Math.max(0, op.revision ?? 0));
  if (op.sort) w.byte(SORTS.indexOf(op.sort.target));
  for (const n of [op.minModRevision, op.maxModRevision, op.minCreateRevision, op.maxCreateRevision]) w.number(Math.max(0, n ?? 0));
}

function readRange(r: Reader): RangeRequest {
  const flags = r.byte();
  const key = r.bytes();
  const end = flags & 1 ? r.bytes() : undefined;
  const limit = r.number();
  const absolute = r.number();
  const revision = flags & 64 ? -1 : absolute;
  const sort = flags & 8 ? { target: named(SORTS, r.byte()), descending: (flags & 16) !== 0, ofPage: (flags & 32) !== 0 } : undefined;
  const [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision] = [r.number(), r.number(), r.number(), r.number()];
  return {
    key,
    end,
    limit,
    revision,
    sort,
    keysOnly: (flags & 2) !== 0,
    countOnly: (flags & 4) !== 0,
    minModRevision,
    maxModRevision,
    minCreateRevision,
    maxCreateRevision,
  };
}
