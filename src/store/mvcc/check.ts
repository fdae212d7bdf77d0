// What is wrong with a request whatever the store holds: checked before it is
// proposed, in the order in which etcd checks.
import { Refused } from "./errors.ts";
import { inSpan, type Span, spanOf } from "./key.ts";
import { type DeleteRequest, type Op, PutInPlace, type PutRequest, putKey, type RangeRequest, type TxnRequest } from "./types.ts";

/** Operations that a transaction may have at most, per branch (etcd's --max-txn-ops). */
export const MAX_TXN_OPS = 128;

export function checkRange(r: RangeRequest): void {
  if (r.key.length === 0) throw new Refused("empty-key");
}

export function checkPut(r: PutRequest): void {
  if ((r instanceof PutInPlace ? r.text : r.key).length === 0) throw new Refused("empty-key");
  if (r.ignoreValue && r.value.length > 0) throw new Refused("value-provided");
  if (r.ignoreLease && r.lease) throw new Refused("lease-provided");
}

export function checkDelete(r: DeleteRequest): void {
  if (r.key.length === 0) throw new Refused("empty-key");
}

/** @param maxOps most comparisons, and most operations in a branch */
export function checkTxn(txn: TxnRequest, maxOps = MAX_TXN_OPS): void {
  checkShape(txn, maxOps);
  // One operation alone can't collide.
  for (const ops of [txn.success, txn.failure]) if (ops.length > 1 || ops[0]?.type === "txn") checkBranch(ops);
}

function checkShape(txn: TxnRequest, maxOps: number): void {
  if (Math.max(txn.compare.length, txn.success.length, txn.failure.length) > maxOps) throw new Refused("too-many-ops");
  for (const c of txn.compare) if (c.key.length === 0) throw new Refused("empty-key");
  for (const branch of [txn.success, txn.failure]) {
    for (const op of branch) {
      if (op.type === "range") checkRange(op);
      else if (op.type === "put") checkPut(op);
      else if (op.type === "delete") checkDelete(op);
      else if (op.type === "txn") checkShape(op, maxOps - branch.length);
      else throw new Refused("key-not-found");
    }
  }
}

interface Touched {
  puts: Set<string>;
  deletes: Span[];
}

/**
 * No key may be put twice by operations that run together, or deleted and put:
 * as etcd has it (its checkIntervals), which lets pass what is deleted from a
 * key on, and what a nested transaction deletes behind one that puts it.
 */
function checkBranch(ops: readonly Op[]): Touched {
  const deletes: Span[] = [];
  for (const op of ops) {
    if (op.type !== "delete") continue;
    const span = spanOf(op.key, op.end);
    if (span.end !== undefined) deletes.push(span);
  }
  const puts = new Set<string>();
  for (const op of ops) {
    if (op.type !== "txn") continue;
    const before = new Set(puts);
    // Only one of the two branches runs, so they don't collide with each other.
    const branches = [checkBranch(op.success), checkBranch(op.failure)];
    for (const b of branches) {
      for (const key of b.puts) {
        if (before.has(key) || deletes.some((d) => inSpan(key, d))) throw new Refused("duplicate-key");
        puts.add(key);
      }
    }
    for (const b of branches) deletes.push(...b.deletes);
  }
  for (const op of ops) {
    if (op.type !== "put") continue;
    const key = putKey(op);
    if (puts.has(key) || deletes.some((d) => inSpan(key, d))) throw new Refused("duplicate-key");
    puts.add(key);
  }
  return { puts, deletes };
}
