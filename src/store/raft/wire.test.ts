// The hand-written codec against the generated one, which knows only the .proto file.
import { expect, test } from "bun:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { MessageBatchSchema, type MessageSchema } from "../../rpc/gen/kubun/store/raft_pb.ts";
import type { Message } from "./messages.ts";
import type { Configuration, Entry } from "./types.ts";
import { decodeMessages, decodeMeta, encodeMessages, encodeMeta } from "./wire.ts";

const index = fc.oneof(fc.nat(), fc.maxSafeNat());
const id = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const bytes = fc.uint8Array({ maxLength: 300 });
const ids = fc.array(id, { maxLength: 4 });
const configuration = fc.record<Configuration>({
  voters: ids,
  outgoing: ids,
  learners: ids,
  learnersNext: ids,
  autoLeave: fc.boolean(),
});
const meta = fc.record({ index, term: index, configuration });
const REFUSALS = ["no-leader", "transferring", "too-much-uncommitted", "change-pending", "invalid-change"] as const;
const mode = fc.constantFrom("quorum" as const, "lease" as const);
/** Protobuf takes -0 for 0 and leaves it out. */
const millis = fc.double({ noNaN: true }).map((n) => n + 0);

const entriesAfter = (prev: number) =>
  fc
    .array(fc.record({ term: index, type: fc.constantFrom(0, 1, 2), data: bytes }), { maxLength: 5 })
    .map((list) => list.map((e, i): Entry => ({ index: prev + 1 + i, ...e }) as Entry));

const body = fc.oneof(
  fc.nat().chain((prevIndex) =>
    fc.record({
      type: fc.constant("append"),
      prevIndex: fc.constant(prevIndex),
      prevTerm: index,
      commit: index,
      entries: entriesAfter(prevIndex),
    }),
  ),
  fc.record({ type: fc.constant("appendResponse"), index, rejected: fc.boolean(), hintIndex: index, hintTerm: index }),
  fc.record({ type: fc.constant("heartbeat"), commit: index, round: index, sentAt: millis }),
  fc.record({ type: fc.constant("heartbeatResponse"), round: index, sentAt: millis, promise: millis }),
  fc.record({ type: fc.constantFrom("vote", "preVote"), lastIndex: index, lastTerm: index, transfer: fc.boolean() }),
  fc.record({ type: fc.constantFrom("voteResponse", "preVoteResponse"), granted: fc.boolean() }),
  fc.record({ type: fc.constant("snapshot"), meta }),
  fc.record({ type: fc.constant("timeoutNow") }),
  fc.record({ type: fc.constant("propose"), kind: fc.constantFrom(0, 1), datas: fc.array(bytes, { maxLength: 3 }), context: index }),
  fc.record({ type: fc.constant("proposeRefused"), context: index, refusal: fc.constantFrom(...REFUSALS) }),
  fc.record({ type: fc.constant("readIndex"), context: index, mode }),
  fc.record({ type: fc.constant("readIndexResponse"), context: index, index }),
  fc.record({ type: fc.constant("transferLeader"), target: id }),
);
const message = fc.tuple(fc.record({ from: id, to: id, term: index }), body).map(([head, rest]) => ({ ...head, ...rest }) as Message);

const big = BigInt;

/** The same message as the generated code has it. */
function generated(m: Message): MessageInitShape<typeof MessageSchema> {
  const head = { from: m.from, to: m.to, term: big(m.term) };
  const bodyOf = (): MessageInitShape<typeof MessageSchema>["body"] => {
    switch (m.type) {
      case "append": {
        const entries = m.entries.map((e) => ({ index: big(e.index), term: big(e.term), type: e.type, data: e.data }));
        return { case: "append", value: { prevIndex: big(m.prevIndex), prevTerm: big(m.prevTerm), commit: big(m.commit), entries } };
      }
      case "appendResponse":
        return {
          case: "appendResponse",
          value: { index: big(m.index), rejected: m.rejected, hintIndex: big(m.hintIndex), hintTerm: big(m.hintTerm) },
        };
      case "heartbeat":
        return { case: "heartbeat", value: { commit: big(m.commit), round: big(m.round), sentAt: m.sentAt } };
      case "heartbeatResponse":
        return { case: "heartbeatResponse", value: { round: big(m.round), sentAt: m.sentAt, promise: m.promise } };
      case "vote":
      case "preVote":
        return {
          case: "vote",
          value: { pre: m.type === "preVote", lastIndex: big(m.lastIndex), lastTerm: big(m.lastTerm), transfer: m.transfer },
        };
      case "voteResponse":
      case "preVoteResponse":
        return { case: "voteResponse", value: { pre: m.type === "preVoteResponse", granted: m.granted } };
      case "snapshot": {
        const { voters, outgoing, learners, learnersNext, autoLeave } = m.meta.configuration;
        const c = { voters: [...voters], outgoing: [...outgoing], learners: [...learners], learnersNext: [...learnersNext], autoLeave };
        return { case: "snapshot", value: { index: big(m.meta.index), term: big(m.meta.term), configuration: c } };
      }
      case "timeoutNow":
        return { case: "timeoutNow", value: {} };
      case "propose":
        return { case: "propose", value: { type: m.kind, datas: [...m.datas], context: big(m.context) } };
      case "proposeRefused":
        return { case: "proposeRefused", value: { context: big(m.context), refusal: REFUSALS.indexOf(m.refusal) } };
      case "readIndex":
        return { case: "readIndex", value: { context: big(m.context), lease: m.mode === "lease" } };
      case "readIndexResponse":
        return { case: "readIndexResponse", value: { context: big(m.context), index: big(m.index) } };
      case "transferLeader":
        return { case: "transferLeader", value: { target: m.target } };
    }
  };
  return { ...head, body: bodyOf() };
}

test("messages are read back as they were written, by this codec and by the generated one", () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
      const ours = encodeMessages(messages);
      expect(decodeMessages(ours)).toEqual(messages);
      const batch = create(MessageBatchSchema, { messages: messages.map(generated) });
      expect(fromBinary(MessageBatchSchema, ours)).toEqual(batch);
      expect(decodeMessages(toBinary(MessageBatchSchema, batch))).toEqual(messages);
    }),
    { numRuns: 300 },
  );
});

test("what a snapshot says of itself is read back as it was written", () => {
  fc.assert(fc.property(meta, (m) => expect(decodeMeta(encodeMeta(m))).toEqual(m)));
});

test("bytes that are cut or flipped are refused or read as something else, never as a crash of another kind", () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat(255), (messages, at, flip) => {
      const bytes = encodeMessages(messages);
      bytes[at % bytes.length]! ^= flip;
      for (const broken of [bytes, bytes.subarray(0, at % bytes.length)]) {
        try {
          decodeMessages(broken);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
    }),
    { numRuns: 300 },
  );
});
