// The Watch service: many watchers on one stream.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Watch,
  type WatchCreateRequest,
  WatchCreateRequest_FilterType,
  type WatchRequest,
  type WatchResponseSchema,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import { Refused } from "../mvcc/errors.ts";
import { compareBytes } from "../mvcc/key.ts";
import type { Event } from "../mvcc/types.ts";
import type { Watcher } from "../mvcc/watch.ts";
import { header, type ServerContext } from "./context.ts";
import { rpcError } from "./errors.ts";
import { event } from "./messages.ts";

type Response = MessageInitShape<typeof WatchResponseSchema>;

interface Running {
  watcher: Watcher;
  request: WatchCreateRequest;
  /** Had no events since the last look. */
  quiet: boolean;
}

/** What may wait to be sent before the watchers read no more. */
const MOST_WAITING = 4 * 1024 * 1024;
/** The watch id of what concerns no single watch. */
const NO_WATCH = -1n;

export function watchService(context: ServerContext) {
  return service(Watch, {
    watch(requests, { signal }) {
      const stream = new WatchStream(context);
      signal.addEventListener("abort", () => stream.end(), { once: true });
      stream.read(requests);
      return stream.responses();
    },
  });
}

const sizeOf = (e: Event, prevKv: boolean) =>
  e.kv.key.length + e.kv.value.length + 32 + (prevKv && e.prevKv ? e.prevKv.key.length + e.prevKv.value.length + 32 : 0);

class WatchStream {
  readonly #context: ServerContext;
  readonly #running = new Map<bigint, Running>();
  #nextId = 0n;
  #outbox: { response: Response; bytes: number }[] = [];
  #waitingBytes = 0;
  #paused = false;
  #progressAsked = false;
  #ended: { error: unknown } | undefined;
  #wake: (() => void) | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(context: ServerContext) {
    this.#context = context;
  }

  async read(requests: AsyncIterable<WatchRequest>): Promise<void> {
    try {
      for await (const { requestUnion: request } of requests) {
        if (this.#ended) return;
        if (request.case === "createRequest") this.#create(request.value);
        else if (request.case === "cancelRequest") this.#cancel(request.value.watchId);
        else if (request.case === "progressRequest") this.#askProgress();
      }
      this.end();
    } catch (error) {
      this.end(error);
    }
  }

  async *responses(): AsyncGenerator<Response> {
    try {
      for (;;) {
        const batch = this.#outbox;
        this.#outbox = [];
        for (const { response, bytes } of batch) {
          yield response;
          this.#waitingBytes -= bytes;
        }
        this.#flowAgain();
        if (this.#outbox.length > 0) continue;
        if (this.#ended) {
          if (this.#ended.error !== undefined) throw this.#ended.error;
          return;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.end();
    }
  }

  /** Idempotent. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = { error };
    clearInterval(this.#timer);
    for (const { watcher } of this.#running.values()) this.#context.member.watches.remove(watcher);
    this.#running.clear();
    this.#wakeUp();
  }

  #send(response: Response, bytes = 0): void {
    this.#outbox.push({ response: { header: header(this.#context), ...response } as Response, bytes });
    this.#waitingBytes += bytes;
    if (this.#waitingBytes > MOST_WAITING && !this.#paused) {
      this.#paused = true;
      for (const { watcher } of this.#running.values()) this.#context.member.watches.pause(watcher);
    }
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  #flowAgain(): void {
    if (!this.#paused || this.#ended) return;
    this.#paused = false;
    for (const { watcher } of this.#running.values()) this.#context.member.watches.resume(watcher);
  }

  #create(request: WatchCreateRequest): void {
    const { watches, state } = this.#context.member;
    const refuse = (cancelReason: string) => this.#send({ watchId: NO_WATCH, created: true, canceled: true, cancelReason });
    const key = request.key.length > 0 ? request.key : Uint8Array.of(0);
    const end = request.rangeEnd.length > 0 ? request.rangeEnd : undefined;
    if (end && !(end.length === 1 && end[0] === 0) && compareBytes(key, end) >= 0) return refuse("mvcc: watcher range is empty");
    if (request.watchId !== 0n && this.#running.has(request.watchId)) {
      return refuse("mvcc: duplicate watch ID provided on the WatchStream");
    }
    let id = request.watchId;
    if (id === 0n) {
      while (this.#running.has(this.#nextId)) this.#nextId++;
      id = this.#nextId++;
    }
    const startRevision = Number(request.startRevision) || state.mvcc.revision + 1;
    const { filters } = request;
    this.#send({ watchId: id, created: true });
    const watcher = watches.add(
      {
        key,
        end,
        startRevision,
        noPut: filters.includes(WatchCreateRequest_FilterType.NOPUT),
        noDelete: filters.includes(WatchCreateRequest_FilterType.NODELETE),
      },
      {
        events: (events, revision) => this.#events(id, events, revision),
        compacted: (compacted) => {
          this.#running.delete(id);
          this.#send({
            watchId: id,
            canceled: true,
            compactRevision: BigInt(compacted),
            cancelReason: new Refused("compacted").message,
          });
        },
        closed: (error) => this.end(rpcError(error)),
      },
    );
    if (this.#paused) watches.pause(watcher);
    this.#running.set(id, { watcher, request, quiet: true });
    if (request.progressNotify && !this.#timer) {
      this.#timer = setInterval(() => this.#tellQuiet(), this.#context.progressInterval);
      this.#timer.unref();
    }
  }

  #cancel(id: bigint): void {
    const running = this.#running.get(id);
    if (!running) return;
    this.#context.member.watches.remove(running.watcher);
    this.#running.delete(id);
    this.#send({ watchId: id, canceled: true });
  }

  #events(id: bigint, events: readonly Event[], revision: number): void {
    const running = this.#running.get(id);
    if (!running) return;
    running.quiet = false;
    const { prevKv, fragment } = running.request;
    let part: Event[] = [];
    let bytes = 0;
    const flush = (upTo: number, more: boolean) => {
      const head = header(this.#context, upTo);
      this.#send({ header: head, watchId: id, events: part.map((e) => event(e, prevKv)), fragment: more }, bytes);
      part = [];
      bytes = 0;
    };
    for (const e of events) {
      const size = sizeOf(e, prevKv);
      const before = part.at(-1);
      if (before && bytes + size > this.#context.fragmentBytes) {
        // Between revisions it is simply the next message; within one, only those who asked take a part.
        const whole = before.kv.modRevision !== e.kv.modRevision;
        if (whole || fragment) flush(before.kv.modRevision, !whole);
      }
      part.push(e);
      bytes += size;
    }
    flush(revision, false);
    if (this.#progressAsked) this.#answerProgress();
  }

  #tellQuiet(): void {
    for (const [id, running] of this.#running) {
      if (running.quiet && running.request.progressNotify && this.#context.member.watches.isCurrent(running.watcher))
        this.#send({ watchId: id });
      running.quiet = true;
    }
  }

  #askProgress(): void {
    this.#progressAsked = true;
    this.#answerProgress();
  }

  /** Holds for all watches of the stream, so it waits until none is behind. */
  #answerProgress(): void {
    if (!this.#progressAsked || this.#ended) return;
    const { watches } = this.#context.member;
    for (const { watcher } of this.#running.values()) {
      if (watches.isCurrent(watcher)) continue;
      setImmediate(() => this.#answerProgress());
      return;
    }
    this.#progressAsked = false;
    this.#send({ watchId: NO_WATCH });
  }
}
