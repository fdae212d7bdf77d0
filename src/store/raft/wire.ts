// Messages between members as bytes: kubun.store.MessageBatch of
// proto/kubun/store/raft.proto. What comes in is checked here, once: the core
// trusts its peers' messages to be well-formed.

import type { Message } from "./messages.ts";
import { Reader, varintBytes, Writer } from "./protobuf.ts";
import { type Configuration, type Entry, EntryType, type Refusal, type SnapshotMeta } from "./types.ts";

const writer = new Writer();

/** Encodes a kubun.store.MessageBatch. */
export function encodeMessages(messages: readonly Message[]): Uint8Array {
  for (const m of messages) writer.message(1, () => writeMessage(writer, m));
  return writer.take();
}

/**
 * Decodes a kubun.store.MessageBatch. Data of entries and proposals are copies,
 * for a view would keep the whole batch in memory. Kinds that this version
 * doesn't know are left out.
 *
 * @throws RangeError on bytes that are no such message
 */
export function decodeMessages(bytes: Uint8Array): Message[] {
  const messages: Message[] = [];
  const r = new Reader(bytes);
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field !== 1) r.skip();
    else {
      const m = readMessage(r.message());
      if (m) messages.push(m);
    }
  }
  return messages;
}

/** Encodes a kubun.store.SnapshotMeta, as a snapshot file or stream has it. */
export function encodeMeta(meta: SnapshotMeta): Uint8Array {
  writeMeta(writer, meta);
  return writer.take();
}

/** Throws RangeError on bytes that are none. */
export function decodeMeta(bytes: Uint8Array): SnapshotMeta {
  return readMeta(new Reader(bytes));
}

const BODY = {
  append: 4,
  appendResponse: 5,
  heartbeat: 6,
  heartbeatResponse: 7,
  vote: 8,
  preVote: 8,
  voteResponse: 9,
  preVoteResponse: 9,
  snapshot: 10,
  timeoutNow: 11,
  propose: 12,
  readIndex: 13,
  readIndexResponse: 14,
  transferLeader: 15,
  proposeRefused: 16,
} as const;

/** By their numbers; what a later version says, which this one can't know, is like the first. */
const REFUSALS: readonly Refusal[] = ["no-leader", "transferring", "too-much-uncommitted", "change-pending", "invalid-change"];

function writeMessage(w: Writer, m: Message): void {
  w.fixed64(1, m.from);
  w.fixed64(2, m.to);
  w.uint(3, m.term);
  w.message(BODY[m.type], () => writeBody(w, m));
}

function writeBody(w: Writer, m: Message): void {
  switch (m.type) {
    case "append":
      w.uint(1, m.prevIndex);
      w.uint(2, m.prevTerm);
      w.uint(3, m.commit);
      for (const e of m.entries) writeEntry(w, e);
      break;
    case "appendResponse":
      w.uint(1, m.index);
      w.bool(2, m.rejected);
      w.uint(3, m.hintIndex);
      w.uint(4, m.hintTerm);
      break;
    case "heartbeat":
      w.uint(1, m.commit);
      w.uint(2, m.round);
      w.double(3, m.sentAt);
      break;
    case "heartbeatResponse":
      w.uint(1, m.round);
      w.double(2, m.sentAt);
      w.double(3, m.promise);
      break;
    case "vote":
    case "preVote":
      w.bool(1, m.type === "preVote");
      w.uint(2, m.lastIndex);
      w.uint(3, m.lastTerm);
      w.bool(4, m.transfer);
      break;
    case "voteResponse":
    case "preVoteResponse":
      w.bool(1, m.type === "preVoteResponse");
      w.bool(2, m.granted);
      break;
    case "snapshot":
      writeMeta(w, m.meta);
      break;
    case "timeoutNow":
      break;
    case "propose":
      w.uint(1, m.kind);
      for (const data of m.datas) w.bytes(2, data, true);
      w.uint(3, m.context);
      break;
    case "proposeRefused":
      w.uint(1, m.context);
      w.uint(2, REFUSALS.indexOf(m.refusal));
      break;
    case "readIndex":
      w.uint(1, m.context);
      w.bool(2, m.mode === "lease");
      break;
    case "readIndexResponse":
      w.uint(1, m.context);
      w.uint(2, m.index);
      break;
    case "transferLeader":
      w.fixed64(1, m.target);
  }
}

/** Bytes of a field with this number, or of the head of one with so many bytes. */
const fieldBytes = (n: number): number => (n === 0 ? 0 : 1 + varintBytes(n));

/** Its length comes first, so that nothing has to be moved: there are many. */
function writeEntry(w: Writer, e: Entry): void {
  const size = e.data.length;
  w.head(4, fieldBytes(e.index) + fieldBytes(e.term) + fieldBytes(e.type) + fieldBytes(size) + size);
  w.uint(1, e.index);
  w.uint(2, e.term);
  w.uint(3, e.type);
  w.bytes(4, e.data);
}

function writeMeta(w: Writer, meta: SnapshotMeta): void {
  w.uint(1, meta.index);
  w.uint(2, meta.term);
  w.message(3, () => {
    const { voters, outgoing, learners, learnersNext, autoLeave } = meta.configuration;
    w.packedFixed64(1, voters);
    w.packedFixed64(2, outgoing);
    w.packedFixed64(3, learners);
    w.packedFixed64(4, learnersNext);
    w.bool(5, autoLeave);
  });
}

function readMessage(r: Reader): Message | undefined {
  let from = 0n;
  let to = 0n;
  let term = 0;
  let kind = 0;
  let body: Reader | undefined;
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field === 1) from = r.fixed64();
    else if (field === 2) to = r.fixed64();
    else if (field === 3) term = r.uint();
    else {
      kind = field;
      body = r.message();
    }
  }
  return body && readBody(kind, body, { from, to, term });
}

interface Head {
  from: bigint;
  to: bigint;
  term: number;
}

/** The numbers and flags of a body by field, which is all that most bodies are. */
function readNumbers(r: Reader): number[] {
  const numbers = [0, 0, 0, 0, 0];
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field < numbers.length) numbers[field] = r.uint();
    else r.skip();
  }
  return numbers;
}

function readBody(kind: number, r: Reader, head: Head): Message | undefined {
  switch (kind) {
    case BODY.append:
      return readAppend(r, head);
    case BODY.appendResponse: {
      const [, index, rejected, hintIndex, hintTerm] = readNumbers(r) as [number, number, number, number, number];
      return { type: "appendResponse", ...head, index, rejected: rejected !== 0, hintIndex, hintTerm };
    }
    case BODY.heartbeat:
      return readHeartbeat(r, head);
    case BODY.heartbeatResponse:
      return readHeartbeatResponse(r, head);
    case BODY.vote: {
      const [, pre, lastIndex, lastTerm, transfer] = readNumbers(r) as [number, number, number, number, number];
      return { type: pre ? "preVote" : "vote", ...head, lastIndex, lastTerm, transfer: transfer !== 0 };
    }
    case BODY.voteResponse: {
      const [, pre, granted] = readNumbers(r) as [number, number, number];
      return { type: pre ? "preVoteResponse" : "voteResponse", ...head, granted: granted !== 0 };
    }
    case BODY.snapshot:
      return { type: "snapshot", ...head, meta: readMeta(r) };
    case BODY.timeoutNow:
      return { type: "timeoutNow", ...head };
    case BODY.propose:
      return readPropose(r, head);
    case BODY.proposeRefused: {
      const [, context, refusal] = readNumbers(r) as [number, number, number];
      return { type: "proposeRefused", ...head, context, refusal: REFUSALS[refusal] ?? "no-leader" };
    }
    case BODY.readIndex: {
      const [, context, lease] = readNumbers(r) as [number, number, number];
      return { type: "readIndex", ...head, context, mode: lease ? "lease" : "quorum" };
    }
    case BODY.readIndexResponse: {
      const [, context, index] = readNumbers(r) as [number, number, number];
      return { type: "readIndexResponse", ...head, context, index };
    }
    case BODY.transferLeader: {
      let target = 0n;
      for (let field = r.next(); field !== 0; field = r.next()) {
        if (field === 1) target = r.fixed64();
        else r.skip();
      }
      return { type: "transferLeader", ...head, target };
    }
  }
  return undefined;
}

function readAppend(r: Reader, head: Head): Message {
  const numbers = [0, 0, 0, 0];
  const entries: Entry[] = [];
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field < 4) numbers[field] = r.uint();
    else if (field === 4) entries.push(readEntry(r.message()));
    else r.skip();
  }
  const [, prevIndex, prevTerm, commit] = numbers as [number, number, number, number];
  for (const [i, e] of entries.entries()) {
    if (e.index !== prevIndex + 1 + i) throw new RangeError(`an append after ${prevIndex} has entry ${e.index} at place ${i}`);
  }
  return { type: "append", ...head, prevIndex, prevTerm, commit, entries };
}

function readEntry(r: Reader): Entry {
  let index = 0;
  let term = 0;
  let type = 0;
  let data: Uint8Array = NO_DATA;
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field === 1) index = r.uint();
    else if (field === 2) term = r.uint();
    else if (field === 3) type = r.uint();
    else if (field === 4) data = r.copy();
    else r.skip();
  }
  return { index, term, type: entryType(type), data };
}

const NO_DATA = new Uint8Array(0);

function entryType(n: number): EntryType {
  if (n !== EntryType.normal && n !== EntryType.confChange && n !== EntryType.empty)
    throw new RangeError(`an entry has an unknown type ${n}`);
  return n;
}

function readHeartbeat(r: Reader, head: Head): Message {
  let commit = 0;
  let round = 0;
  let sentAt = 0;
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field === 1) commit = r.uint();
    else if (field === 2) round = r.uint();
    else if (field === 3) sentAt = r.double();
    else r.skip();
  }
  return { type: "heartbeat", ...head, commit, round, sentAt };
}

function readHeartbeatResponse(r: Reader, head: Head): Message {
  let round = 0;
  let sentAt = 0;
  let promise = 0;
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field === 1) round = r.uint();
    else if (field === 2) sentAt = r.double();
    else if (field === 3) promise = r.double();
    else r.skip();
  }
  return { type: "heartbeatResponse", ...head, round, sentAt, promise };
}

function readPropose(r: Reader, head: Head): Message {
  let kind = 0;
  let context = 0;
  const datas: Uint8Array[] = [];
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field === 1) kind = r.uint();
    else if (field === 2) datas.push(r.copy());
    else if (field === 3) context = r.uint();
    else r.skip();
  }
  if (kind !== EntryType.normal && kind !== EntryType.confChange) throw new RangeError(`a proposal has an unknown type ${kind}`);
  return { type: "propose", ...head, kind, datas, context };
}

function readMeta(r: Reader): SnapshotMeta {
  let index = 0;
  let term = 0;
  let configuration = readConfiguration(new Reader(NO_DATA));
  for (let field = r.next(); field !== 0; field = r.next()) {
    if (field === 1) index = r.uint();
    else if (field === 2) term = r.uint();
    else if (field === 3) configuration = readConfiguration(r.message());
    else r.skip();
  }
  return { index, term, configuration };
}

function readConfiguration(r: Reader): Configuration {
  const lists: [bigint[], bigint[], bigint[], bigint[]] = [[], [], [], []];
  let autoLeave = false;
  for (let field = r.next(); field !== 0; field = r.next()) {
    const list = lists[field - 1];
    if (list) r.addFixed64(list);
    else if (field === 5) autoLeave = r.bool();
    else r.skip();
  }
  const [voters, outgoing, learners, learnersNext] = lists;
  return { voters, outgoing, learners, learnersNext, autoLeave };
}
