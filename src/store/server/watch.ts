// The Watch service: many watchers on one stream.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Watch,
  type WatchCreateRequest,
  WatchCreateRequest_FilterType,
  type WatchRequest,
  WatchRequestSchema,
  WatchResponseSchema,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import { create, toBinary } from "../../rpc/protobuf.ts";
import { PreparedMessage, type RawCall, type RawListener } from "../../rpc/raw.ts";
import { raw, service } from "../../rpc/service.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { compareBytes, spanOf } from "../mvcc/key.ts";
import type { Event } from "../mvcc/types.ts";
import type { Watcher } from "../mvcc/watch.ts";
import { header, type ServerContext } from "./context.ts";
import { rpcError } from "./errors.ts";
import { type EventForm, EventWriter } from "./events.ts";
import { decoded } from "./messages.ts";

type Response = MessageInitShape<typeof WatchResponseSchema>;

type Request = WatchRequest["requestUnion"];

interface Running {
  watcher: Watcher;
  form: EventForm;
  progressNotify: boolean;
  /** Had no events since the last look. */
  quiet: boolean;
}

/** What may wait to be sent before the watchers read no more. */
const MOST_WAITING = 4 * 1024 * 1024;
/** The watch id of what concerns no single watch. */
const NO_WATCH = -1n;

export function watchService(context: ServerContext) {
  const events = new EventWriter(context);
  return service(Watch, { watch: raw((call) => new WatchStream(context, events, call)) });
}

/** Goes on when no more requests come, as etcd's does: clients that send one alone, such as browsers, end that way of the stream at once. */
class WatchStream implements RawListener {
  readonly #context: ServerContext;
  readonly #writer: EventWriter;
  readonly #call: RawCall;
  readonly #running = new Map<bigint, Running>();
  #nextId = 0n;
  /** What waits for the client to read. */
  #outbox: PreparedMessage[] = [];
  #waitingBytes = 0;
  #blocked = false;
  #paused = false;
  #progressAsked = false;
  #ended = false;
  /** While auth is on: requests that wait until it is known who asks. */
  #asking: Promise<void> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(context: ServerContext, writer: EventWriter, call: RawCall) {
    this.#context = context;
    this.#writer = writer;
    this.#call = call;
  }

  // RawListener

  message(bytes: Uint8Array): void {
    const { requestUnion: request } = decoded(WatchRequestSchema, bytes);
    // Those behind one that had to wait keep their order.
    if (this.#asking || (request.case === "createRequest" && this.#context.gate.on)) this.#ask(request);
    else this.#take(request);
  }

  #take(request: Request, refused?: string): void {
    if (request.case === "createRequest") this.#create(request.value, refused);
    else if (request.case === "cancelRequest") this.#cancel(request.value.watchId);
    else if (request.case === "progressRequest") this.#askProgress();
  }

  canceled(): void {
    this.#forget();
  }

  drained(): void {
    this.#blocked = false;
    let sent = 0;
    while (sent < this.#outbox.length && !this.#blocked) {
      const message = this.#outbox[sent++]!;
      this.#waitingBytes -= message.bytes.length;
      this.#blocked = !this.#call.send(message);
    }
    this.#outbox.splice(0, sent);
    if (!this.#blocked) this.#flowAgain();
  }

  /** Ends the stream; what waits to be sent goes first. */
  #end(error?: unknown): void {
    if (this.#ended) return;
    this.#forget();
    for (const message of this.#outbox.splice(0)) this.#call.send(message);
    this.#call.end(error as RpcError | undefined);
  }

  #forget(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    for (const { watcher } of this.#running.values()) this.#context.member.watches.remove(watcher);
    this.#running.clear();
  }

  #tell(response: Response): void {
    const whole = { header: header(this.#context), ...response } as Response;
    this.#send(new PreparedMessage(toBinary(WatchResponseSchema, create(WatchResponseSchema, whole))));
  }

  #send(message: PreparedMessage): void {
    if (!this.#blocked) {
      this.#blocked = !this.#call.send(message);
      return;
    }
    this.#outbox.push(message);
    this.#waitingBytes += message.bytes.length;
    if (this.#waitingBytes <= MOST_WAITING || this.#paused) return;
    this.#paused = true;
    for (const { watcher } of this.#running.values()) this.#context.member.watches.pause(watcher);
  }

  #flowAgain(): void {
    if (!this.#paused || this.#ended) return;
    this.#paused = false;
    for (const { watcher } of this.#running.values()) this.#context.member.watches.resume(watcher);
  }

  /** Takes a request once it is known whether its client may see the keys. A watch that stands is not asked again. */
  #ask(request: Request): void {
    this.#asking = (this.#asking ?? Promise.resolve()).then(async () => {
      const refused = request.case === "createRequest" ? await this.#notPermitted(request.value) : undefined;
      if (!this.#ended) this.#take(request, refused);
    });
    this.#asking.catch((error) => this.#end(rpcError(error)));
  }

  async #notPermitted({ key, rangeEnd }: WatchCreateRequest): Promise<string | undefined> {
    const { gate, member } = this.#context;
    try {
      await gate.as(this.#call, async (by) => {
        const first = key.length > 0 ? key : Uint8Array.of(0);
        if (gate.on) member.state.auth.permit(by, "read", spanOf(first, rangeEnd));
      });
      return undefined;
    } catch (error) {
      const told = rpcError(error);
      if (!(told instanceof RpcError)) throw error;
      return `rpc error: code = ${Code[told.code]} desc = ${told.message}`;
    }
  }

  #create(request: WatchCreateRequest, refused: string | undefined): void {
    const { watches, state } = this.#context.member;
    const refuse = (cancelReason: string) => this.#tell({ watchId: NO_WATCH, created: true, canceled: true, cancelReason });
    const key = request.key.length > 0 ? request.key : Uint8Array.of(0);
    const end = request.rangeEnd.length > 0 ? request.rangeEnd : undefined;
    if (refused !== undefined) return refuse(refused);
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
    this.#tell({ watchId: id, created: true });
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
          // As in etcd the revision says why.
          this.#tell({ watchId: id, canceled: true, compactRevision: BigInt(compacted) });
          this.#answerProgress();
        },
        caughtUp: () => this.#answerProgress(),
        closed: (error) => this.#end(rpcError(error)),
      },
    );
    if (this.#paused) watches.pause(watcher);
    const form = { watchId: id, prevKv: request.prevKv, fragment: request.fragment };
    this.#running.set(id, { watcher, form, progressNotify: request.progressNotify, quiet: true });
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
    this.#tell({ watchId: id, canceled: true });
    this.#answerProgress();
  }

  #events(id: bigint, events: readonly Event[], revision: number): void {
    const running = this.#running.get(id);
    if (!running) return;
    running.quiet = false;
    for (const message of this.#writer.messages(events, revision, running.form)) this.#send(message);
    this.#answerProgress();
  }

  #tellQuiet(): void {
    for (const [id, running] of this.#running) {
      if (running.quiet && running.progressNotify && this.#context.member.watches.isCurrent(running.watcher)) this.#tell({ watchId: id });
      running.quiet = true;
    }
  }

  #askProgress(): void {
    this.#progressAsked = true;
    this.#answerProgress();
  }

  /** Holds for all watches of the stream, so it waits until none is behind, nor begins at a revision still to come. */
  #answerProgress(): void {
    if (!this.#progressAsked || this.#ended) return;
    const { watches } = this.#context.member;
    if (!watches.published) return void setImmediate(() => this.#answerProgress());
    for (const { watcher } of this.#running.values()) if (!watches.isCurrent(watcher)) return;
    this.#progressAsked = false;
    this.#tell({ watchId: NO_WATCH });
  }
}
