// The KV service. Requests are read, and answers written, without objects of
// protobuf-es in between (wire/), for this is the way that every write takes;
// kv-auth.ts has the way of those that auth asks who they are.
import { DeleteRangeRequestSchema, KV, PutRequestSchema, RangeRequestSchema, TxnRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { type Reply, rawReply, service } from "../../rpc/service.ts";
import { ANONYMOUS } from "../auth/types.ts";
import { sentRequest } from "../codec.ts";
import type { Command, SentRequest } from "../command.ts";
import { ENVELOPE } from "../consensus/envelope.ts";
import type { Settle } from "../consensus.ts";
import { checkDelete, checkPut, checkRange, checkTxn } from "../mvcc/check.ts";
import { Refused } from "../mvcc/errors.ts";
import { isReadOnly } from "../mvcc/txn.ts";
import type { Op, OpAnswer, RangeRequest, TxnAnswer } from "../mvcc/types.ts";
import { readDeleteRequest, readPutRequest, readRangeRequest, readTxnRequest } from "../wire/requests.ts";
import { deleteResponse, putResponse, rangeResponse, txnResponse } from "../wire/responses.ts";
import { header, type ServerContext, wireHeader } from "./context.ts";
import { answering, rpcError } from "./errors.ts";
import { decoded, deleteOf, putOf, rangeOf, txnOf } from "./messages.ts";

type Txn = Extract<Command, { type: "txn" }>;
const NOTHING: readonly never[] = [];

type Answer = (applied: TxnAnswer) => Uint8Array;

/** A method whose refusals become statuses. */
const refusing = (handle: (request: Uint8Array, reply: Reply) => void) =>
  rawReply((request, reply) => {
    try {
      handle(request, reply);
    } catch (error) {
      reply.fail(rpcError(error));
    }
  });

/** Replies with what a write answers, in the turn in which it is applied. */
class Write implements Settle<TxnAnswer> {
  readonly #reply: Reply;
  readonly #answer: Answer;

  constructor(reply: Reply, answer: Answer) {
    this.#reply = reply;
    this.#answer = answer;
  }

  resolve(applied: TxnAnswer): void {
    try {
      this.#reply.send(this.#answer(applied));
    } catch (error) {
      this.#reply.fail(error);
    }
  }

  reject(error: Refused): void {
    this.#reply.fail(rpcError(error));
  }
}

export function kvService(context: ServerContext) {
  const { member, gate } = context;

  const propose = (command: Txn, reply: Reply, answer: Answer) => member.submit(command, new Write(reply, answer));

  /** Replies once this member's state holds every write that was acknowledged before, unless the client wants no such wait. */
  const reading = (reply: Reply, serializable: boolean, read: () => Uint8Array): void => {
    const barrier = serializable ? undefined : member.consensus.readBarrier();
    if (!barrier) return reply.send(read());
    barrier.then(() => reply.send(read())).catch((error: unknown) => reply.fail(rpcError(error)));
  };

  const putAnswer: Answer = ({ revision, results }) => {
    const result = results[0] as Extract<OpAnswer, { type: "put" }>;
    return putResponse(wireHeader(context), revision, result.prevKv);
  };

  const deleteAnswer: Answer = ({ revision, results }) => {
    const result = results[0] as Extract<OpAnswer, { type: "delete" }>;
    return deleteResponse(wireHeader(context), revision, result.deleted, result.prevKvs);
  };

  const txnAnswer: Answer = (applied) => txnResponse(wireHeader(context), applied);

  const one = (op: Op, sent?: SentRequest): Txn => ({
    type: "txn",
    by: ANONYMOUS,
    compare: NOTHING,
    success: [op],
    failure: NOTHING,
    sent,
  });

  /** Auth may have been turned on while the barrier was awaited: then this client has not said who it is. */
  const stillOff = () => {
    if (gate.on) throw new Refused("user-empty");
  };

  const range = (request: RangeRequest): Uint8Array => {
    stillOff();
    const answer = member.state.mvcc.range(request);
    return rangeResponse(wireHeader(context), answer.revision, answer);
  };

  return service(KV, {
    range: refusing((bytes, reply) => {
      const request = readRangeRequest(bytes) ?? rangeOf(decoded(RangeRequestSchema, bytes));
      checkRange(request);
      reading(reply, request.serializable === true, () => range(request));
    }),

    put: refusing((bytes, reply) => {
      const sent = sentRequest("PutRequest", bytes, ENVELOPE);
      const inPlace = readPutRequest(sent.entry, sent.at);
      const op = inPlace ?? (putOf(decoded(PutRequestSchema, bytes)) as Extract<Op, { type: "put" }>);
      checkPut(op);
      propose(one(op, inPlace && sent), reply, putAnswer);
    }),

    deleteRange: refusing((bytes, reply) => {
      const op = readDeleteRequest(bytes) ?? (deleteOf(decoded(DeleteRangeRequestSchema, bytes)) as Extract<Op, { type: "delete" }>);
      checkDelete(op);
      propose(one(op), reply, deleteAnswer);
    }),

    txn: refusing((bytes, reply) => {
      const sent = sentRequest("TxnRequest", bytes, ENVELOPE);
      const asSent = readTxnRequest(sent.entry, sent.at);
      const txn = asSent ?? txnOf(decoded(TxnRequestSchema, bytes));
      checkTxn(txn, context.maxTxnOps);
      if (!isReadOnly(txn)) return propose({ type: "txn", by: ANONYMOUS, ...txn, sent: asSent && sent }, reply, txnAnswer);
      reading(reply, false, () => {
        stillOff();
        return txnAnswer(member.state.read(txn));
      });
    }),

    compact: (r, call) =>
      answering(async () => {
        const { revision } = await gate.as(call, (by) => member.compact(Number(r.revision), r.physical, by));
        return { header: header(context, revision) };
      }),
  });
}
