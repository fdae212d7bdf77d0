// Methods whose messages stay bytes: for hot paths that read a request's fields
// themselves, and for answers that are encoded once and go to many calls.
import type { HandlerContext, RpcError } from "./types.ts";

/**
 * A message in protobuf's binary form. Where a handler answers with one, no
 * protocol encodes it again (Connect's JSON excepted); what follows from it,
 * such as its gzip form, is made once for all calls that it is sent to.
 *
 * ```ts
 * const answer = new PreparedMessage(toBinary(WatchResponseSchema, response));
 * for (const call of calls) call.send(answer);
 * ```
 */
export class PreparedMessage {
  /** Must not change afterwards. */
  readonly bytes: Uint8Array;
  #framed: Uint8Array | undefined;
  #packed: Uint8Array | undefined;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** With the five bytes before it that gRPC, gRPC-Web and Connect's streams have in common. */
  get framed(): Uint8Array {
    if (!this.#framed) {
      const { length } = this.bytes;
      this.#framed = new Uint8Array(5 + length);
      this.#framed.set([0, length >>> 24, length >>> 16, length >>> 8, length]);
      this.#framed.set(this.bytes, 5);
    }
    return this.#framed;
  }

  /** Its compressed form, made by `compress` at the first call. */
  packed(compress: (bytes: Uint8Array) => Uint8Array): Uint8Array {
    this.#packed ??= compress(this.bytes);
    return this.#packed;
  }
}

/** What a raw method sends: protobuf's binary form, which must not change afterwards. */
export type RawMessage = Uint8Array | PreparedMessage;

/** The server's side of a call whose messages stay bytes. */
export interface RawCall extends HandlerContext {
  /** The call has ended, by end() or by the client. */
  readonly finished: boolean;
  /**
   * Sends a message, in the same turn of the event loop if windows and socket allow.
   * @returns false when it has to wait: better send no more before `drained`
   */
  send(message: RawMessage): boolean;
  /** The last call: OK without an error. */
  end(error?: RpcError): void;
  /** Ends the call with what a handler threw. */
  fail(error: unknown): void;
}

/** What happens on such a call. */
export interface RawListener {
  /** A request, in protobuf's binary form, to be kept as long as wanted. What is thrown ends the call. */
  message(request: Uint8Array): void;
  /** No more requests come. What is thrown, or a promise that rejects, ends the call. */
  requestsEnd?(): void | Promise<void>;
  /** There is room again after send() returned false. */
  drained?(): void;
  /** The client or its deadline has ended the call before end(). */
  canceled?(error: RpcError): void;
}

/** Stands in a ServiceImpl in place of a handler. */
export class RawMethod {
  readonly open: (call: RawCall) => RawListener;
  constructor(open: (call: RawCall) => RawListener) {
    this.open = open;
  }
}

/**
 * A method of any kind whose handler is called back, without iterators or
 * promises between it and the connection.
 *
 * ```ts
 * service(Watch, { watch: raw((call) => ({ message: (request) => void call.send(request) })) });
 * ```
 */
export const raw = (open: (call: RawCall) => RawListener): RawMethod => new RawMethod(open);

/**
 * The same for a method of one request and one answer.
 *
 * ```ts
 * service(KV, { put: rawUnary((request) => putResponse(request)) });
 * ```
 */
export const rawUnary = (handle: (request: Uint8Array, context: HandlerContext) => RawMessage | Promise<RawMessage>): RawMethod =>
  new RawMethod((call) => new UnaryListener(call, handle));

/** Where the handler of one request puts its answer. */
export interface Reply {
  /** Once, unless fail() was called. */
  send(answer: RawMessage): void;
  /** Ends the call with what a handler would have thrown. */
  fail(error: unknown): void;
}

/**
 * The same without a promise between: `handle` gives its reply an answer, now
 * or when it has one. What it throws ends the call.
 *
 * ```ts
 * service(KV, { put: rawReply((request, reply) => submit(request, (answer) => reply.send(answer))) });
 * ```
 */
export const rawReply = (handle: (request: Uint8Array, reply: Reply) => void): RawMethod =>
  new RawMethod((call) => new ReplyListener(call, handle));

class ReplyListener implements RawListener, Reply {
  readonly #call: RawCall;
  readonly #handle: (request: Uint8Array, reply: Reply) => void;
  #request: Uint8Array | undefined;

  constructor(call: RawCall, handle: (request: Uint8Array, reply: Reply) => void) {
    this.#call = call;
    this.#handle = handle;
  }

  message(request: Uint8Array): void {
    this.#request = request;
  }

  requestsEnd(): void {
    this.#handle(this.#request!, this);
  }

  send(answer: RawMessage): void {
    this.#call.send(answer);
    this.#call.end();
  }

  fail(error: unknown): void {
    this.#call.fail(error);
  }
}

class UnaryListener implements RawListener {
  readonly #call: RawCall;
  readonly #handle: (request: Uint8Array, context: HandlerContext) => RawMessage | Promise<RawMessage>;
  #request: Uint8Array | undefined;

  constructor(call: RawCall, handle: (request: Uint8Array, context: HandlerContext) => RawMessage | Promise<RawMessage>) {
    this.#call = call;
    this.#handle = handle;
  }

  message(request: Uint8Array): void {
    this.#request = request;
  }

  requestsEnd(): void | Promise<void> {
    const answer = this.#handle(this.#request!, this.#call);
    if (!(answer instanceof Promise)) return this.#answer(answer);
    return answer.then((message) => this.#answer(message));
  }

  #answer(message: RawMessage): void {
    this.#call.send(message);
    this.#call.end();
  }
}
