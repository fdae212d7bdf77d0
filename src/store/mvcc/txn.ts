// Transactions: what holds decides which operations run, and they run as one
// revision or not at all.
import type { KeyValue } from "../../client/etcd.ts";
import { Refused } from "./errors.ts";
import { compareBytes, spanOf } from "./key.ts";
import type { Mvcc } from "./mvcc.ts";
import { type Compare, NO_BYTES, NO_LEASE, type Op, type OpAnswer, type PutRequest, type TxnAnswer, type TxnRequest } from "./types.ts";

/** What a transaction asks of its surroundings. */
export interface TxnContext {
  mvcc: Mvcc;
  hasLease(id: bigint): boolean;
}

/** The branch taken, for the transaction and those nested in it, decided before anything changes. */
interface Plan {
  succeeded: boolean;
  ops: readonly Op[];
  nested: (Plan | undefined)[];
}

/** @throws Refused, and then nothing has changed */
export function applyTxn(context: TxnContext, txn: TxnRequest): TxnAnswer {
  const plan = planOf(context.mvcc, txn);
  checkPlan(context, plan);
  return context.mvcc.write(() => runPlan(context.mvcc, plan));
}

/** Whether a transaction only reads, whichever branch it takes. */
export function isReadOnly(txn: TxnRequest): boolean {
  const reads = (op: Op) => op.type === "range" || (op.type === "txn" && isReadOnly(op));
  return txn.success.every(reads) && txn.failure.every(reads);
}

/** Whether a branch of a transaction puts something. */
export function hasPut(txn: TxnRequest): boolean {
  const puts = (op: Op) => op.type === "put" || (op.type === "txn" && hasPut(op));
  return txn.success.some(puts) || txn.failure.some(puts);
}

function planOf(mvcc: Mvcc, txn: TxnRequest): Plan {
  const succeeded = txn.compare.every((c) => holds(mvcc, c));
  const ops = succeeded ? txn.success : txn.failure;
  return { succeeded, ops, nested: ops.map((op) => (op.type === "txn" ? planOf(mvcc, op) : undefined)) };
}

function checkPlan(context: TxnContext, plan: Plan): void {
  for (const [i, op] of plan.ops.entries()) {
    if (op.type === "range") context.mvcc.checkRevision(op.revision);
    else if (op.type === "put") checkPut(context, op);
    else if (op.type === "txn") checkPlan(context, plan.nested[i]!);
  }
}

function checkPut(context: TxnContext, put: PutRequest): void {
  if ((put.ignoreValue || put.ignoreLease) && !context.mvcc.get(put.key)) throw new Refused("key-not-found");
  if (put.lease && !context.hasLease(put.lease)) throw new Refused("lease-not-found");
}

function runPlan(mvcc: Mvcc, plan: Plan): TxnAnswer {
  const results = plan.ops.map(
    (op, i): OpAnswer => (op.type === "txn" ? { type: "txn", ...runPlan(mvcc, plan.nested[i]!) } : runOp(mvcc, op)),
  );
  return { revision: mvcc.pendingRevision, succeeded: plan.succeeded, results };
}

function runOp(mvcc: Mvcc, op: Exclude<Op, { type: "txn" }>): OpAnswer {
  switch (op.type) {
    case "range":
      return { type: "range", ...mvcc.range(op) };
    case "put": {
      const request: PutRequest = op;
      const before = request.ignoreValue || request.ignoreLease ? mvcc.get(op.key) : undefined;
      const value = request.ignoreValue ? (before?.value ?? NO_BYTES) : op.value;
      const prevKv = mvcc.put(op.key, value, (request.ignoreLease ? before?.lease : op.lease) ?? NO_LEASE);
      return op.prevKv && prevKv
        ? { type: "put", revision: mvcc.pendingRevision, prevKv }
        : { type: "put", revision: mvcc.pendingRevision };
    }
    case "delete": {
      const gone = mvcc.delete(op.key, op.end);
      return { type: "delete", revision: mvcc.pendingRevision, deleted: gone.length, prevKvs: op.prevKv ? gone : [] };
    }
  }
}

const ABSENT: KeyValue = { key: NO_BYTES, value: NO_BYTES, createRevision: 0, modRevision: 0, version: 0, lease: NO_LEASE };

/** A comparison of values fails for a key that is not there; others see zeros. */
function holds(mvcc: Mvcc, c: Compare): boolean {
  const span = spanOf(c.key, c.end);
  if (span.single) {
    const kv = mvcc.get(c.key);
    return kv ? test(c, kv) : c.target !== "value" && test(c, ABSENT);
  }
  let all = true;
  let any = false;
  mvcc.keys.scan(span, (record) => {
    if (record.latest.version === 0) return true;
    any = true;
    all = test(c, record.latest);
    return all;
  });
  return any ? all : c.target !== "value" && test(c, ABSENT);
}

function test(c: Compare, kv: KeyValue): boolean {
  const order = difference(c, kv);
  switch (c.op) {
    case "=":
      return order === 0;
    case "!=":
      return order !== 0;
    case ">":
      return order > 0;
    case "<":
      return order < 0;
  }
}

function difference(c: Compare, kv: KeyValue): number {
  if (c.target === "value") return compareBytes(kv.value, c.value);
  if (c.target === "lease") return kv.lease === c.value ? 0 : kv.lease > c.value ? 1 : -1;
  return kv[c.target] - c.value;
}
