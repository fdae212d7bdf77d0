// The KV service while auth is on: what is read is permitted in the turn in
// which it is read, what is written where it is applied.
import { DeleteRangeRequestSchema, KV, PutRequestSchema, RangeRequestSchema, TxnRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { rawUnary, service } from "../../rpc/service.ts";
import type { HandlerContext } from "../../rpc/types.ts";
import { permitTxn } from "../auth/check.ts";
import type { Author } from "../auth/types.ts";
import { checkDelete, checkPut, checkRange, checkTxn } from "../mvcc/check.ts";
import { spanOf } from "../mvcc/key.ts";
import { isReadOnly } from "../mvcc/txn.ts";
import type { Op, OpAnswer, TxnAnswer } from "../mvcc/types.ts";
import { readDeleteRequest, readPutRequest, readRangeRequest, readTxnRequest } from "../wire/requests.ts";
import { deleteResponse, putResponse, rangeResponse, txnResponse } from "../wire/responses.ts";
import { type ServerContext, wireHeader } from "./context.ts";
import { answering } from "./errors.ts";
import { decoded, deleteOf, putOf, rangeOf, txnOf } from "./messages.ts";

export function permittedKv(context: ServerContext) {
  const { member, gate } = context;

  const asUser = (handle: (request: Uint8Array, run: <T>(as: (by: Author) => Promise<T>) => Promise<T>) => Promise<Uint8Array>) =>
    rawUnary((request, call: HandlerContext) => answering(() => handle(request, (as) => gate.as(call, as))));

  const writing = (op: Op) => (by: Author) => member.propose({ type: "txn", by, compare: [], success: [op], failure: [] });
  const first = <T extends OpAnswer["type"]>(answer: TxnAnswer) => answer.results[0] as Extract<OpAnswer, { type: T }>;

  return service(KV, {
    range: asUser(async (bytes, run) => {
      const request = readRangeRequest(bytes) ?? rangeOf(decoded(RangeRequestSchema, bytes));
      checkRange(request);
      return run(async (by) => {
        if (!request.serializable) await member.consensus.readBarrier();
        const { auth, mvcc } = member.state;
        if (auth.enabled) auth.permit(by, "read", spanOf(request.key, request.end));
        const answer = mvcc.range(request);
        return rangeResponse(wireHeader(context), answer.revision, answer);
      });
    }),

    put: asUser(async (bytes, run) => {
      const op = readPutRequest(bytes) ?? (putOf(decoded(PutRequestSchema, bytes)) as Extract<Op, { type: "put" }>);
      checkPut(op);
      const answer = await run(writing(op));
      return putResponse(wireHeader(context), answer.revision, first<"put">(answer).prevKv);
    }),

    deleteRange: asUser(async (bytes, run) => {
      const op = readDeleteRequest(bytes) ?? (deleteOf(decoded(DeleteRangeRequestSchema, bytes)) as Extract<Op, { type: "delete" }>);
      checkDelete(op);
      const answer = await run(writing(op));
      const { deleted, prevKvs } = first<"delete">(answer);
      return deleteResponse(wireHeader(context), answer.revision, deleted, prevKvs);
    }),

    txn: asUser(async (bytes, run) => {
      const txn = readTxnRequest(bytes) ?? txnOf(decoded(TxnRequestSchema, bytes));
      checkTxn(txn, context.maxTxnOps);
      const answer = await run(async (by) => {
        if (!isReadOnly(txn)) return member.propose({ type: "txn", by, ...txn });
        await member.consensus.readBarrier();
        const { auth, lessor } = member.state;
        if (auth.enabled) permitTxn(auth, lessor, by, txn);
        return member.state.read(txn);
      });
      return txnResponse(wireHeader(context), answer);
    }),
  });
}
