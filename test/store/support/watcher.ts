// A watch of a prefix that goes on at another member when its stream ends, and
// behind a list when the past was compacted away; it keeps all that came, so
// that gaps and duplicates can be looked for.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { parseEndpoint, Requests } from "../../../src/client/etcd-grpc-endpoints.ts";
import { connect, createClient } from "../../../src/rpc/client.ts";
import type { Event } from "../../../src/rpc/gen/etcd/kv_pb.ts";
import { Watch, type WatchRequestSchema } from "../../../src/rpc/gen/etcd/rpc_pb.ts";
import { RpcError } from "../../../src/rpc/types.ts";
import type { Change, Delivery, WatchSpan } from "../../../src/store/testing/revisions.ts";
import { until } from "./commands.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
export const bytes = (s: string) => encoder.encode(s);
export const text = (b: Uint8Array) => decoder.decode(b);

/** The end of the range of all keys that begin with it. */
export function endOf(prefix: string): Uint8Array {
  const end = bytes(prefix);
  end[end.length - 1]!++;
  return end;
}

const changeOf = (e: Event): Change => ({
  key: text(e.kv!.key),
  value: e.type === 0 ? text(e.kv!.value) : null,
  revision: Number(e.kv!.modRevision),
});

export interface WatcherOptions {
  /** The first revision to watch. */
  start?: number;
  /** The endpoint to begin at. */
  first?: number;
  /**
   * What to do when that much was compacted: tells the revision behind which
   * the watch goes on, such as that of a list. Without it, the watch fails.
   */
  compacted?: (endpoint: string, compactRevision: number) => Promise<number>;
}

export class Watcher {
  /** What came, from each revision that it had to begin at. */
  readonly #spans: { start: number; deliveries: Delivery[] }[];
  /** The revision that each compaction kept it from, and the one that it was told. */
  readonly compactions: { wanted: number; told: number }[] = [];
  /** Streams that were opened. */
  streams = 0;
  /** Why it can't go on. */
  failure: string | undefined;
  /** The revision before the first that is still to come. */
  #last: number;
  readonly #endpoints: readonly string[];
  readonly #prefix: string;
  readonly #compacted: WatcherOptions["compacted"];
  /** Told that this was compacted, and not gone on since. */
  #lost: number | undefined;
  #at: number;
  #stream = new AbortController();
  #stopped = false;
  readonly #run: Promise<void>;

  constructor(endpoints: readonly string[], prefix: string, { start = 1, first = 0, compacted }: WatcherOptions = {}) {
    this.#endpoints = endpoints;
    this.#prefix = prefix;
    this.#compacted = compacted;
    this.#spans = [{ start, deliveries: [] }];
    this.#last = start - 1;
    this.#at = first;
    this.#run = this.#watch();
  }

  get last(): number {
    return this.#last;
  }

  get changes(): Change[] {
    return this.#spans.flatMap((s) => s.deliveries.flatMap((d) => d.changes));
  }

  /** From where to where it has seen everything. */
  get seen(): { start: number; end: number }[] {
    return this.#spans.map(({ start, deliveries }) => ({ start, end: deliveries.at(-1)?.changes.at(-1)?.revision ?? start - 1 }));
  }

  /** What it has to have seen: all from where it began to the end, but for what was compacted before it came there. */
  spans(through: number): WatchSpan[] {
    const includes = (key: string) => key.startsWith(this.#prefix);
    const { seen } = this;
    return this.#spans.map(({ start, deliveries }, i) => {
      return { start, includes, deliveries, through: i === this.#spans.length - 1 ? through : seen[i]!.end };
    });
  }

  /** Leaves its stream and goes on at the next member. */
  hop(): void {
    this.#at++;
    this.#stream.abort();
  }

  /** Resolves once all up to this revision came, which some key of the prefix must have. */
  async reached(revision: number, milliseconds = 30_000): Promise<void> {
    await until(
      `the watch at ${this.#endpoint} to reach revision ${revision}`,
      () => this.failure !== undefined || this.#last >= revision,
      milliseconds,
      () => `it is at ${this.#last}`,
    );
    if (this.failure) throw new Error(this.failure);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stream.abort();
    await this.#run;
  }

  get #endpoint(): string {
    return this.#endpoints[this.#at % this.#endpoints.length]!;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped && !this.failure) {
      this.#stream = new AbortController();
      const { address } = parseEndpoint(this.#endpoint);
      const channel = connect(address, { connectTimeout: 500, maxReceiveSize: 2 ** 31 - 1 });
      try {
        if (this.#lost !== undefined) await this.#goOn(this.#lost);
        await this.#follow(createClient(Watch, channel));
      } catch (error) {
        if (!(error instanceof RpcError)) this.failure = String(error);
        if (!this.#stream.signal.aborted) this.#at++;
        if (!this.#stopped) await Bun.sleep(20);
      } finally {
        channel.close();
      }
    }
  }

  async #follow(client: ReturnType<typeof createClient<typeof Watch>>): Promise<void> {
    const requests = new Requests<MessageInitShape<typeof WatchRequestSchema>>();
    const createRequest = { key: bytes(this.#prefix), rangeEnd: endOf(this.#prefix), startRevision: BigInt(this.#last + 1) };
    requests.push({ requestUnion: { case: "createRequest", value: createRequest } });
    this.streams++;
    for await (const r of client.watch(requests, { signal: this.#stream.signal })) {
      if (r.canceled) {
        const told = Number(r.compactRevision);
        if (told === 0 || !this.#compacted) throw new Error(`the watch was cancelled: ${r.cancelReason} (compacted at ${told})`);
        this.compactions.push({ wanted: this.#last + 1, told });
        this.#lost = told;
        return;
      }
      if (r.events.length === 0) continue;
      const changes = r.events.map(changeOf);
      this.#spans.at(-1)!.deliveries.push({ revision: Number(r.header!.revision), changes });
      this.#last = changes.at(-1)!.revision;
    }
  }

  /** Begins anew behind what was compacted. */
  async #goOn(compactRevision: number): Promise<void> {
    this.#last = await this.#compacted!(this.#endpoint, compactRevision);
    this.#spans.push({ start: this.#last + 1, deliveries: [] });
    this.#lost = undefined;
  }
}
