// A call on the server's side, whatever protocol carries it: messages in,
// the handler of the method, messages out, one status at the end.
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { logger } from "../platform/log.ts";
import { toHeaders } from "./metadata.ts";
import { create, fromBinary, toBinary } from "./protobuf.ts";
import { MessageQueue } from "./queue.ts";
import { PreparedMessage, type RawCall, type RawListener, type RawMessage, RawMethod } from "./raw.ts";
import type { BoundMethod } from "./service.ts";
import { Code, type HandlerContext, RpcError } from "./types.ts";

const log = logger("rpc");

/** How messages become bytes. */
export interface Codec {
  decode(desc: DescMessage, bytes: Uint8Array): Message;
  encode(desc: DescMessage, message: Message): Uint8Array;
  /** Set where the bytes are protobuf's binary form. */
  readonly binary: boolean;
  /** What a call ends with whose request can't be decoded. */
  readonly malformed: Code;
}

export const binaryCodec: Codec = {
  decode: (desc, bytes) => fromBinary(desc, bytes),
  encode: (desc, message) => toBinary(desc, message),
  binary: true,
  malformed: Code.Internal,
};

/** Where a call's answer goes. */
export interface CallSink {
  /** Returns false when it should not be called again before drained(). A PreparedMessage comes only where the codec is binary. */
  send(message: RawMessage): boolean;
  /** The last call. */
  finish(error: RpcError | undefined): void;
  /** The handler has used a message that took so many bytes of the wire. */
  consume(bytes: number): void;
}

export interface CallPeer {
  readonly address: string;
  readonly certificate: Uint8Array | undefined;
}

type Unary = (request: Message, context: HandlerContext) => unknown;
type Streaming = (requests: Message | AsyncIterable<Message>, context: HandlerContext) => unknown;

/** Runs one call; also the context that its handler gets. */
export class Call implements HandlerContext, RawCall {
  readonly #bound: BoundMethod;
  readonly #sink: CallSink;
  readonly #codec: Codec;
  readonly #peer: CallPeer;
  readonly #fields: readonly string[];
  #requestHeaders: Headers | undefined;
  #responseHeaders: Headers | undefined;
  #responseTrailers: Headers | undefined;
  #abort: AbortController | undefined;
  #reason: RpcError | undefined;
  #deadline: Timer | undefined;
  #request: Message | undefined;
  #queue: MessageQueue<Message> | undefined;
  #raw: RawListener | undefined;
  #requests = 0;
  #output: AsyncIterator<unknown> | undefined;
  #drained: (() => void) | undefined;
  #finished = false;
  /** Where calls are timed. */
  #startedAt = 0;

  constructor(bound: BoundMethod, sink: CallSink, codec: Codec, peer: CallPeer, fields: readonly string[]) {
    this.#bound = bound;
    this.#sink = sink;
    this.#codec = codec;
    this.#peer = peer;
    this.#fields = fields;
  }

  /** Starts the handler of a method that takes a stream; others start with their request. */
  start(timeout: number | undefined): void {
    const { method, handle, stats } = this.#bound;
    stats.started++;
    if (stats.times) this.#startedAt = performance.now();
    if (timeout !== undefined) {
      const expire = () => this.cancel(new RpcError(Code.DeadlineExceeded, "context deadline exceeded"), true);
      this.#deadline = setTimeout(expire, Math.min(timeout, 0x7fffffff));
    }
    if (!handle) return this.finish(new RpcError(Code.Unimplemented, `method ${method.name} not implemented`));
    if (handle instanceof RawMethod) {
      this.#guarded(() => {
        this.#raw = handle.open(this);
      });
      return;
    }
    if (!this.#takesStream) return;
    this.#queue = new MessageQueue(
      (cost) => this.#sink.consume(cost),
      () => {},
    );
    this.#run(this.#queue);
  }

  get #takesStream(): boolean {
    const { methodKind } = this.#bound.method;
    return methodKind === "client_streaming" || methodKind === "bidi_streaming";
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** A request has come. */
  message(bytes: Uint8Array, cost: number): void {
    if (this.#finished) return;
    const { stats } = this.#bound;
    stats.received++;
    stats.receivedBytes += bytes.length;
    if (this.#raw) return this.#rawMessage(this.#raw, bytes, cost);
    let request: Message;
    try {
      request = this.#codec.decode(this.#bound.method.input, bytes);
    } catch (error) {
      return this.finish(this.#unmarshalling(error));
    }
    if (this.#queue) return this.#queue.push(request, cost);
    this.#sink.consume(cost);
    if (this.#request) return this.finish(moreThanOne());
    this.#request = request;
  }

  #rawMessage(listener: RawListener, bytes: Uint8Array, cost: number): void {
    this.#sink.consume(cost);
    if (++this.#requests > 1 && !this.#takesStream) return this.finish(moreThanOne());
    const { input } = this.#bound.method;
    let request = bytes;
    if (!this.#codec.binary) {
      try {
        request = binaryCodec.encode(input, this.#codec.decode(input, bytes));
      } catch (error) {
        return this.finish(this.#unmarshalling(error));
      }
    }
    this.#guarded(() => listener.message(request));
  }

  #unmarshalling(error: unknown): RpcError {
    const message = `grpc: error unmarshalling request: ${(error as Error).message}`;
    return new RpcError(this.#codec.malformed, message, { cause: error });
  }

  /** Runs a handler's code; the call ends with what it throws. */
  #guarded(run: () => void | Promise<void>): void {
    try {
      const running = run();
      if (running instanceof Promise) running.catch((error) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
    }
  }

  /** No more requests come. */
  requestsEnd(): void {
    if (this.#finished) return;
    const raw = this.#raw;
    if (raw) {
      if (this.#requests === 0 && !this.#takesStream) return this.finish(noRequest());
      return this.#guarded(() => raw.requestsEnd?.());
    }
    if (this.#queue) this.#queue.end();
    else if (this.#request) this.#run(this.#request);
    else this.finish(noRequest());
  }

  /** The client wants no answer any more; with `tell` it is told why. */
  cancel(error: RpcError, tell = false): void {
    if (this.#finished) return;
    this.#reason = error;
    if (tell) this.#sink.finish(error);
    this.#close(error);
  }

  /** The sink takes messages again. */
  drained(): void {
    this.#resume();
    const raw = this.#raw;
    if (raw) this.#guarded(() => raw.drained?.());
  }

  #resume(): void {
    const resume = this.#drained;
    this.#drained = undefined;
    resume?.();
  }

  finish(error: RpcError | undefined): void {
    if (this.#finished) return;
    this.#sink.finish(error);
    this.#close(error);
  }

  #close(error: RpcError | undefined): void {
    this.#finished = true;
    const { stats } = this.#bound;
    stats.handled[error?.code ?? Code.OK]!++;
    stats.times?.observe((performance.now() - this.#startedAt) / 1000);
    clearTimeout(this.#deadline);
    this.#queue?.end(error ?? new RpcError(Code.Canceled, "the call has ended"));
    this.#resume();
    if (error) this.#abort?.abort(error);
    const raw = this.#raw;
    this.#raw = undefined;
    if (raw && error) this.#guarded(() => raw.canceled?.(error));
    const output = this.#output;
    this.#output = undefined;
    // A generator that waits inside its body ends when it comes back, not now.
    if (error) output?.return?.().catch((cause) => log.error("A handler failed after its call had ended", cause, this.#where()));
  }

  #where() {
    return { method: `${this.#bound.method.parent.typeName}/${this.#bound.method.name}`, peer: this.#peer.address };
  }

  #run(input: Message | AsyncIterable<Message>): void {
    const { method } = this.#bound;
    try {
      const result = (this.#bound.handle as Unary | Streaming)(input as Message, this);
      if (method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming") {
        this.#stream(result as AsyncIterable<unknown>).catch((error) => this.#failed(error));
      } else if (result instanceof Promise) {
        result.then(
          (answer) => this.#answer(answer),
          (error) => this.#failed(error),
        );
      } else this.#answer(result);
    } catch (error) {
      this.#failed(error);
    }
  }

  #answer(answer: unknown): void {
    if (this.#finished) return;
    try {
      this.#send(this.#encode(answer));
    } catch (error) {
      return this.#failed(error);
    }
    this.finish(undefined);
  }

  #send(message: RawMessage): boolean {
    const { stats } = this.#bound;
    stats.sent++;
    stats.sentBytes += message instanceof PreparedMessage ? message.bytes.length : message.length;
    return this.#sink.send(message);
  }

  #encode(answer: unknown): RawMessage {
    const desc = this.#bound.method.output;
    if (answer instanceof PreparedMessage) return this.#fromBinary(answer);
    return this.#codec.encode(desc, create(desc, answer as Message));
  }

  /** What is encoded already, as the codec would have done it. */
  #fromBinary(message: RawMessage): RawMessage {
    if (this.#codec.binary) return message;
    const desc = this.#bound.method.output;
    return this.#codec.encode(desc, binaryCodec.decode(desc, message instanceof PreparedMessage ? message.bytes : message));
  }

  async #stream(answers: AsyncIterable<unknown>): Promise<void> {
    const output = answers[Symbol.asyncIterator]();
    this.#output = output;
    while (!this.#finished) {
      const { value, done } = await output.next();
      if (this.#finished) return;
      if (done) return this.finish(undefined);
      if (this.#send(this.#encode(value))) continue;
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
  }

  #failed(error: unknown): void {
    if (error instanceof RpcError) return this.finish(error);
    if (this.#finished) return;
    log.error("A handler failed", error, this.#where());
    this.finish(new RpcError(Code.Unknown, error instanceof Error ? error.message : String(error), { cause: error }));
  }

  // RawCall

  send(message: RawMessage): boolean {
    return this.#finished || this.#send(this.#fromBinary(message));
  }

  end(error?: RpcError): void {
    // It knows already.
    this.#raw = undefined;
    this.finish(error);
  }

  fail(error: unknown): void {
    this.#raw = undefined;
    this.#failed(error);
  }

  // HandlerContext

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#reason) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  get requestHeaders(): Headers {
    this.#requestHeaders ??= toHeaders(this.#fields);
    return this.#requestHeaders;
  }

  get responseHeaders(): Headers {
    this.#responseHeaders ??= new Headers();
    return this.#responseHeaders;
  }

  get responseTrailers(): Headers {
    this.#responseTrailers ??= new Headers();
    return this.#responseTrailers;
  }

  get peerCertificate(): Uint8Array | undefined {
    return this.#peer.certificate;
  }

  get peer(): string {
    return this.#peer.address;
  }

  /** What the handler has set, if anything. */
  get headersSet(): Headers | undefined {
    return this.#responseHeaders;
  }

  get trailersSet(): Headers | undefined {
    return this.#responseTrailers;
  }
}

const moreThanOne = () => new RpcError(Code.Internal, "more than one request for a method that takes one");
const noRequest = () => new RpcError(Code.Internal, "no request for a method that takes one");
