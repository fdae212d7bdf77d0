// Transactions: what holds decides which operations run, and they run as one
// revision or not at all.
import { Refused } from "./errors.ts";
import { spanOf } from "./key.ts";
import type { Mvcc } from "./mvcc.ts";
import {
  type Compare,
  NO_BYTES,
  NO_LEASE,
  type Op,
  type OpAnswer,
  PutInPlace,
  type PutRequest,
  putKey,
  type RangeRequest,
  type TxnAnswer,
  type TxnRequest,
  Version,
} from "./types.ts";

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
  const put = onlyPut(txn);
  if (put) return applyPut(context, put);
  const plan = planOf(context.mvcc, txn);
  // In the order in which etcd does.
  checkPuts(context, plan);
  checkRanges(context, plan);
  if (plan.ops.length > 1) context.mvcc.counts.txns++;
  return context.mvcc.write(() => runPlan(context.mvcc, plan));
}

/** The put in place that is all that a transaction does, as most writes have it. */
export function onlyPut({ compare, success, failure }: TxnRequest): PutInPlace | undefined {
  const put = success[0];
  const only = success.length === 1 && compare.length === 0 && failure.length === 0;
  return only && put instanceof PutInPlace && !put.ignoreValue && !put.ignoreLease ? put : undefined;
}

/** The same as running the transaction, without plan and lists. */
function applyPut({ mvcc, hasLease }: TxnContext, put: PutInPlace): TxnAnswer {
  if (put.lease && !hasLease(put.lease)) throw new Refused("lease-not-found");
  const prevKv = mvcc.writePut(put.text, put.bytes, put.valueAt, put.valueEnd, put.lease);
  const { revision } = mvcc;
  return { revision, succeeded: true, results: [{ type: "put", revision, prevKv: put.prevKv ? prevKv : undefined }] };
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

function checkPuts(context: TxnContext, plan: Plan): void {
  for (const [i, op] of plan.ops.entries()) {
    if (op.type === "put") checkPut(context, op);
    else if (op.type === "txn") checkPuts(context, plan.nested[i]!);
  }
}

function checkRanges(context: TxnContext, plan: Plan): void {
  for (const [i, op] of plan.ops.entries()) {
    if (op.type === "range") checkRange(context, op);
    else if (op.type === "txn") checkRanges(context, plan.nested[i]!);
  }
}

function checkRange({ mvcc }: TxnContext, { revision = 0 }: RangeRequest): void {
  // Alone, a range at a negative revision is one at the newest; within a transaction it is one at a revision before all.
  if (revision < 0) throw new Refused("compacted");
  mvcc.checkRevision(revision);
}

function checkPut(context: TxnContext, put: PutRequest): void {
  if ((put.ignoreValue || put.ignoreLease) && !context.mvcc.get(putKey(put))) throw new Refused("key-not-found");
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
      const prevKv = runPut(mvcc, op);
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

function runPut(mvcc: Mvcc, put: PutRequest): Version | undefined {
  const key = put instanceof PutInPlace ? put.text : put.key;
  const before = put.ignoreValue || put.ignoreLease ? mvcc.get(putKey(put)) : undefined;
  const lease = (put.ignoreLease ? before?.lease : put.lease) ?? NO_LEASE;
  if (put.ignoreValue && before) return mvcc.put(key, before.bytes, lease, before.valueAt, before.valueEnd);
  return put instanceof PutInPlace ? mvcc.put(key, put.bytes, lease, put.valueAt, put.valueEnd) : mvcc.put(key, put.value, lease);
}

const ABSENT = new Version("", NO_BYTES, 0, 0, 0, NO_LEASE, 0);

/** A comparison of values fails for a key that is not there; others see zeros. */
function holds(mvcc: Mvcc, c: Compare): boolean {
  const span = spanOf(c.key, c.end);
  if (span.single) {
    const kv = mvcc.get(span.start);
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

function test(c: Compare, kv: Version): boolean {
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

function difference(c: Compare, kv: Version): number {
  if (c.target === "value") return kv.compareValue(c.value);
  if (c.target === "lease") return kv.lease === c.value ? 0 : kv.lease > c.value ? 1 : -1;
  return kv[c.target] - c.value;
}
