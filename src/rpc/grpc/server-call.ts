// Native gRPC on one stream of HTTP/2: the server's side.
import { binaryCodec, Call, type CallPeer, type CallSink } from "../call.ts";
import { keep } from "../http2/hpack/kept.ts";
import type { Stream, StreamFailure, StreamListener } from "../http2/stream.ts";
import { appendHeaders, remembering } from "../metadata.ts";
import { PreparedMessage, type RawMessage } from "../raw.ts";
import type { BoundMethod } from "../service.ts";
import { Code, RpcError } from "../types.ts";
import { compress, decompress, ENCODINGS, listsGzip } from "./compression.ts";
import { Deframer, type FrameListener } from "./framing.ts";
import { errorOfFailure, parseTimeout, statusFields } from "./protocol.ts";

export interface GrpcOptions {
  /** Most bytes of a request. */
  maxReceiveSize: number;
  /** Compress answers of at least this many bytes, where the client takes it. */
  compressFrom: number;
}

const HEAD: readonly string[] = keep([":status", "200", "content-type", "application/grpc"]);
const OK: readonly string[] = keep(["grpc-status", "0"]);

/** Where `timeout` and encodings stand in the fields of a request. */
interface RequestHead {
  timeout: number | undefined;
  badTimeout: boolean;
  encoding: string | undefined;
  acceptsGzip: boolean;
}

const readHead = remembering((fields): RequestHead => {
  const head: RequestHead = { timeout: undefined, badTimeout: false, encoding: undefined, acceptsGzip: false };
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1]!;
    switch (fields[i]) {
      case "grpc-timeout":
        head.timeout = parseTimeout(value);
        head.badTimeout = head.timeout === undefined;
        break;
      case "grpc-encoding":
        head.encoding = value;
        break;
      case "grpc-accept-encoding":
        head.acceptsGzip = listsGzip(value);
        break;
    }
  }
  return head;
});

class GrpcServerCall implements StreamListener, CallSink, FrameListener {
  readonly #stream: Stream;
  readonly #options: GrpcOptions;
  readonly #head: RequestHead;
  readonly #deframer: Deframer;
  readonly #call: Call;
  #sentHead = false;

  constructor(stream: Stream, fields: readonly string[], bound: BoundMethod, peer: CallPeer, options: GrpcOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#head = readHead(fields);
    this.#deframer = new Deframer(options.maxReceiveSize, this);
    this.#call = new Call(bound, this, binaryCodec, peer, fields);
  }

  start(end: boolean): void {
    if (this.#head.badTimeout) return this.#call.finish(new RpcError(Code.Internal, "malformed grpc-timeout"));
    this.#call.start(this.#head.timeout);
    if (end) this.#call.requestsEnd();
  }

  // StreamListener

  headers(_fields: string[], end: boolean): void {
    if (end) this.#requestsEnd();
  }

  data(chunk: Uint8Array, end: boolean): void {
    if (this.#call.finished) return;
    try {
      const loose = this.#deframer.push(chunk);
      if (loose > 0) this.#stream.consume(loose);
    } catch (error) {
      return this.#call.finish(error as RpcError);
    }
    if (end) this.#requestsEnd();
  }

  #requestsEnd(): void {
    if (this.#deframer.partial) this.#call.finish(new RpcError(Code.Internal, "the request ended within a message"));
    else this.#call.requestsEnd();
  }

  // FrameListener

  frame(flags: number, data: Uint8Array, cost: number): void {
    this.#call.message(flags & 1 ? decompress(data, this.#head.encoding, this.#options.maxReceiveSize) : data, cost);
  }

  drain(): void {
    this.#call.drained();
  }

  failed(failure: StreamFailure): void {
    const error = errorOfFailure(failure);
    this.#call.cancel(new RpcError(Code.Canceled, "the client has canceled the call", { cause: error }));
  }

  // CallSink

  consume(bytes: number): void {
    this.#stream.consume(bytes);
  }

  #sendHead(): void {
    this.#sentHead = true;
    const { headersSet } = this.#call;
    const gzip = this.#compresses;
    if (!headersSet && !gzip) return this.#stream.sendHeaders(HEAD);
    const fields = [...HEAD];
    if (gzip) fields.push("grpc-encoding", "gzip", "grpc-accept-encoding", ENCODINGS);
    if (headersSet) appendHeaders(fields, headersSet);
    this.#stream.sendHeaders(fields);
  }

  get #compresses(): boolean {
    return this.#head.acceptsGzip && this.#options.compressFrom < Number.POSITIVE_INFINITY;
  }

  send(message: RawMessage): boolean {
    if (!this.#sentHead) this.#sendHead();
    const prepared = message instanceof PreparedMessage;
    const bytes = prepared ? message.bytes : message;
    if (bytes.length >= this.#options.compressFrom && this.#compresses) {
      const packed = prepared ? message.packed(compress) : compress(bytes);
      return this.#stream.sendMessage(packed, 1);
    }
    return prepared ? this.#stream.sendData(message.framed) : this.#stream.sendMessage(bytes, 0);
  }

  finish(error: RpcError | undefined): void {
    const { trailersSet, headersSet } = this.#call;
    if (!error && this.#sentHead && !trailersSet) return this.#stream.sendHeaders(OK, true);
    // Without a message before it, the status goes in the head: "Trailers-Only".
    const fields = this.#sentHead ? [] : [...HEAD];
    if (!this.#sentHead && headersSet) appendHeaders(fields, headersSet);
    fields.push(...(error ? statusFields(error) : OK));
    if (error) appendHeaders(fields, error.metadata);
    if (trailersSet) appendHeaders(fields, trailersSet);
    this.#stream.sendHeaders(fields, true);
  }
}

/** Answers a request whose content-type is application/grpc. */
export function serveGrpc(
  stream: Stream,
  fields: readonly string[],
  end: boolean,
  bound: BoundMethod | undefined,
  path: string,
  isService: (name: string) => boolean,
  peer: CallPeer,
  options: GrpcOptions,
): StreamListener {
  if (bound) {
    const call = new GrpcServerCall(stream, fields, bound, peer, options);
    call.start(end);
    return call;
  }
  const [, service = "", method = ""] = path.split("/");
  const message = !method
    ? `malformed method name: ${JSON.stringify(path)}`
    : isService(service)
      ? `unknown method ${method} for service ${service}`
      : `unknown service ${service}`;
  stream.sendHeaders([...HEAD, ...statusFields({ code: Code.Unimplemented, message, details: [] })], true);
  return IGNORE;
}

const IGNORE: StreamListener = { headers() {}, data() {}, failed() {} };
