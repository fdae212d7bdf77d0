// A watch stream of one store, told apart from others by what it answers to each step.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Requests } from "../../client/etcd-grpc-endpoints.ts";
import { type Channel, createClient } from "../../rpc/client.ts";
import { KV, Watch, type WatchRequestSchema, type WatchResponse } from "../../rpc/gen/etcd/rpc_pb.ts";
import { plain } from "./sides.ts";

export type WatchAsk = NonNullable<MessageInitShape<typeof WatchRequestSchema>["requestUnion"]>;

/** Before all other keys. */
const BARRIER = Uint8Array.of(1);
const BARRIER_ID = 777n;
/** Milliseconds for what has to come. */
const PATIENCE = 15_000;

export class WatchStream implements Disposable {
  readonly kv;
  readonly #requests = new Requests<MessageInitShape<typeof WatchRequestSchema>>();
  readonly #stop = new AbortController();
  readonly #answers: AsyncIterator<WatchResponse>;
  #taken: WatchResponse[] = [];
  #barriers = 0;

  constructor(channel: Channel) {
    this.kv = createClient(KV, channel);
    this.#answers = createClient(Watch, channel).watch(this.#requests, { signal: this.#stop.signal })[Symbol.asyncIterator]();
  }

  /** With a watch of its own, which tells that all else was told. */
  static async open(channel: Channel): Promise<WatchStream> {
    const stream = new WatchStream(channel);
    stream.ask({ case: "createRequest", value: { key: BARRIER, watchId: BARRIER_ID } });
    await stream.until("created", (r) => r.created);
    stream.#taken = [];
    return stream;
  }

  ask(requestUnion: WatchAsk): void {
    this.#requests.push({ requestUnion });
  }

  /** Reads on until an answer is such. */
  async until(what: string, such: (r: WatchResponse) => boolean): Promise<void> {
    const late = setTimeout(() => this.#stop.abort(new Error(`not told within ${PATIENCE} ms: ${what}`)), PATIENCE);
    try {
      for (;;) {
        const { value, done } = await this.#answers.next();
        if (done) throw new Error(`the stream ended before it told: ${what}`);
        this.#taken.push(value);
        if (such(value)) return;
      }
    } finally {
      clearTimeout(late);
    }
  }

  /** What was told since the last time, up to now: by kind and watch, for watches are told in any order, in one message a revision or in several. */
  async told(): Promise<unknown> {
    const { header } = await this.kv.put({ key: BARRIER, value: Uint8Array.of(++this.#barriers) });
    await this.until("all", (r) => r.watchId === BARRIER_ID && r.events.at(-1)?.kv?.modRevision === header!.revision);
    const by = new Map<string, WatchResponse[]>();
    for (const r of this.#taken) {
      if (r.watchId === BARRIER_ID && !r.created && !r.canceled) continue;
      const kind = r.created ? "created" : r.canceled ? "canceled" : r.events.length > 0 ? "events" : "progress";
      const name = `${kind} ${r.watchId}`;
      const before = by.get(name)?.at(-1);
      if (kind === "events" && before) {
        before.events.push(...r.events);
        before.header = r.header;
      } else by.set(name, [...(by.get(name) ?? []), r]);
    }
    this.#taken = [];
    return plain([...by].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  [Symbol.dispose](): void {
    this.#requests.end();
    this.#stop.abort();
  }
}
