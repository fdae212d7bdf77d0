// The KV service. Requests are read, and answers written, without objects of
// protobuf-es in between (wire/), for this is the way that every write takes;
// kv-auth.ts has the way of those that auth asks who they are.
import { DeleteRangeRequestSchema, KV, PutRequestSchema, RangeRequestSchema, TxnRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { rawUnary, service } from "../../rpc/service.ts";
import { ANONYMOUS } from "../auth/types.ts";
import { sentRequest } from "../codec.ts";
import type { Command, SentRequest } from "../command.ts";
import { ENVELOPE } from "../consensus/envelope.ts";
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

/** A method whose refusals become statuses. */
const refusing = (handle: (request: Uint8Array) => Uint8Array | Promise<Uint8Array>) =>
  rawUnary((request) => {
    try {
      return handle(request);
    } catch (error) {
      throw rpcError(error);
    }
  });

export function kvService(context: ServerContext) {
  const { member, gate } = context;

  const propose = (command: Txn, answer: (applied: TxnAnswer) => Uint8Array): Promise<Uint8Array> =>
    member.propose(command).then(answer, refuse);

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
    range: refusing((bytes) => {
      const request = readRangeRequest(bytes) ?? rangeOf(decoded(RangeRequestSchema, bytes));
      checkRange(request);
      const barrier = request.serializable ? undefined : member.consensus.readBarrier();
      return barrier ? barrier.then(() => range(request)).catch(refuse) : range(request);
    }),

    put: refusing((bytes) => {
      const sent = sentRequest("PutRequest", bytes, ENVELOPE);
      const inPlace = readPutRequest(sent.entry, sent.at);
      const op = inPlace ?? (putOf(decoded(PutRequestSchema, bytes)) as Extract<Op, { type: "put" }>);
      checkPut(op);
      return propose(one(op, inPlace && sent), ({ revision, results }) => {
        const result = results[0] as Extract<OpAnswer, { type: "put" }>;
        return putResponse(wireHeader(context), revision, result.prevKv);
      });
    }),

    deleteRange: refusing((bytes) => {
      const op = readDeleteRequest(bytes) ?? (deleteOf(decoded(DeleteRangeRequestSchema, bytes)) as Extract<Op, { type: "delete" }>);
      checkDelete(op);
      return propose(one(op), ({ revision, results }) => {
        const result = results[0] as Extract<OpAnswer, { type: "delete" }>;
        return deleteResponse(wireHeader(context), revision, result.deleted, result.prevKvs);
      });
    }),

    txn: refusing((bytes) => {
      const sent = sentRequest("TxnRequest", bytes, ENVELOPE);
      const asSent = readTxnRequest(sent.entry, sent.at);
      const txn = asSent ?? txnOf(decoded(TxnRequestSchema, bytes));
      checkTxn(txn, context.maxTxnOps);
      const answer = (a: TxnAnswer) => txnResponse(wireHeader(context), a);
      if (!isReadOnly(txn)) return propose({ type: "txn", by: ANONYMOUS, ...txn, sent: asSent && sent }, answer);
      const barrier = member.consensus.readBarrier();
      const read = () => {
        stillOff();
        return answer(member.state.read(txn));
      };
      return barrier ? barrier.then(read).catch(refuse) : read();
    }),

    compact: (r, call) =>
      answering(async () => {
        const { revision } = await gate.as(call, (by) => member.compact(Number(r.revision), r.physical, by));
        return { header: header(context, revision) };
      }),
  });
}

function refuse(error: unknown): never {
  throw rpcError(error);
}
