// The store's client for systems in the same process: no encoding, no copies.
// What it hands out is what the store keeps, and nobody may change it.
import {
  type Compare,
  type Op,
  type OpResult,
  type RangeOptions,
  type RangeResult,
  type StoreClient,
  StoreError,
  type TxnResult,
  type Watch,
  type WatchEvent,
  type WatchHandler,
  type WatchOptions,
} from "../client/etcd.ts";
import { logger } from "../platform/log.ts";
import type { Member } from "./member.ts";
import { checkRange, checkTxn } from "./mvcc/check.ts";
import { type Refusal, Refused } from "./mvcc/errors.ts";
import { isReadOnly } from "./mvcc/txn.ts";
import type { Event, TxnAnswer } from "./mvcc/types.ts";
import { VERSION } from "./version.ts";

const REASONS: Partial<Record<Refusal, StoreError["reason"]>> = {
  compacted: "compacted",
  "future-revision": "future-revision",
  "no-space": "no-space",
  "lease-not-found": "lease-not-found",
  unavailable: "unavailable",
  "storage-failed": "unavailable",
  "too-many-requests": "unavailable",
  corrupt: "unavailable",
  timeout: "timeout",
};

function storeError(error: unknown): unknown {
  if (!(error instanceof Refused)) return error;
  return new StoreError(REASONS[error.refusal] ?? "invalid", error.message, { cause: error });
}

/** How long a watch without events waits before it tells progress. */
const PROGRESS_INTERVAL = 60_000;

export class DirectClient implements StoreClient {
  readonly #member: Member;
  readonly #watches = new Set<DirectWatch>();
  #closed = false;

  constructor(member: Member) {
    this.#member = member;
  }

  async range(key: Uint8Array, options: RangeOptions = {}): Promise<RangeResult> {
    return this.#run(async () => {
      const request = { key, ...options };
      checkRange(request);
      if (!options.serializable) await this.#member.consensus.readBarrier();
      return this.#member.state.mvcc.range(request);
    });
  }

  async txn(compare: Compare[], success: Op[], failure: Op[] = []): Promise<TxnResult> {
    return this.#run(async () => {
      const request = { compare, success, failure };
      checkTxn(request);
      if (!isReadOnly(request)) return resultOf(await this.#member.propose({ type: "txn", ...request }));
      await this.#member.consensus.readBarrier();
      return resultOf(this.#member.state.read(request));
    });
  }

  watch(key: Uint8Array, options: WatchOptions, handler: WatchHandler): Watch {
    const watch = new DirectWatch(this.#member, key, options, handler, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    watch.start(this.#closed || !this.#member.running ? new StoreError("unavailable", "etcdserver: server stopped") : undefined);
    return watch;
  }

  leaseGrant(ttl: number, id?: bigint): Promise<{ id: bigint; ttl: number }> {
    return this.#run(async () => {
      const granted = await this.#member.grantLease(ttl, id ?? 0n);
      return { id: granted.id, ttl: granted.ttl };
    });
  }

  leaseKeepAlive(id: bigint): Promise<{ ttl: number }> {
    return this.#run(async () => {
      const ttl = await this.#member.keeper.renew(id);
      if (ttl === 0) throw new Refused("lease-not-found");
      return { ttl };
    });
  }

  leaseRevoke(id: bigint): Promise<void> {
    return this.#run(async () => {
      await this.#member.propose({ type: "leaseRevoke", id });
    });
  }

  compact(revision: number, options: { physical?: boolean } = {}): Promise<void> {
    return this.#run(async () => {
      await this.#member.compact(revision, options.physical);
    });
  }

  async status(): Promise<{ revision: number; dbSize: number; version: string; errors: string[] }> {
    const { mvcc, size } = this.#member.state;
    const errors = this.#member.alarms.map((a) => `memberID:${a.memberId} alarm:${a.kind.toUpperCase()} `);
    if (this.#member.failure) errors.push(this.#member.failure);
    return { revision: mvcc.revision, dbSize: size, version: VERSION, errors };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of [...this.#watches]) watch.cancel();
  }

  async #run<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closed || !this.#member.running) throw new StoreError("unavailable", "etcdserver: server stopped");
    try {
      return await call();
    } catch (error) {
      throw storeError(error);
    }
  }
}

function resultOf(answer: TxnAnswer): TxnResult {
  return answer as { revision: number; succeeded: boolean; results: OpResult[] };
}

/** Events without the pair before: one for all watchers that don't ask for it. */
const bare = new WeakMap<Event, WatchEvent>();

function withoutPrevious(event: Event): WatchEvent {
  if (!event.prevKv) return event;
  const found = bare.get(event);
  if (found) return found;
  const made: WatchEvent = { type: event.type, kv: event.kv };
  bare.set(event, made);
  return made;
}

class DirectWatch implements Watch {
  readonly #member: Member;
  readonly #key: Uint8Array;
  readonly #options: WatchOptions;
  readonly #handler: WatchHandler;
  readonly #gone: () => void;
  #watcher: ReturnType<Member["watches"]["add"]> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #asked = false;
  #quiet = true;
  #ended = false;

  constructor(member: Member, key: Uint8Array, options: WatchOptions, handler: WatchHandler, gone: () => void) {
    this.#member = member;
    this.#key = key;
    this.#options = options;
    this.#handler = handler;
    this.#gone = gone;
  }

  start(refused: Error | undefined): void {
    const startRevision = this.#options.startRevision || this.#member.state.mvcc.revision + 1;
    // Not before the caller has what watch() returns.
    queueMicrotask(() => {
      if (this.#ended) return;
      if (refused) return this.#end({ error: refused });
      this.#call(() => this.#handler.created?.(this.#member.state.mvcc.revision));
      if (this.#ended) return;
      this.#watcher = this.#member.watches.add(
        { key: this.#key, end: this.#options.end, startRevision },
        {
          events: (events, revision) => {
            this.#quiet = false;
            const given = this.#options.prevKv ? [...events] : events.map(withoutPrevious);
            this.#call(() => this.#handler.events(given, revision));
            this.#tellProgress();
          },
          compacted: (compacted) => this.#end({ compacted, error: new StoreError("compacted", new Refused("compacted").message) }),
          closed: (error) => this.#end({ error: storeError(error) as Error }),
        },
      );
      if (this.#options.progressNotify) {
        this.#timer = setInterval(() => {
          if (this.#quiet) this.requestProgress();
          this.#quiet = true;
        }, PROGRESS_INTERVAL);
        this.#timer.unref();
      }
    });
  }

  readonly progressAtOnce = true;

  requestProgress(): void {
    this.#asked = true;
    queueMicrotask(() => this.#tellProgress());
  }

  cancel(): void {
    this.#end(undefined);
  }

  /** A watcher that is behind tells it once it has caught up. */
  #tellProgress(): void {
    if (this.#ended || !this.#asked) return;
    if (!this.#watcher || !this.#member.watches.isCurrent(this.#watcher)) {
      setImmediate(() => this.#tellProgress());
      return;
    }
    this.#asked = false;
    this.#call(() => this.#handler.progress?.(this.#member.state.mvcc.revision));
  }

  #end(reason: { error?: Error; compacted?: number } | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    if (this.#watcher) this.#member.watches.remove(this.#watcher);
    this.#gone();
    if (reason) this.#call(() => this.#handler.closed(reason));
  }

  /** A handler that throws loses its watch, and nobody else's. */
  #call(run: () => void): void {
    try {
      run();
    } catch (error) {
      logger("etcd").error("A watch handler threw; its watch ends", error);
      const was = this.#ended;
      this.#end(undefined);
      if (!was) this.#handler.closed({ error: error as Error });
    }
  }
}
