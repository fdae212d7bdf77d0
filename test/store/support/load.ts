// Clients that read and write all the time, each at one member, and write down
// what they asked, what they were told, and in which order calls and answers
// came (all clients are in one process, so a counter is an exact clock).
import { parseEndpoint } from "../../../src/client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../../src/rpc/client.ts";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  KV,
  type RangeResponse,
  type ResponseHeader,
} from "../../../src/rpc/gen/etcd/rpc_pb.ts";
import { Code, RpcError } from "../../../src/rpc/types.ts";
import type { Operation, Value } from "../../../src/store/testing/linearizability.ts";
import type { Read, Write } from "../../../src/store/testing/revisions.ts";
import { until } from "./commands.ts";
import { bytes, endOf, text } from "./watcher.ts";

export const PREFIX = "/load/";

export interface LoadOptions {
  clients?: number;
  /** Keys that all clients share. */
  keys?: number;
  /** Milliseconds after which a client gives up on an answer. */
  timeout?: number;
  /** Milliseconds that a client rests between two calls. */
  rest?: number;
}

type Answered<T> = { answer: T; call: number; return: number } | { answer: undefined; call: number; return: number };

/** Answers that say for sure that nothing was done. */
const refusedForSure = (e: RpcError) => e.code === Code.Unavailable && /^connection to /.test(e.message);
/** Answers after which it may have been done, now or later. */
export const MAYBE = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Canceled, Code.Internal, Code.ResourceExhausted]);

export class Load {
  readonly operations: Operation[] = [];
  readonly writes: Write[] = [];
  readonly reads: Read[] = [];
  /** By member: the writes it acknowledged. */
  readonly acknowledged: number[];
  /** Calls without an answer. */
  unanswered = 0;
  /** Calls that found nobody to ask. */
  refused = 0;
  #clock = 0;
  #values = 0;
  #stopped = false;
  readonly #options: Required<LoadOptions>;
  readonly #clients: Promise<void>[];
  #failure: unknown;

  constructor(endpoints: readonly string[], options: LoadOptions = {}) {
    this.#options = { clients: 12, keys: 4, timeout: 2000, rest: 4, ...options };
    this.acknowledged = endpoints.map(() => 0);
    this.#clients = Array.from({ length: this.#options.clients }, (_, i) =>
      this.#client(i, endpoints[i % endpoints.length]!, i % endpoints.length).catch((error) => {
        this.#failure ??= error;
      }),
    );
  }

  get total(): number {
    return this.acknowledged.reduce((a, b) => a + b, 0);
  }

  /** Resolves once this many more writes were acknowledged; with `member`, by that one. */
  async progress(writes: number, member?: number, milliseconds = 30_000): Promise<void> {
    const count = () => (member === undefined ? this.total : this.acknowledged[member]!);
    const goal = count() + writes;
    await until(
      `${writes} more writes${member === undefined ? "" : ` at member ${member}`}`,
      () => this.#failure !== undefined || count() >= goal,
      milliseconds,
    );
    if (this.#failure) throw this.#failure;
  }

  /** Ends the clients and resolves when they have; throws what went wrong in them. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    if (this.#failure) throw this.#failure;
  }

  async #client(client: number, endpoint: string, member: number): Promise<void> {
    const channel = connect(parseEndpoint(endpoint).address, { connectTimeout: 500, backoff: { initial: 20, max: 200 } });
    try {
      const session = new Session(client, channel, this.#options, this);
      while (!this.#stopped) {
        const before = this.writes.length;
        await session.act();
        for (const w of this.writes.slice(before)) if (w.client === client && w.revision !== undefined) this.acknowledged[member]!++;
        await Bun.sleep(this.#options.rest);
      }
    } finally {
      channel.close();
    }
  }

  /** A value that no other write has. */
  value(): string {
    return `v${++this.#values}`;
  }

  /** The time: every look is later than the one before. */
  now(): number {
    return ++this.#clock;
  }

  /** Makes a call; undefined if it was surely not carried out. */
  async call<T>(make: () => Promise<T>): Promise<Answered<T> | undefined> {
    const call = this.now();
    try {
      const answer = await make();
      return { answer, call, return: this.now() };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (refusedForSure(error)) {
        this.refused++;
        return undefined;
      }
      if (!MAYBE.has(error.code)) throw error;
      this.unanswered++;
      return { answer: undefined, call, return: Number.POSITIVE_INFINITY };
    }
  }
}

const END = endOf(PREFIX);

/** One client: each turn one call, chosen by weight. */
class Session {
  readonly #client: number;
  readonly #kv: ReturnType<typeof createClient<typeof KV>>;
  readonly #options: Required<LoadOptions>;
  readonly #load: Load;
  /** What it last knew of each key. */
  readonly #known = new Map<string, Value>();

  constructor(client: number, channel: Channel, options: Required<LoadOptions>, load: Load) {
    this.#client = client;
    this.#kv = createClient(KV, channel);
    this.#options = options;
    this.#load = load;
  }

  async act(): Promise<void> {
    const key = `${PREFIX}k${Math.floor(Math.random() * this.#options.keys)}`;
    let weight = Math.random() * TOTAL_WEIGHT;
    for (const [w, act] of ACTIONS) {
      weight -= w;
      if (weight < 0) return act(this, key);
    }
  }

  #timed() {
    return { timeout: this.#options.timeout };
  }

  #wrote(span: Answered<{ header?: ResponseHeader }>, changes: Write["changes"]): void {
    const revision = span.answer && Number(span.answer.header!.revision);
    this.#load.writes.push({ client: this.#client, call: span.call, return: span.return, changes, revision });
  }

  #did(span: Answered<unknown>, operation: DistributiveOmit<Operation, "client" | "call" | "return">): void {
    this.#load.operations.push({ client: this.#client, call: span.call, return: span.return, ...operation } as Operation);
  }

  #read(span: Answered<unknown>, includes: (key: string) => boolean, r: RangeResponse, serializable = false): void {
    const found = r.kvs.map((kv) => ({ key: text(kv.key), value: text(kv.value), modRevision: Number(kv.modRevision) }));
    const { call, return: end } = span;
    this.#load.reads.push({ client: this.#client, call, return: end, includes, found, revision: Number(r.header!.revision), serializable });
  }

  async put(key: string, prevKv: boolean): Promise<void> {
    const value = this.#load.value();
    const done = await this.#load.call(() => this.#kv.put({ key: bytes(key), value: bytes(value), prevKv }, this.#timed()));
    if (!done) return;
    this.#known.set(key, value);
    const previous = prevKv && done.answer ? (done.answer.prevKv ? text(done.answer.prevKv.value) : null) : undefined;
    this.#did(done, { key, type: "put", value, previous });
    this.#wrote(done, [{ key, value }]);
  }

  async get(key: string, serializable: boolean): Promise<void> {
    const done = await this.#load.call(() => this.#kv.range({ key: bytes(key), serializable }, this.#timed()));
    if (!done?.answer) return;
    const value = done.answer.kvs[0] ? text(done.answer.kvs[0].value) : null;
    this.#known.set(key, value);
    this.#read(done, (k) => k === key, done.answer, serializable);
    if (!serializable) this.#did(done, { key, type: "get", value });
  }

  async remove(key: string): Promise<void> {
    const done = await this.#load.call(() => this.#kv.deleteRange({ key: bytes(key) }, this.#timed()));
    if (!done) return;
    const deleted = done.answer && done.answer.deleted > 0n;
    this.#did(done, { key, type: "delete", deleted });
    this.#wrote(done, deleted === false ? [] : [{ key, value: null }]);
  }

  async swap(key: string): Promise<void> {
    const value = this.#load.value();
    const expect = this.#known.get(key) ?? null;
    const target =
      expect === null
        ? { target: Compare_CompareTarget.CREATE, targetUnion: { case: "createRevision" as const, value: 0n } }
        : { target: Compare_CompareTarget.VALUE, targetUnion: { case: "value" as const, value: bytes(expect) } };
    const request = {
      compare: [{ key: bytes(key), result: Compare_CompareResult.EQUAL, ...target }],
      success: [{ request: { case: "requestPut" as const, value: { key: bytes(key), value: bytes(value) } } }],
      failure: [{ request: { case: "requestRange" as const, value: { key: bytes(key) } } }],
    };
    const done = await this.#load.call(() => this.#kv.txn(request, this.#timed()));
    if (!done) return;
    const succeeded = done.answer?.succeeded;
    const other = done.answer?.responses[0]?.response;
    const found = other?.case === "responseRange" ? (other.value.kvs[0] ? text(other.value.kvs[0].value) : null) : undefined;
    this.#did(done, { key, type: "cas", expect, value, succeeded, found });
    this.#wrote(done, succeeded === false ? [] : [{ key, value }]);
    this.#known.set(key, succeeded === false ? found! : value);
  }

  /** Two keys in one transaction, which nobody may see but together. */
  async both(): Promise<void> {
    const changes = ["left", "right"].map((side) => ({ key: `${PREFIX}${side}`, value: this.#load.value() }));
    const success = changes.map((c) => ({ request: { case: "requestPut" as const, value: { key: bytes(c.key), value: bytes(c.value) } } }));
    const done = await this.#load.call(() => this.#kv.txn({ success }, this.#timed()));
    if (done) this.#wrote(done, changes);
  }

  async list(): Promise<void> {
    const done = await this.#load.call(() => this.#kv.range({ key: bytes(PREFIX), rangeEnd: END }, this.#timed()));
    if (done?.answer) this.#read(done, (k) => k.startsWith(PREFIX), done.answer);
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

const ACTIONS: [weight: number, act: (s: Session, key: string) => Promise<void>][] = [
  [20, (s, key) => s.put(key, false)],
  [15, (s, key) => s.put(key, true)],
  [25, (s, key) => s.get(key, false)],
  [5, (s, key) => s.get(key, true)],
  [10, (s, key) => s.remove(key)],
  [15, (s, key) => s.swap(key)],
  [5, (s) => s.both()],
  [5, (s) => s.list()],
];
const TOTAL_WEIGHT = ACTIONS.reduce((sum, [w]) => sum + w, 0);
