// Native gRPC on one stream of HTTP/2: the client's side.
import type { DescMethod, Message } from "@bufbuild/protobuf";
import type { Channel, PendingCall } from "../channel.ts";
import { ErrorCode } from "../http2/errors.ts";
import type { Stream, StreamFailure, StreamListener } from "../http2/stream.ts";
import { appendHeaders, toHeaders } from "../metadata.ts";
import { create, fromBinary, toBinary } from "../protobuf.ts";
import { methodPath } from "../service.ts";
import { type CallOptions, Code, RpcError } from "../types.ts";
import { compress, decompress, ENCODINGS } from "./compression.ts";
import { Deframer, type FrameListener, tooLargeToSend } from "./framing.ts";
import { codeOfHttpStatus, DEFAULT_MAX_MESSAGE, errorOfFailure, errorOfTrailers, formatTimeout } from "./protocol.ts";

/** What comes back. */
export interface AnswerListener {
  message(message: Message, cost: number): void;
  /** The last call, unless it failed. */
  end(error: RpcError | undefined): void;
}

export class GrpcClientCall implements StreamListener, PendingCall, FrameListener {
  readonly waitForReady: boolean;
  readonly #channel: Channel;
  readonly #method: DescMethod;
  readonly #options: CallOptions;
  readonly #listener: AnswerListener;
  readonly #deframer: Deframer;
  readonly #maxSize: number;
  readonly #deadline: number | undefined;
  #stream: Stream | undefined;
  #timer: Timer | undefined;
  #abort: (() => void) | undefined;
  #status = "";
  #encoding: string | undefined;
  #done = false;
  #retried = false;
  /** Requests given before there is a stream; the one of a method that takes one is kept for a second try. */
  #requests: Uint8Array[] = [];
  #requestsEnded = false;
  #drained: (() => void) | undefined;

  constructor(channel: Channel, method: DescMethod, options: CallOptions, listener: AnswerListener) {
    this.#channel = channel;
    this.#method = method;
    this.#options = options;
    this.#listener = listener;
    this.waitForReady = options.waitForReady === true;
    this.#maxSize = channel.options.maxReceiveSize ?? DEFAULT_MAX_MESSAGE;
    this.#deframer = new Deframer(this.#maxSize, this);
    this.#deadline = options.timeout === undefined ? undefined : performance.now() + options.timeout;
  }

  start(): void {
    if (this.#done) return;
    const { signal, timeout } = this.#options;
    if (signal?.aborted) return this.#end(aborted(signal));
    if (signal) {
      this.#abort = () => this.cancel(aborted(signal));
      signal.addEventListener("abort", this.#abort, { once: true });
    }
    if (timeout !== undefined) {
      const expire = () => this.cancel(new RpcError(Code.DeadlineExceeded, "context deadline exceeded"));
      this.#timer = setTimeout(expire, Math.min(Math.max(0, timeout), 0x7fffffff));
    }
    this.#channel.start(this);
  }

  /** Ends the call here and at the server. */
  cancel(error: RpcError): void {
    if (this.#done) return;
    this.#channel.withdraw(this);
    this.#stream?.reset(ErrorCode.CANCEL);
    this.#end(error);
  }

  /** Sends a request, which may be encoded already; the promise, if any, resolves when there is room for the next. */
  send(request: Message | Uint8Array): Promise<void> | undefined {
    if (this.#done) return undefined;
    const bytes = request instanceof Uint8Array ? request : toBinary(this.#method.input, create(this.#method.input, request));
    const { maxSendSize = Number.POSITIVE_INFINITY } = this.#channel.options;
    if (bytes.length > maxSendSize) {
      this.cancel(tooLargeToSend(bytes.length, maxSendSize));
      return undefined;
    }
    if (!this.#stream) {
      this.#requests.push(bytes);
      return undefined;
    }
    if (this.#write(this.#stream, bytes, false)) return undefined;
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }

  /** No more requests. */
  endRequests(): void {
    this.#requestsEnded = true;
    this.#stream?.end();
  }

  get done(): boolean {
    return this.#done;
  }

  /** So many bytes of answers have been used. */
  consume(bytes: number): void {
    this.#stream?.consume(bytes);
  }

  #write(stream: Stream, message: Uint8Array, end: boolean): boolean {
    if (message.length >= (this.#channel.options.compressFrom ?? Number.POSITIVE_INFINITY)) {
      const packed = compress(message);
      return stream.sendMessage(packed, 1, end);
    }
    return stream.sendMessage(message, 0, end);
  }

  // PendingCall

  open(open: (fields: readonly string[], end: boolean, listener: StreamListener) => Stream): void {
    let stream: Stream;
    try {
      stream = open(this.#fields(), false, this);
    } catch (error) {
      return this.#end(new RpcError(Code.Internal, (error as Error).message, { cause: error }));
    }
    this.#stream = stream;
    const last = this.#requests.length - 1;
    this.#requests.forEach((request, i) => {
      this.#write(stream, request, this.#requestsEnded && i === last);
    });
    if (this.#requestsEnded && last < 0) stream.end();
    if (!this.#requestsEnded) this.#requests = [];
  }

  unavailable(error: RpcError): void {
    this.#end(error);
  }

  #fields(): string[] {
    const { options, authority } = this.#channel;
    const fields = [":method", "POST", ":scheme", options.tls ? "https" : "http", ":path", methodPath(this.#method)];
    fields.push(":authority", authority, "content-type", "application/grpc", "te", "trailers", "user-agent", "grpc-kubun/0.1");
    fields.push("grpc-accept-encoding", ENCODINGS);
    if (options.compressFrom !== undefined) fields.push("grpc-encoding", "gzip");
    if (this.#deadline !== undefined) fields.push("grpc-timeout", formatTimeout(this.#deadline - performance.now()));
    if (options.headers) appendHeaders(fields, options.headers);
    if (this.#options.headers) appendHeaders(fields, this.#options.headers);
    return fields;
  }

  // StreamListener

  headers(fields: readonly string[], end: boolean): void {
    if (this.#status === "") {
      this.#status = fields[1]!;
      if (this.#readHead(fields, end)) return;
    }
    if (!end) return;
    const error = this.#deframer.partial ? new RpcError(Code.Internal, "the answer ended within a message") : undefined;
    this.#finish(error ?? errorOfTrailers(fields, this.#status, () => toHeaders(fields)));
  }

  /** Returns true when the head is no answer of gRPC and the call has ended with it. */
  #readHead(fields: readonly string[], end: boolean): boolean {
    let contentType = "";
    for (let i = 0; i < fields.length; i += 2) {
      if (fields[i] === "content-type") contentType = fields[i + 1]!;
      else if (fields[i] === "grpc-encoding") this.#encoding = fields[i + 1];
    }
    this.#options.onHeaders?.(toHeaders(fields));
    if (end || (this.#status === "200" && contentType.startsWith("application/grpc"))) return false;
    const code = this.#status === "200" ? Code.Unknown : codeOfHttpStatus(this.#status);
    this.#finish(new RpcError(code, `unexpected HTTP status ${this.#status} with content-type ${JSON.stringify(contentType)}`));
    return true;
  }

  data(chunk: Uint8Array, end: boolean): void {
    try {
      const loose = this.#deframer.push(chunk);
      if (loose > 0) this.#stream?.consume(loose);
    } catch (error) {
      const failure =
        error instanceof RpcError ? error : new RpcError(Code.Internal, `grpc: error unmarshalling: ${error}`, { cause: error });
      return this.cancel(failure);
    }
    if (end) this.#finish(new RpcError(Code.Internal, "the answer ended without trailers"));
  }

  // FrameListener

  frame(flags: number, data: Uint8Array, cost: number): void {
    if (this.#done) return;
    const bytes = flags & 1 ? decompress(data, this.#encoding, this.#maxSize) : data;
    this.#listener.message(fromBinary(this.#method.output, bytes), cost);
  }

  drain(): void {
    const resume = this.#drained;
    this.#drained = undefined;
    resume?.();
  }

  failed(failure: StreamFailure): void {
    this.#stream = undefined;
    const again = failure.unprocessed && !this.#retried && this.#requestsEnded && !this.#done;
    if (!again) return this.#end(errorOfFailure(failure));
    this.#retried = true;
    this.#channel.start(this);
  }

  /** The answer is complete: what of the request is still to be sent, is not. */
  #finish(error: RpcError | undefined): void {
    this.#stream?.reset(ErrorCode.NO_ERROR);
    this.#end(error);
  }

  #end(error: RpcError | undefined): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    if (this.#abort) this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#requests = [];
    this.drain();
    this.#listener.end(error);
  }
}

function aborted(signal: AbortSignal): RpcError {
  const { reason } = signal;
  if (reason instanceof RpcError) return reason;
  if (reason instanceof DOMException && reason.name === "TimeoutError") {
    return new RpcError(Code.DeadlineExceeded, "context deadline exceeded", { cause: reason });
  }
  return new RpcError(Code.Canceled, "context canceled", { cause: reason });
}
