// Clients that compact, and those who notice: watches and reads that begin in
// the past. Nothing is compacted that no recorder has seen, so that the whole
// history is still known in the end.
import { parseEndpoint } from "../../../src/client/etcd-grpc-endpoints.ts";
import { connect, createClient } from "../../../src/rpc/client.ts";
import { KV, type RangeResponse } from "../../../src/rpc/gen/etcd/rpc_pb.ts";
import { Code, RpcError } from "../../../src/rpc/types.ts";
import { type Change, checkWatch, type WatchSpan } from "../../../src/store/testing/revisions.ts";
import type { StoreCluster } from "./cluster.ts";
import { until } from "./commands.ts";
import { type Load, MAYBE, PREFIX } from "./load.ts";
import { bytes, endOf, text, Watcher } from "./watcher.ts";

const TIMEOUT = { timeout: 1000 };
/** Revisions behind the newest up to which clients compact, at most; and before the compacted one from which others ask. */
const KEPT = 30;
/** Milliseconds between two calls. */
const REST = 40;

const COMPACTED = "etcdserver: mvcc: required revision has been compacted";

async function range(endpoint: string, revision = 0): Promise<RangeResponse> {
  const channel = connect(parseEndpoint(endpoint).address, { connectTimeout: 500, maxReceiveSize: 2 ** 31 - 1 });
  try {
    return await createClient(KV, channel).range({ key: bytes(PREFIX), rangeEnd: endOf(PREFIX), revision: BigInt(revision) }, TIMEOUT);
  } finally {
    channel.close();
  }
}

const foundIn = (r: RangeResponse) =>
  r.kvs.map((kv) => ({ key: text(kv.key), value: text(kv.value), modRevision: Number(kv.modRevision) }));

/** Lists all of the load's keys, notes what was found, and tells as of which revision. Rejects with RpcError. */
export function listing(load: Load): (endpoint: string) => Promise<number> {
  return async (endpoint) => {
    const call = load.now();
    const answer = await range(endpoint);
    const revision = Number(answer.header!.revision);
    const includes = (key: string) => key.startsWith(PREFIX);
    load.reads.push({ client: -2, call, return: load.now(), includes, found: foundIn(answer), revision });
    return revision;
  };
}

export class Compaction implements AsyncDisposable {
  /** The newest revision that any call asked to compact; every later one is there. */
  asked = 0;
  /** The newest that was answered; every older one is gone, where it is known. */
  answered = 0;
  /** Calls that were answered, and refusals of reads of what was compacted. */
  done = 0;
  refusedReads = 0;
  /** Watches of all from the beginning, one at each member. */
  readonly recorders: Watcher[];
  /** Watches that began in the past. */
  readonly #late: Watcher[] = [];
  readonly #cluster: StoreCluster;
  readonly #load: Load;
  readonly #clients: Promise<void>[];
  #stopped = false;
  #failure: unknown;

  constructor(cluster: StoreCluster, load: Load) {
    this.#cluster = cluster;
    this.#load = load;
    const compacted = listing(load);
    this.recorders = cluster.members.map((m) => new Watcher([m.endpoint], PREFIX, { compacted }));
    const clients = [() => this.#compact(), () => this.#compact(), () => this.#watch(), () => this.#watch(), () => this.#read()];
    this.#clients = clients.map((act) => this.#repeat(act));
  }

  /** Watches that were told that what they wanted was compacted. */
  get toldWatches(): number {
    return [...this.#late, ...this.recorders].reduce((sum, w) => sum + w.compactions.length, 0);
  }

  /** Resolves once so many more compactions were answered, and a watch and a read have met one. */
  async progress(compactions: number): Promise<void> {
    const goal = this.done + compactions;
    const reached = () => this.done >= goal && this.toldWatches > 0 && this.refusedReads > 0;
    await until(
      `${compactions} compactions, and clients that notice`,
      () => this.#failure !== undefined || reached(),
      60_000,
      () => `${this.done} compactions, ${this.toldWatches} watches and ${this.refusedReads} reads that noticed`,
    );
    if (this.#failure) throw this.#failure;
  }

  /** Ends the clients; throws what went wrong in them. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    if (this.#failure) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
    for (const w of [...this.recorders, ...this.#late]) await w.stop();
  }

  /** All that happened up to a revision, as the recorders saw it together. Throws an Error if they didn't all see the same. */
  history(through: number): Change[] {
    const seen = new Map<number, Change[]>();
    for (const { deliveries } of this.recorders.flatMap((w) => w.spans(through)))
      for (const [revision, changes] of byRevision(deliveries.flatMap((d) => d.changes))) {
        const before = seen.get(revision);
        if (before && JSON.stringify(before) !== JSON.stringify(changes))
          throw new Error(`two members tell revision ${revision} differently: ${JSON.stringify([before, changes])}`);
        seen.set(revision, changes);
      }
    return [...seen].sort(([a], [b]) => a - b).flatMap(([, changes]) => changes);
  }

  /** What is wrong with what watches were told, one line for each finding. */
  violations(history: readonly Change[], through: number): string[] {
    const late = this.#late.flatMap((w) => w.spans(0));
    const spans: WatchSpan[] = [...late, ...this.recorders.flatMap((w) => w.spans(through))];
    const told = [...this.#late, ...this.recorders].flatMap((w) => w.compactions);
    return [
      ...spans.flatMap((span) => checkWatch(history, span)),
      ...told.filter((c) => c.told <= c.wanted).map((c) => `a watch from ${c.wanted} was told that ${c.told} is compacted`),
      ...told
        .filter((c) => c.told > this.asked)
        .map((c) => `${c.told} is said to be compacted, but nobody asked for more than ${this.asked}`),
    ];
  }

  /** The revision up to which recorders have seen everything. */
  get #covered(): number {
    let covered = 0;
    const seen = this.recorders.flatMap((w) => w.seen).sort((a, b) => a.start - b.start);
    for (const { start, end } of seen) if (start <= covered + 1) covered = Math.max(covered, end);
    return covered;
  }

  get #endpoint(): string {
    const { endpoints } = this.#cluster;
    return endpoints[Math.floor(Math.random() * endpoints.length)]!;
  }

  /** A revision that is compacted, or will soon be; or one that isn't. */
  get #past(): number {
    const [from, to] = Math.random() < 0.5 ? [this.answered - KEPT, this.answered] : [this.answered, this.#covered];
    return Math.max(1, from + Math.floor(Math.random() * (to - from)));
  }

  async #repeat(act: () => Promise<void>): Promise<void> {
    try {
      while (!this.#stopped) {
        if (this.#covered > 0) await act();
        await Bun.sleep(REST);
      }
    } catch (error) {
      this.#failure ??= error;
    }
  }

  async #compact(): Promise<void> {
    const revision = this.#covered - Math.floor(Math.random() * KEPT);
    if (revision <= this.asked) return;
    this.asked = revision;
    const channel = connect(parseEndpoint(this.#endpoint).address, { connectTimeout: 500 });
    try {
      await createClient(KV, channel).compact({ revision: BigInt(revision), physical: Math.random() < 0.5 }, TIMEOUT);
      this.done++;
      this.answered = Math.max(this.answered, revision);
    } catch (error) {
      // Another call may have been quicker with a later revision.
      if (!mayFail(error) && !(error as Error).message.includes(COMPACTED)) throw error;
    } finally {
      channel.close();
    }
  }

  async #watch(): Promise<void> {
    const { endpoints } = this.#cluster;
    const target = this.#covered;
    const first = Math.floor(Math.random() * endpoints.length);
    const watcher = new Watcher(endpoints, PREFIX, { start: this.#past, first, compacted: listing(this.#load) });
    this.#late.push(watcher);
    try {
      // One at a member that is frozen or cut off is not to be waited for.
      await until(
        "a watch from the past to come to the present",
        () => this.#stopped || watcher.failure || watcher.last >= target,
        2000,
      ).catch(() => watcher.hop());
    } finally {
      await watcher.stop();
    }
    if (watcher.failure) throw new Error(watcher.failure);
  }

  async #read(): Promise<void> {
    const revision = this.#past;
    const call = this.#load.now();
    try {
      const answer = await range(this.#endpoint, revision);
      const includes = (key: string) => key.startsWith(PREFIX);
      // What it says of the past is all that counts, not when it was asked.
      this.#load.reads.push({
        client: -3,
        call,
        return: this.#load.now(),
        includes,
        found: foundIn(answer),
        revision,
        serializable: true,
      });
    } catch (error) {
      if (mayFail(error)) return;
      if (!(error as Error).message.includes(COMPACTED)) throw error;
      if (revision >= this.asked) throw new Error(`a read at ${revision} is refused, but nobody asked to compact more than ${this.asked}`);
      this.refusedReads++;
    }
  }
}

/** Whether that may happen to a call while members are harmed. */
const mayFail = (error: unknown) => error instanceof RpcError && error.code !== Code.OutOfRange && MAYBE.has(error.code);

function byRevision(changes: readonly Change[]): Map<number, Change[]> {
  const revisions = new Map<number, Change[]>();
  for (const c of changes) revisions.set(c.revision, [...(revisions.get(c.revision) ?? []), c]);
  return revisions;
}
