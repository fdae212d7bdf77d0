import { KV } from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import { checkDelete, checkPut, checkRange, checkTxn } from "../mvcc/check.ts";
import { isReadOnly } from "../mvcc/txn.ts";
import type { Op, OpAnswer } from "../mvcc/types.ts";
import { header, type ServerContext } from "./context.ts";
import { answering } from "./errors.ts";
import { deleteOf, keyValue, putOf, rangeOf, rangeResponse, responseOp, txnOf } from "./messages.ts";

export function kvService(context: ServerContext) {
  const { member } = context;

  async function one<T extends Op["type"]>(op: Extract<Op, { type: T }>): Promise<Extract<OpAnswer, { type: T }> & { revision: number }> {
    const answer = await member.propose({ type: "txn", compare: [], success: [op], failure: [] });
    return { ...(answer.results[0] as Extract<OpAnswer, { type: T }>), revision: answer.revision };
  }

  return service(KV, {
    range: (r) =>
      answering(async () => {
        const request = rangeOf(r);
        checkRange(request);
        if (!request.serializable) await member.consensus.readBarrier();
        return { header: header(context), ...rangeResponse(member.state.mvcc.range(request)) };
      }),

    put: (r) =>
      answering(async () => {
        const op = putOf(r) as Extract<Op, { type: "put" }>;
        checkPut(op);
        const { revision, prevKv } = await one<"put">(op);
        return { header: header(context, revision), prevKv: prevKv && keyValue(prevKv) };
      }),

    deleteRange: (r) =>
      answering(async () => {
        const op = deleteOf(r) as Extract<Op, { type: "delete" }>;
        checkDelete(op);
        const { revision, deleted, prevKvs } = await one<"delete">(op);
        return { header: header(context, revision), deleted: BigInt(deleted), prevKvs: prevKvs.map(keyValue) };
      }),

    txn: (r) =>
      answering(async () => {
        const txn = txnOf(r);
        checkTxn(txn, context.maxTxnOps);
        if (isReadOnly(txn)) await member.consensus.readBarrier();
        const answer = isReadOnly(txn) ? member.state.read(txn) : await member.propose({ type: "txn", ...txn });
        return { header: header(context, answer.revision), succeeded: answer.succeeded, responses: answer.results.map(responseOp) };
      }),

    compact: (r) =>
      answering(async () => {
        const { revision } = await member.compact(Number(r.revision), r.physical);
        return { header: header(context, revision) };
      }),
  });
}
