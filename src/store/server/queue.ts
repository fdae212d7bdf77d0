// Queues of keys "NAME/LEASE" in the order of their creation, which locks and
// elections are (etcd's client/v3/concurrency): the oldest key holds, and each
// waits for those before it to be deleted, by their owners or with their lease.
import { Code, type HandlerContext, RpcError } from "../../rpc/types.ts";
import { permitTxn } from "../auth/check.ts";
import { checkTxn } from "../mvcc/check.ts";
import { Refused } from "../mvcc/errors.ts";
import { NO_BYTES, type Op, type TxnAnswer, type TxnRequest, type Version } from "../mvcc/types.ts";
import type { ServerContext } from "./context.ts";
import { rpcError } from "./errors.ts";

/** TTL in seconds of a lease that a request without one is given. */
const DEFAULT_TTL = 60;
/** Batches of events that wait for a client before no more are read. */
const MOST_WAITING = 1024;
const encoder = new TextEncoder();

export interface Place {
  key: Uint8Array;
  lease: bigint;
  /** Of the key's creation: the place in the queue. */
  revision: number;
}

/** A failure that etcd has no code for. */
export const unknown = (message: string) => new RpcError(Code.Unknown, message);

/** Runs a handler's body. etcd's are written with its client library, whose errors lose their code on the way; a store that stops says so. */
export async function queueing<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Refused && error.refusal !== "unavailable") throw unknown(error.message);
    throw rpcError(error);
  }
}

/** Calls on behalf of one client, with its permissions. */
export class Queue {
  readonly prefix: Uint8Array;
  readonly #context: ServerContext;
  readonly #call: HandlerContext;

  constructor(context: ServerContext, call: HandlerContext, name: Uint8Array) {
    this.#context = context;
    this.#call = call;
    this.prefix = Buffer.concat([name, encoder.encode("/")]);
  }

  /** The oldest key: the request for it. */
  get oldest(): Op {
    return { type: "range", ...this.#range, limit: 1, sort: { target: "create", descending: false } } as Op;
  }

  /** The given lease, or one made for this. */
  async lease(id: bigint): Promise<bigint> {
    if (id !== 0n) return id;
    const { gate, member } = this.#context;
    return (await gate.as(this.#call, (by) => member.grantLease(DEFAULT_TTL, 0n, by))).id;
  }

  /** A lease's key, in hexadecimal as Go prints an int64. */
  keyOf(lease: bigint): Uint8Array {
    const id = BigInt.asIntN(64, lease);
    return Buffer.concat([this.prefix, encoder.encode(id.toString(16))]);
  }

  /** Runs a transaction that writes as the client. */
  write(txn: TxnRequest): Promise<TxnAnswer> {
    const { gate, member, maxTxnOps } = this.#context;
    // It holds what the client has named.
    checkTxn(txn, maxTxnOps);
    return gate.as(this.#call, (by) => member.propose({ type: "txn", by, ...txn }));
  }

  /** Reads with the client's permissions what every acknowledged write has left. */
  async read(op: Op): Promise<{ revision: number; kvs: Version[] }> {
    const { gate, member } = this.#context;
    const txn = { compare: [], success: [op], failure: [] };
    const answer = await gate.as(this.#call, async (by) => {
      await member.consensus.readBarrier();
      const { auth, lessor } = member.state;
      if (auth.enabled) permitTxn(auth, lessor, by, txn);
      return member.state.read(txn);
    });
    return { revision: answer.revision, kvs: kvsOf(answer, 0) };
  }

  /** Resolves once no key is left that was created up to this revision. */
  async waitUntilFirst(upTo: number): Promise<void> {
    // As a limit, 0 would be none.
    while (upTo > 0) {
      const { revision, kvs } = await this.read({
        type: "range",
        ...this.#range,
        limit: 1,
        sort: { target: "create", descending: true },
        maxCreateRevision: upTo,
      } as Op);
      if (!kvs[0]) return;
      await this.#deletion(kvs[0].key, revision + 1);
    }
  }

  /** Takes a key away that nobody waits with any more, whatever its client may do by now. */
  async leave({ key, revision }: Place): Promise<void> {
    await this.#context.member.propose({
      type: "txn",
      compare: [{ key, op: "=", target: "createRevision", value: revision }],
      success: [{ type: "delete", key }],
      failure: [],
    });
  }

  /** Events of the keys, revision by revision, until the client or the store ends; ends early where they were compacted away. */
  async *changes(key: Uint8Array, end: Uint8Array | undefined, startRevision: number): AsyncGenerator<{ put: boolean; kv: Version }[]> {
    const { watches } = this.#context.member;
    const { signal } = this.#call;
    let batches: { put: boolean; kv: Version }[][] = [];
    let over: { error?: unknown } | undefined;
    let wake: (() => void) | undefined;
    const finish = (error?: unknown) => {
      over ??= { error };
      wake?.();
    };
    const watcher = watches.add(
      { key, end, startRevision },
      {
        events: (events) => {
          batches.push(events.map((e) => ({ put: e.type === "put", kv: e.kv })));
          if (batches.length >= MOST_WAITING) watches.pause(watcher);
          wake?.();
        },
        compacted: () => finish(),
        closed: (error) => finish(rpcError(error)),
      },
    );
    const canceled = () => finish(new RpcError(Code.Canceled, "context canceled"));
    signal.addEventListener("abort", canceled, { once: true });
    if (signal.aborted) canceled();
    try {
      for (;;) {
        const ready = batches;
        batches = [];
        yield* ready;
        if (ready.length >= MOST_WAITING) watches.resume(watcher);
        if (batches.length > 0) continue;
        if (over) {
          if (over.error !== undefined) throw over.error;
          return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", canceled);
      watches.remove(watcher);
    }
  }

  get range(): { key: Uint8Array; end: Uint8Array } {
    return this.#range;
  }

  get #range() {
    // "/" is followed by "0".
    const end = Uint8Array.from(this.prefix);
    end[end.length - 1] = 0x30;
    return { key: this.prefix, end };
  }

  async #deletion(key: Uint8Array, from: number): Promise<void> {
    for await (const events of this.changes(key, undefined, from)) if (events.some((e) => !e.put)) return;
  }
}

/** What the answer's n-th operation, a range, found. */
export function kvsOf(answer: TxnAnswer, n: number): Version[] {
  const result = answer.results[n];
  return result?.type === "range" ? (result.kvs as Version[]) : [];
}

/** The transaction that takes a place in a queue, or finds the one that this lease has. */
export function entering(queue: Queue, lease: bigint, value: Uint8Array = NO_BYTES): TxnRequest {
  const key = queue.keyOf(lease);
  return {
    compare: [{ key, op: "=", target: "createRevision", value: 0 }],
    success: [{ type: "put", key, value, lease }, queue.oldest],
    failure: [{ type: "range", key }, queue.oldest],
  };
}
