// The data model written down as simply as it can be, for tests to compare
// with: every revision is a whole copy of all keys.
import type { Compare } from "../../client/etcd.ts";

export interface Pair {
  key: string;
  value: string;
  create: number;
  mod: number;
  version: number;
  lease: bigint;
}

export type ModelOp =
  | { type: "put"; key: string; value: string; lease: bigint }
  | { type: "delete"; key: string; end?: string }
  | { type: "range"; key: string; end?: string };

export interface ModelEvent {
  revision: number;
  type: "put" | "delete";
  key: string;
  value: string;
}

const within = (key: string, from: string, end?: string) => (end === undefined ? key === from : key >= from && (end === "\0" || key < end));

export class Model {
  /** By revision; the first is that of an empty store. */
  readonly states: Map<string, Pair>[] = [new Map(), new Map()];
  readonly events: ModelEvent[] = [];
  readonly leases = new Set<bigint>();
  compacted = 0;

  get revision(): number {
    return this.states.length - 1;
  }

  get now(): Map<string, Pair> {
    return this.states.at(-1)!;
  }

  /** Pairs in order of their keys, as of a revision. */
  range(key: string, end: string | undefined, revision = this.revision): Pair[] {
    return [...this.states[revision]!.values()].filter((p) => within(p.key, key, end)).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Runs operations as one revision; false if a lease is missing. */
  write(ops: readonly ModelOp[]): boolean {
    if (ops.some((op) => op.type === "put" && op.lease !== 0n && !this.leases.has(op.lease))) return false;
    const next = new Map(this.now);
    const revision = this.revision + 1;
    const before = this.events.length;
    for (const op of ops) {
      if (op.type === "put") {
        const old = next.get(op.key);
        const { key, value, lease } = op;
        next.set(key, { key, value, lease, create: old?.create ?? revision, mod: revision, version: (old?.version ?? 0) + 1 });
        this.events.push({ revision, type: "put", key, value });
      } else if (op.type === "delete") {
        for (const key of [...next.keys()].filter((k) => within(k, op.key, op.end)).sort()) {
          next.delete(key);
          this.events.push({ revision, type: "delete", key, value: "" });
        }
      }
    }
    if (this.events.length > before) this.states.push(next);
    return true;
  }

  revoke(lease: bigint): void {
    const keys = [...this.now.values()].filter((p) => p.lease === lease).map((p) => p.key);
    this.write(keys.sort().map((key) => ({ type: "delete", key })));
    this.leases.delete(lease);
  }

  holds(key: string, c: { target: Compare["target"]; op: Compare["op"]; value: number | string }): boolean {
    const p = this.now.get(key);
    if (c.target === "value" && !p) return false;
    const actual = { value: p?.value ?? "", version: p?.version ?? 0, createRevision: p?.create ?? 0, modRevision: p?.mod ?? 0, lease: 0 }[
      c.target
    ];
    if (c.op === "=") return actual === c.value;
    if (c.op === "!=") return actual !== c.value;
    return c.op === "<" ? actual < c.value : actual > c.value;
  }
}
